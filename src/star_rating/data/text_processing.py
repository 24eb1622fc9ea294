"""How a review's text becomes token ids: what is decoded in it, and what of a long one is kept.

    processing = TextProcessing(truncate="head-tail")
    processing.clean("Don&#39;t buy<br />it")           # "Don't buy it"
    head_and_tail(ids, longest=64)                      # at most 64 ids

`prepare` applies it and records it in the manifest; training hands it on to the model's folder, in preprocessing.json;
results/inference.py, which stands alone in model.tar.gz, applies the same by code of its own (a test compares the two).
Imports no TensorFlow.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.entities import html5

TRUNCATE = ("head", "head-tail")

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
"""With its semicolon: "AT&T" and "black&copying" hold none."""
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


@dataclass(frozen=True)
class TextProcessing:
    """One way to make token ids of reviews; channels of a job, and the model made of them, have one in common.

    The defaults are what images did that recorded nothing.
    """

    truncate: str = "head"
    """Of TRUNCATE. `head` keeps a long review's first tokens; `head-tail` its first quarter and its last three.

    Sun et al. 2019, How to Fine-Tune BERT for Text Classification (arXiv:1905.05583, section 5.3.1): the first 128 and
    the last 382 of 510 tokens beat both ends alone.
    """
    keep_html: bool = True
    """Whether HTML entities and `<br />` stay as they are; else they become the characters that they stand for."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> TextProcessing:
        """Read a manifest's settings; those of an earlier image have neither key."""
        return cls(str(settings.get("truncate", cls.truncate)), settings.get("keep_html", cls.keep_html) is not False)

    def as_settings(self) -> dict[str, str | bool]:
        """Return what a manifest and preprocessing.json keep."""
        return {"truncate": self.truncate, "keep_html": self.keep_html}

    def __str__(self) -> str:
        return f"--truncate {self.truncate}{' --keep-html' if self.keep_html else ''}"

    def clean(self, text: str) -> str:
        """Return a review's text as the tokenizer gets it."""
        if self.keep_html or not ("&" in text or "<" in text):
            return text
        return _LINE_BREAK.sub(" ", _ENTITY.sub(_decode_entity, text))


def head_and_tail(ids: list[int], longest: int) -> list[int]:
    """Return at most `longest` of a review's ids: the first quarter and the last three, [CLS] and [SEP] among them."""
    head = 1 + (longest - 2) // 4
    return ids if len(ids) <= longest else ids[:head] + ids[head - longest :]


def _decode_entity(entity: re.Match[str]) -> str:
    # html.unescape alone would make of "&notable;" what it makes of "&not;".
    named = entity[0][1:]
    return html.unescape(entity[0]) if named[0] == "#" else html5.get(named, entity[0])


UNCHANGED = TextProcessing()
"""Nothing is decoded, and the first tokens are kept."""
