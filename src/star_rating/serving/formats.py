"""Bodies of requests to reviews, and predictions to bodies of answers. Pure.

    reviews = read_reviews(body, "text/plain")                          # or RequestError, with HTTP's status
    answer = write_predictions(predictions, answer_type("*/*", "text/plain"))

A sentence names the record that is wrong and what to change. It never quotes a review: answers may be logged.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

JSON, JSON_LINES, CSV, TEXT = "application/json", "application/jsonlines", "text/csv", "text/plain"
REQUEST_TYPES = (JSON, JSON_LINES, CSV, TEXT)
ANSWER_TYPES = (JSON, JSON_LINES, CSV)
REVIEW_KEY = "review_body"
LONGEST_REVIEW = 1_000_000
"""In characters; a tokenizer takes a hundred bytes for each, and all but the first few hundred tokens are cut off."""
csv.field_size_limit(1 << 30)  # LONGEST_REVIEW has a sentence of its own


class RequestError(Exception):
    """A request that gets no prediction: HTTP's status, and what to change."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """One review's."""

    stars: int
    probabilities: dict[str, float]
    """Stars -> probability, in ascending order of the stars."""
    truncated: bool
    """Whether the review had more tokens than the model reads, and was cut as in training."""

    def document(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        return {"stars": self.stars, "probabilities": self.probabilities, "truncated": self.truncated}


def request_type(content_type: str) -> str:
    """Return the media type of a Content-Type header; RequestError 415 for one that is not read."""
    media_type, parameters = _split_header(content_type)
    if not media_type:
        raise RequestError(415, f"The request has no Content-Type. Send one of {', '.join(REQUEST_TYPES)}.")
    if media_type not in REQUEST_TYPES:
        raise RequestError(
            415, f"Content-Type {_shown(media_type)} is not read. Send one of {', '.join(REQUEST_TYPES)}."
        )
    charset = parameters.get("charset", "utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(415, f"Charset {_shown(charset)} is not read. Send the reviews in UTF-8.")
    return media_type


def answer_type(accept: str, requested: str) -> str:
    """Return the type that an Accept header wants; where any will do, the request's own (JSON Lines for text).

    RequestError 406 where none of ANSWER_TYPES is accepted.
    """
    own = requested if requested in ANSWER_TYPES else JSON_LINES
    best, best_quality = "", 0.0
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        wanted, parameters = _split_header(part)
        quality = _quality(parameters.get("q", "1"))
        for candidate in (own, *ANSWER_TYPES):
            if quality > best_quality and wanted in ("*/*", f"{candidate.split('/')[0]}/*", candidate):
                best, best_quality = candidate, quality
    if not best:
        raise RequestError(
            406, f"Accept {_shown(accept)} names no type that is answered. Accept one of {', '.join(ANSWER_TYPES)}."
        )
    return best


def read_reviews(body: bytes, media_type: str) -> list[str]:
    """Return the reviews of a body of one of REQUEST_TYPES; RequestError 400 names the record that is wrong."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"Byte {error.start} of the body is not UTF-8. Send the reviews in UTF-8.") from error
    reviews = list(_READERS[media_type](text))
    if not reviews:
        raise RequestError(400, f"The body holds no review. {_EXAMPLES[media_type]}")
    for number, review in enumerate(reviews, start=1):
        _check(review, number)
    return reviews


def write_predictions(predictions: Sequence[Prediction], media_type: str) -> bytes:
    """Write a body of one of ANSWER_TYPES, in order; a row of CSV is stars, each star's probability, truncated."""
    if media_type == JSON:
        return json.dumps({"predictions": [one.document() for one in predictions]}).encode()
    if media_type == JSON_LINES:
        return "".join(f"{json.dumps(one.document())}\n" for one in predictions).encode()
    lines = (
        f"{one.stars},{','.join(map(repr, one.probabilities.values()))},{str(one.truncated).lower()}\n"
        for one in predictions
    )
    return "".join(lines).encode()


