"""Whole reviews as long as real ones, made of the shipped sentences.

    reviews = make_reviews(Path("data/reviews.tsv"), tokenizer, count=1000, seed=0)

The shipped reviews come as single sentences. Here the sentences of a review follow one another again, and the text is
cut to a length drawn from the distribution of real Amazon reviews; a review that is too short goes on with another one.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tokenizers import Tokenizer

LOG_MEAN, LOG_DEVIATION = 3.975, 1.116
"""Of the natural logarithm of a review's tokens, [CLS] and [SEP] included. Fitted to 1,247 Amazon reviews of software,
of whose positions 30, 50, 68 and 82 % are padding at 64, 128, 256 and 512 tokens."""
SPECIAL_TOKENS = 2
LONGEST = 512
"""Tokens; DistilBERT has no more positions."""


@dataclass(frozen=True)
class Review:
    """A text and its rating."""

    text: str
    stars: int


def make_reviews(sentences: Path, tokenizer: Tokenizer, count: int, seed: int = 0) -> list[Review]:
    """Make seeded reviews; `tokenizer` must not truncate."""
    whole = join_sentences(sentences)
    pick = random.Random(seed)
    return [make_review(whole, tokenizer, pick) for _ in range(count)]


def join_sentences(path: Path) -> list[Review]:
    """Read a TSV of sentences (review_id, star_rating, review_body) into one text a review, with its mean rating."""
    texts: dict[str, list[str]] = {}
    stars: dict[str, list[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            texts.setdefault(row["review_id"], []).append(row["review_body"])
            stars.setdefault(row["review_id"], []).append(float(row["star_rating"]))
    return [Review(" ".join(text), round(fmean(stars[name]))) for name, text in texts.items()]


def make_review(whole: list[Review], tokenizer: Tokenizer, pick: random.Random) -> Review:
    """Draw a length and a review, and cut or lengthen the text to it."""
    tokens = min(draw_length(pick), LONGEST) - SPECIAL_TOKENS
    first = pick.choice(whole)
    text, ends = first.text, token_ends(first.text, tokenizer)
    while len(ends) < tokens:
        text = f"{text} {pick.choice(whole).text}"
        ends = token_ends(text, tokenizer)
    return Review(text[: ends[tokens - 1]], first.stars)


def draw_length(pick: random.Random) -> int:
    """Draw a review's number of tokens, [CLS] and [SEP] included; one word at least."""
    return max(SPECIAL_TOKENS + 1, round(math.exp(pick.gauss(LOG_MEAN, LOG_DEVIATION))))


def token_ends(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return where in the text each token ends."""
    return [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]


def padding_share(lengths: Iterator[int] | list[int], max_seq_length: int) -> float:
    """Return which share of the positions is padding, if every review is padded to max_seq_length."""
    return 1 - fmean(min(length, max_seq_length) for length in lengths) / max_seq_length
