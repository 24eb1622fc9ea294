"""Hugging Face's Trainer as it comes, from the same weights: what most people's first fine-tuning of DistilBERT is.

python -m benchmarks.contestants.huggingface_trainer --fold out/quality/fold --weights weights --length 64 --seed 42

TrainingArguments' own defaults: 3 epochs, AdamW at 5e-5 falling linearly to zero, batches of 8 padded to their longest,
gradients clipped at 1. Left out is what costs time and changes nothing here: checkpoints and reports.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DistilBertForSequenceClassification
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast
from transformers.trainer import Trainer
from transformers.trainer_utils import set_seed
from transformers.training_args import TrainingArguments

from benchmarks.contestants import folds
from benchmarks.contestants.clock import cores

CLASSES = 5


def main() -> None:
    """Train on the fold's train part, and predict its test part."""
    options = folds.arguments()
    torch.set_num_threads(cores())
    set_seed(options.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.weights)
    model = DistilBertForSequenceClassification.from_pretrained(options.weights, num_labels=CLASSES)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(options.output / "trainer", seed=options.seed, save_strategy="no", report_to="none"),
        train_dataset=encoded(options.fold / "train.tsv", tokenizer, options.length),
        processing_class=tokenizer,
    )
    trained = trainer.train()
    test = encoded(options.fold / "test.tsv", tokenizer, options.length)
    logits = np.asarray(trainer.predict(test).predictions, np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    folds.report(options, shares / shares.sum(axis=1, keepdims=True), fit_seconds=trained.metrics["train_runtime"])


def encoded(path: Path, tokenizer: PreTrainedTokenizerFast, length: int) -> list[dict[str, Any]]:
    """Return a part's records as the Trainer's collator pads them."""
    texts, labels = folds.read(path)
    rows = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    return [
        {"input_ids": row, "attention_mask": [1] * len(row), "labels": label}
        for row, label in zip(rows, labels, strict=True)
    ]


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