def _from_json(text: str) -> Iterator[Any]:
    document = _parse(text, "The body")
    if isinstance(document, dict):
        if "instances" not in document:
            raise RequestError(400, f"The body is an object without instances. {_EXAMPLES[JSON]}")
        document = document["instances"]
        if not isinstance(document, list):
            raise RequestError(400, f"instances is not a list. {_EXAMPLES[JSON]}")
    if not isinstance(document, list):
        raise RequestError(400, f"The body is neither an object nor a list. {_EXAMPLES[JSON]}")
    for number, entry in enumerate(document, start=1):
        yield _review_of(entry, number)


def _from_json_lines(text: str) -> Iterator[Any]:
    # Not splitlines(): a JSON string may hold U+2028 as it is.
    for number, line in enumerate(_lines(text), start=1):
        yield _review_of(_parse(line, f"Record {number}"), number)


def _from_text(text: str) -> Iterator[Any]:
    return iter(_lines(text))


def _from_csv(text: str) -> Iterator[Any]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    column: int | None = None
    number = 0
    try:
        for index, row in enumerate(rows):
            if index == 0 and REVIEW_KEY in row:
                column = row.index(REVIEW_KEY)
                continue
            number += 1
            if column is None and len(row) > 1:
                raise RequestError(
                    400,
                    f"Record {number} has {len(row)} fields. Send one column of reviews (a comma within a review needs "
                    f"quotes around it), or a first row that names the column {REVIEW_KEY}.",
                )
            if len(row) <= (column or 0):
                yield ""
            else:
                yield row[column or 0]
    except csv.Error as error:
        raise RequestError(
            400, f"Record {number + 1} is not CSV: {error}. Close each quote, and double those within a field."
        ) from error


_READERS: dict[str, Callable[[str], Iterator[Any]]] = {
    JSON: _from_json,
    JSON_LINES: _from_json_lines,
    CSV: _from_csv,
    TEXT: _from_text,
}
_EXAMPLES = {
    JSON: 'Send {"instances": ["a review", ...]} or [{"review_body": "a review"}, ...].',
    JSON_LINES: 'Send a JSON string or {"review_body": "a review"} a line.',
    CSV: "Send a review a row.",
    TEXT: "Send a review a line.",
}


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if not lines[-1].strip("\r"):
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _parse(text: str, what: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestError(
            400, f"{what} is not JSON: {error.msg} at line {error.lineno} column {error.colno}."
        ) from error
    except RecursionError as error:
        raise RequestError(400, f"{what} is nested too deeply. {_EXAMPLES[JSON]}") from error
    except ValueError as error:  # a number of thousands of digits
        raise RequestError(400, f"{what} holds a number that is too long. {_EXAMPLES[JSON]}") from error


def _review_of(entry: Any, number: int) -> Any:  # noqa: ANN401
    if not isinstance(entry, dict):
        return entry
    if REVIEW_KEY not in entry:
        raise RequestError(400, f"Record {number} has no key {REVIEW_KEY}. {_EXAMPLES[JSON]}")
    return entry[REVIEW_KEY]


def _check(review: Any, number: int) -> None:  # noqa: ANN401
    if not isinstance(review, str):
        raise RequestError(400, f"Record {number} is not a text. Send a string, or an object with {REVIEW_KEY}.")
    if not review or review.isspace():
        raise RequestError(400, f"Record {number} is empty. Leave it out, or send its text.")
    if len(review) > LONGEST_REVIEW:
        raise RequestError(
            400,
            f"Record {number} has {len(review):,} characters, more than {LONGEST_REVIEW:,}. Send its beginning: the "
            "model reads no more.",
        )
    if not review.isascii():
        try:
            review.encode()
        except UnicodeEncodeError as error:
            raise RequestError(
                400, f"Record {number} holds half of a surrogate pair at character {error.start + 1}. Send whole ones."
            ) from error


def _split_header(value: str) -> tuple[str, dict[str, str]]:
    media_type, *parts = value.split(";")
    pairs = (part.partition("=") for part in parts)
    parameters = {name.strip().lower(): text.strip().strip('"').lower() for name, _, text in pairs}
    return media_type.strip().lower(), parameters


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:80]}...")
