"""Hugging Face's Trainer as a whole job: from records on disk to a model on disk, in the image's container.

    python -m benchmarks.contestants.trainer_job --job out/job --weights weights --epochs 3 --batch-size 32

What our job does, as the Trainer does it: the epochs, validation after each, the test at the end, the model saved. The
batches are grouped by length, which is the Trainer's own option against padding; --bfloat16 is its `bf16`. The records
are those of our channels, tokenized already (measuring/records.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DistilBertForSequenceClassification
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast
from transformers.trainer import Trainer
from transformers.training_args import TrainingArguments

from benchmarks.contestants.clock import cores

CLASSES = 5


def main() -> None:
    """Train, evaluate, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True, help="the folder with records.npz; the model goes there")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(cores())
    records = np.load(options.job / "records.npz")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.weights)
    trainer = Trainer(
        model=DistilBertForSequenceClassification.from_pretrained(options.weights, num_labels=CLASSES),
        args=TrainingArguments(
            options.job / "trainer",
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=128,
            learning_rate=options.learning_rate,
            group_by_length=True,
            bf16=options.bfloat16,
            use_cpu=True,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=rows_of(records, "train"),
        eval_dataset=rows_of(records, "validation"),
        processing_class=tokenizer,
        compute_metrics=accuracy,
    )
    trainer.train()
    tested = trainer.evaluate(rows_of(records, "test"))
    trainer.save_model(str(options.job / "model"))
    print(f"test accuracy {tested['eval_accuracy']:.4f}", flush=True)


def rows_of(records: np.lib.npyio.NpzFile, channel: str) -> list[dict[str, Any]]:
    """Return a channel's records as the Trainer's collator pads them."""
    ids, lengths, labels = (records[f"{channel}_{name}"] for name in ("ids", "lengths", "labels"))
    return [
        {"input_ids": row[:length].tolist(), "attention_mask": [1] * int(length), "labels": int(label)}
        for row, length, label in zip(ids, lengths, labels, strict=True)
    ]


def accuracy(predicted: Any) -> dict[str, float]:  # noqa: ANN401 - transformers' EvalPrediction
    """Return the share of right ratings."""
    return {"accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean())}


if __name__ == "__main__":
    main()
