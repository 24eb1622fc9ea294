"""Damaged inputs, and the verdict on what reads them: success or a clean user error, nothing else.

    outcomes = feed(read, damaged_json([{"epochs": "3"}]), number=2000, allowed=(Failure,))
    print(outcomes)                         # 2,000 inputs: 312 accepted, 1,688 refused

Any other exception fails the test, with the smallest input that raises it. The inputs follow from the code (no clock,
no database of earlier runs): what fails in CI fails on a desk.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import configuration, strategies

configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))  # by default it is the working directory

LONGEST_SENTENCE = 1024
"""What SageMaker shows of it; the remedy stands at its end."""

INTERESTING_BYTES = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"\x80" * 11,  # a varint that never ends
    b"\0" * 16,
    b"\xed\xa0\x80",  # a surrogate in UTF-8
    b"\xef\xbb\xbf",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
    b"1e999",
    b"-0",
    b"NaN",
    b"null",
    b'"\\ud800"',
    b",",
    b'"',
)

INTERESTING_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**400,
    0.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    " ",
    "x",
    "True",
    "null",
    "nan",
    "1e400",
    "9" * 400,
    "9" * 5000,
    "\0",
    "\ud800",
    "../../x",
    "a\nb",
    "=",
    "é" * 300,
    "x" * 200_000,
    '"',
    '"text"',
    "[" * 2000,
    '{"a": 1}',
    [],
    [None],
    ["algo-1", 2],
    {},
    {"": None},
    {"a": {"b": [1]}},
)

Json = Any


@dataclass
class Outcomes:
    """How a reader took its inputs."""

    accepted: int = 0
    refused: int = 0

    def __str__(self) -> str:
        total = self.accepted + self.refused
        return f"{total:,} inputs: {self.accepted:,} accepted, {self.refused:,} refused"


def examples(number: int) -> hypothesis.settings:
    """Return the settings of a test of that many inputs."""
    return hypothesis.settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def feed(
    read: Callable[[Any], object],
    inputs: strategies.SearchStrategy[Any],
    number: int,
    allowed: tuple[type[Exception], ...],
) -> Outcomes:
    """Give `read` that many inputs; it may raise the `allowed` errors, which have an exit_code and a sentence."""
    outcomes = Outcomes()

    @examples(number)
    @hypothesis.given(inputs)
    def one(content: Any) -> None:
        try:
            read(content)
        except allowed as error:
            _check_refusal(error)
            outcomes.refused += 1
        else:
            outcomes.accepted += 1

    one()
    assert outcomes.accepted, "nothing was accepted: the inputs test one thing only"
    assert outcomes.refused, "nothing was refused: the inputs test one thing only"
    return outcomes


def _check_refusal(error: Exception) -> None:
    exit_code = error.exit_code  # type: ignore[attr-defined]
    assert exit_code > 2, f"exit code {exit_code} is no user error: {error}"
    sentence = str(error)
    assert len(sentence.split()) > 5, f"this says too little: {sentence}"
    assert len(sentence) <= LONGEST_SENTENCE, f"{len(sentence)} characters: {sentence[:2000]}"


@strategies.composite
def damaged_bytes(draw: strategies.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with up to four bytes or stretches of it changed."""
    content = bytearray(draw(strategies.sampled_from(seeds)))
    for _ in range(draw(strategies.integers(0, 4))):
        start = draw(strategies.integers(0, len(content)))
        end = min(len(content), start + draw(strategies.sampled_from((0, 1, 2, 8, 64))))
        match draw(strategies.sampled_from(("flip", "replace", "repeat", "cut", "random"))):
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(strategies.integers(0, 7))
            case "replace":
                content[start:end] = draw(strategies.sampled_from(INTERESTING_BYTES))
            case "repeat":
                content[end:end] = content[start:end]
            case "cut":
                del content[start:]
            case _:
                content[start:end] = draw(strategies.binary(max_size=16))
    return bytes(content)


@strategies.composite
def damaged_document(draw: strategies.DrawFn, seeds: Sequence[Json], keys: Sequence[str] = ()) -> Json:
    """One of the JSON documents with up to three values replaced, removed or added; `keys` are names worth adding."""
    document = {"": copy.deepcopy(draw(strategies.sampled_from(seeds)))}
    values = strategies.sampled_from(INTERESTING_VALUES) | strategies.text(max_size=8) | strategies.integers()
    names = strategies.sampled_from((*keys, "", "x", "\0", "\ud800", "a=b")) | strategies.text(max_size=8)
    for _ in range(draw(strategies.integers(0, 3))):
        places = list(_places(document))
        holder, key = places[draw(strategies.integers(0, len(places) - 1))]
        match draw(strategies.sampled_from(("replace", "remove", "add", "wrap"))):
            case "remove" if holder is not document:
                del holder[key]
            case "add" if isinstance(holder[key], dict):
                holder[key][draw(names)] = copy.deepcopy(draw(values))
            case "add" if isinstance(holder[key], list):
                holder[key].append(copy.deepcopy(draw(values)))
            case "wrap":
                holder[key] = [holder[key]]
            case _:
                holder[key] = copy.deepcopy(draw(values))
    return document[""]


def damaged_json(seeds: Sequence[Json], keys: Sequence[str] = ()) -> strategies.SearchStrategy[bytes]:
    """JSON files: documents with other values, and files with other bytes."""
    as_bytes = [json.dumps(seed, indent=1).encode() for seed in seeds]
    return damaged_document(seeds, keys).map(lambda document: json.dumps(document).encode()) | damaged_bytes(as_bytes)


def _places(holder: dict[str, Json] | list[Json]) -> Iterator[tuple[Any, Any]]:
    """Yield each value's holder and key, so that it can be replaced."""
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        yield holder, key
        if isinstance(value, dict | list):
            yield from _places(value)
