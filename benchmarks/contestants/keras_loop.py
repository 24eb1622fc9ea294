"""TensorFlow's own loop over many reviews: transformers' TFDistilBert, batches padded to max_seq_length, predict.

    python -m benchmarks.contestants.keras_loop CHECKPOINT REVIEWS.json        # then a line per turn: seconds

No HTTP: the reviews are in memory, and the next batch is there when one ends. For each line on stdin it predicts for so
many seconds, and answers with a JSON line.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from transformers import TFDistilBertForSequenceClassification

BATCH_SIZE = 32


def main() -> None:
    """Answer turns until stdin ends."""
    folder, reviews = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    length = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["model_max_length"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    model = TFDistilBertForSequenceClassification.from_pretrained(str(folder))
    endless = itertools.cycle(reviews)

    def predict() -> None:
        encodings = tokenizer.encode_batch(list(itertools.islice(endless, BATCH_SIZE)))
        inputs = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
        }
        model.predict({name: np.array(rows, np.int32) for name, rows in inputs.items()}, BATCH_SIZE, verbose=0)

    predict()
    print("ready", flush=True)
    for line in sys.stdin:
        started, count = time.monotonic(), 0
        while time.monotonic() - started < float(line):
            predict()
            count += BATCH_SIZE
        rate = count / (time.monotonic() - started)
        print(json.dumps({"reviews": count, "reviews_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
