"""How fast `prepare` is beside its own tokenizer, and how much memory it takes.

    PYTHONPATH=src python benchmarks/prepare.py --reviews 1000000 --weights weights

Reviews are made from the shipped sentences, about 80 words each, in a temporary folder. In each round the tokenizer
alone works on a part of them (the call that `prepare` makes, lists of str to lists of ids), then `prepare` works on
all of them as a process of its own, then the tokenizer again, so that a machine whose speed drifts is fair to both.
Exits 1 when the median ratio or the peak memory misses its bound.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from star_rating.preparation.parts import BATCH_REVIEWS
from star_rating.preparation.tokenization import ReviewTokenizer, load_tokenizer

PROJECT = Path(__file__).resolve().parent.parent
SHIPPED_REVIEWS = PROJECT / "data" / "reviews.tsv"
MAX_SEQ_LENGTH = 64
REVIEWS_A_FILE = 100_000
TOKENIZER_SHARE = 0.1
"""Of the reviews, that the tokenizer alone works on before and after each run of `prepare`."""
LOWEST_RATIO = 0.70
HIGHEST_MEMORY_BYTES = 2e9


def main() -> int:
    """Run the rounds, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a folder that holds a tokenizer.json")
    tokenizer = load_tokenizer(options.weights, MAX_SEQ_LENGTH)
    alone: list[float] = []
    whole: list[float] = []
    memory = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts, words = make_reviews(folder / "input", options.reviews)
        print(f"{options.reviews:,} reviews, {words:.0f} words on average, max_seq_length {MAX_SEQ_LENGTH}")
        for _ in range(options.rounds):
            before = tokenizer_seconds(tokenizer, texts)
            seconds, peak = prepare_seconds(folder / "input", folder / "output", options.weights)
            after = tokenizer_seconds(tokenizer, texts)
            alone.append(2 * len(texts) / (before + after))
            whole.append(options.reviews / seconds)
            memory = max(memory, peak)
    ratio = statistics.median(one / other for one, other in zip(whole, alone, strict=True))
    print(f"tokenizer alone  {statistics.median(alone):>8,.0f} reviews/s")
    print(f"prepare          {statistics.median(whole):>8,.0f} reviews/s  {memory / 1e6:,.0f} MB at most")
    print(f"ratio            {ratio:>8.2f}  (at least {LOWEST_RATIO:.2f}, below {HIGHEST_MEMORY_BYTES / 1e9:.0f} GB)")
    return 0 if ratio >= LOWEST_RATIO and memory < HIGHEST_MEMORY_BYTES else 1


def make_reviews(folder: Path, reviews: int) -> tuple[list[str], float]:
    """Write seeded reviews as TSV files; return those for the tokenizer alone, and the mean number of words."""
    rows = [line.split("\t") for line in SHIPPED_REVIEWS.read_text(encoding="utf-8").splitlines()[1:]]
    pick = random.Random(0)
    folder.mkdir()
    sample: list[str] = []
    words = 0
    for first in range(0, reviews, REVIEWS_A_FILE):
        with (folder / f"reviews-{first // REVIEWS_A_FILE:03}.tsv").open("w", encoding="utf-8") as file:
            file.write("review_id\tstar_rating\treview_body\n")
            for number in range(first, min(first + REVIEWS_A_FILE, reviews)):
                # A log-normal number of sentences: most reviews are short, a few are very long.
                sentences = max(1, round(pick.lognormvariate(1.22, 0.8)))
                text = " ".join(pick.choice(rows)[2] for _ in range(sentences))
                words += text.count(" ") + 1
                file.write(f"R{number:010}\t{pick.choice(rows)[1]}\t{text}\n")
                if pick.random() < TOKENIZER_SHARE:
                    sample.append(text)
    return sample, words / reviews


def tokenizer_seconds(tokenizer: ReviewTokenizer, texts: list[str]) -> float:
    """Return how long the tokenizer alone takes for the texts."""
    started = time.perf_counter()
    for start in range(0, len(texts), BATCH_REVIEWS):
        tokenizer.encode(texts[start : start + BATCH_REVIEWS])
    return time.perf_counter() - started


def prepare_seconds(source: Path, output: Path, weights: Path) -> tuple[float, float]:
    """Run `prepare` as a process; return its seconds, start included, and its peak memory in bytes."""
    command = [sys.executable, PROJECT / "src" / "prepare.py", "--input", source, "--output", output, "--overwrite"]
    started = time.perf_counter()
    process = subprocess.Popen([*map(str, command), "--weights", str(weights)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"prepare ended with exit code {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
