"""The inputs of a benchmark of training: one checkpoint, and a folder of batches a case. Runs as a process of its own.

    python -m benchmarks.measuring.inputs --work FOLDER --tokenizer WEIGHTS --case 128 32 10 --case 256 32 6

A case is max_seq_length, batch size and measured steps. Prints what it made as one JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from benchmarks.measuring.channels import write_channel
from benchmarks.measuring.plan import MEGABATCH_BATCHES, WARM_UP_STEPS, case_name, make_plan
from benchmarks.measuring.reviews import LONGEST, Review, make_reviews, padding_share
from benchmarks.measuring.weights import write_weights
from star_rating.model.config import DistilBertConfig
from star_rating.preparation.tokenization import load_tokenizer

SENTENCES = Path("data", "reviews.tsv")
SMALLEST_BATCH = 32


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--case", type=int, nargs=3, action="append", required=True)
    options = parser.parse_args()
    config = DistilBertConfig()
    write_weights(options.work / "weights", config, tokenizer_folder=options.tokenizer)

    largest = max(batch_size for _, batch_size, _ in options.case)
    count = MEGABATCH_BATCHES * SMALLEST_BATCH + WARM_UP_STEPS * largest
    plain = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json"))
    plain.no_padding()
    plain.no_truncation()
    reviews = make_reviews(SENTENCES, plain, count)
    cases = {
        case_name(length, batch_size): write_case(options.work, options.tokenizer, reviews, length, batch_size, steps)
        for length, batch_size, steps in options.case
    }
    whole = load_tokenizer(options.tokenizer, LONGEST).encode([review.text for review in reviews]).ids
    tokens = [len(ids) for ids in whole]
    shares = {str(length): padding_share(tokens, length) for length in (64, 128, 256, LONGEST)}
    print("\n" + json.dumps({"geometry": config.to_json(), "padding_share": shares, "cases": cases}))


def write_case(
    work: Path, tokenizer: Path, reviews: Sequence[Review], length: int, batch_size: int, steps: int
) -> dict[str, Any]:
    """Write a case's folder; return what the measured steps hold."""
    case = work / case_name(length, batch_size)
    rows = load_tokenizer(tokenizer, length).encode([review.text for review in reviews]).ids
    labels = [review.stars - 1 for review in reviews]
    lengths = [len(row) for row in rows]
    plan = make_plan(lengths, batch_size, steps)
    write_channel(case, plan.mixed, rows, labels, length)
    ids, mask = (np.zeros((len(rows), length), np.int64) for _ in range(2))
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    np.savez(
        case / "batches.npz",
        ids=ids,
        mask=mask,
        labels=np.array(labels),
        lengths=np.array(lengths),
        mixed=np.array(plan.mixed),
        grouped=np.array(plan.grouped),
        megabatch=np.array(plan.megabatch),
    )
    measured = [lengths[review] for review in plan.measured]
    widths = [max(lengths[review] for review in batch) for batch in plan.grouped[WARM_UP_STEPS:]]
    everything = [lengths[review] for review in plan.megabatch]
    return {
        "max_seq_length": length,
        "batch_size": batch_size,
        "measured_steps": steps,
        "real_tokens": sum(measured),
        "padding_share": padding_share(measured, length),
        "padding_share_of_whole_megabatch": padding_share(everything, length),
        "padding_share_left_by_grouping": 1 - sum(measured) / (sum(widths) * batch_size),
    }


if __name__ == "__main__":
    main()
