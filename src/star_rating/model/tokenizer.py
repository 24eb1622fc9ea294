"""A checkpoint folder's tokenizer: whether its files can be used, before training, and what the export makes of them.

    tokenizer = check_tokenizer(folder, vocabulary_size=config.vocab_size)    # raises WeightsError
    tokenizer.sha256, tokenizer.cls_id, tokenizer.pad_id
    export_tokenizer(folder, exported)

Training itself needs no tokenizer. What is made of the model afterwards does: sample predictions, inference.py,
transformers. A file that these cannot read is said before the first step, and not after the last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from star_rating.data.manifest import KnownTokenizer
from star_rating.failures import WeightsError, quote

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE, SPECIAL_TOKENS_FILE, VOCABULARY_FILE = "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"
TOKENIZER_FILES = (TOKENIZER_FILE, SETTINGS_FILE, SPECIAL_TOKENS_FILE, VOCABULARY_FILE)

LARGEST_FILE = 2**26
"""Bytes; a BERT's largest, tokenizer.json, has less than one million."""

CLASSES = ("DistilBertTokenizer", "BertTokenizer", "PreTrainedTokenizer")
"""What tokenizer_class may be, with or without Fast; without it transformers takes DistilBERT's."""

_NOT_EXPORTED = ("auto_map", "name_or_path", "_name_or_path", "tokenizer_file", "vocab_file", "special_tokens_map_file")
"""Keys of tokenizer_config.json: code to download and run, and paths of the machine that wrote it."""


def check_tokenizer(folder: Path, vocabulary_size: int) -> KnownTokenizer:
    """Read the tokenizer's files; raise WeightsError for one that is damaged or does not fit the model's embeddings."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise WeightsError(
            f"{folder} has no {TOKENIZER_FILE}. Write it once where transformers is installed: "
            "DistilBertTokenizerFast.from_pretrained(folder).save_pretrained(folder)."
        )
    content = _bytes(path)
    try:
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        before_any_word = tokenizer.encode("").ids
        encoded = tokenizer.encode("It works, as expected!").ids
    except BaseException as error:
        # The library raises Exception itself, and where its Rust panics, a BaseException of a type of its own.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise WeightsError(
            f"{path} is damaged, or not a tokenizer of the tokenizers library ({quote(str(error))}). Copy the "
            "checkpoint again."
        ) from error
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    largest = max(vocabulary.values(), default=-1)
    if not encoded or largest >= vocabulary_size:
        raise WeightsError(
            f"{path} has ids up to {largest}, config.json's vocab_size is {vocabulary_size}. The two files must be of "
            "one checkpoint."
        )
    for name in (SETTINGS_FILE, SPECIAL_TOKENS_FILE):
        if (folder / name).exists():
            _object(folder / name)
    if (folder / VOCABULARY_FILE).exists():
        _check_vocabulary(folder / VOCABULARY_FILE, vocabulary)
    cls_id = before_any_word[0] if before_any_word else None
    return KnownTokenizer(hashlib.sha256(content).hexdigest(), cls_id, vocabulary.get("[PAD]"))


def export_tokenizer(folder: Path, exported: Path) -> None:
    """Copy the tokenizer's files; its settings without what leads out of the folder."""
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, exported / name)
    if not (folder / SETTINGS_FILE).is_file():
        return
    settings = _object(folder / SETTINGS_FILE)
    if (kept := _exported_settings(settings)) != settings:
        text = json.dumps(kept, indent=2, ensure_ascii=False)
        (exported / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


def _exported_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if key not in _NOT_EXPORTED}
    if str(kept.get("tokenizer_class", "")).removesuffix("Fast") not in CLASSES:
        kept.pop("tokenizer_class", None)
    return kept


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise WeightsError(f"{path} has {path.stat().st_size:,} bytes; no tokenizer is that large. Copy it again.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}. Copy the checkpoint again.") from error


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({quote(str(error))}). Copy it again, or remove it.") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds no JSON object. Copy it again, or remove it.")
    return value


def _check_vocabulary(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Refuse a word list of another tokenizer: transformers' slow classes read it in place of tokenizer.json."""
    try:
        words = _bytes(path).decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is not UTF-8 ({error.reason}). Copy it again, or remove it.") from error
    for number, word in enumerate(words):
        if vocabulary.get(word.rstrip("\r")) != number:
            raise WeightsError(
                f"{path}, line {number + 1}: {quote(word)} is not token {number} of {TOKENIZER_FILE}. The two files "
                "must be of one checkpoint; copy it again, or remove vocab.txt."
            )
