"""A tokenizer of a few hundred pieces, reviews in files, and their records read back, for the tests of `prepare`."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

MAX_SEQ_LENGTH = 16
WORDS = ("good", "bad", "great", "awful", "fine", "camera", "phone", "broke", "love", "battery")
HEADER = "review_id\tstar_rating\treview_body"


def make_weights(folder: Path) -> Path:
    """Write a tokenizer.json whose pieces are whole words and letters, with the padding that published ones carry."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *string.printable[:94]]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    # Ids from 128 on take two bytes as varints, as most ids of a real vocabulary do.
    pieces += [f"filler{number}" for number in range(200 - len(pieces))] + ["zebra"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.decoder = WordPieceDecoder()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.enable_padding(length=128)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "tiny/uncased"}), encoding="utf-8")
    return folder


def random_reviews(count: int, *, sentences_a_review: int = 1, seed: int = 0) -> list[tuple[str, int, str]]:
    """Return (review_id, stars, text) rows; all texts differ."""
    pick = random.Random(seed)
    return [
        (
            f"R{row // sentences_a_review}",
            pick.choice((1, 2, 3, 3, 4, 4, 5)),
            f"{' '.join(pick.choices(WORDS, k=6))} {row}",
        )
        for row in range(count)
    ]


def write_tsv(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write rows of (review_id, stars, text)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [HEADER, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_records(files: Iterable[Path], max_seq_length: int = MAX_SEQ_LENGTH) -> list[dict[str, Any]]:
    """Parse TFRecords as training does; TensorFlow checks every checksum."""
    sequence = tf.io.FixedLenFeature([max_seq_length], tf.int64)
    features = {"input_ids": sequence, "input_mask": sequence, "segment_ids": sequence}
    features["label_ids"] = tf.io.FixedLenFeature([], tf.int64)
    dataset = tf.data.TFRecordDataset([str(path) for path in files])
    return [
        {name: value.numpy().tolist() for name, value in tf.io.parse_single_example(record, features).items()}
        for record in dataset
    ]


def decoded(records: Iterable[dict[str, Any]], weights: Path) -> list[str]:
    """Return the texts that the records were made from."""
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    return [tokenizer.decode(record["input_ids"]) for record in records]
