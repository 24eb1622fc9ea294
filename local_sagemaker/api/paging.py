"""Filters, order and pages of every List operation and of Search. Pure.

    page = page_of(rows, request, key=lambda row: row["CreationTime"], name=lambda row: row["TrainingJobName"], size=10)
    page.rows, page.next_token

A token names the last entry of its page, not a number: entries that come or go in between are neither told twice nor
passed over.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from local_sagemaker.errors import invalid

Row = dict[str, Any]
Key = Callable[[Row], Any]

DEFAULT_SIZE = 10


@dataclass(frozen=True)
class ResultPage:
    """A page, and the token of the next one."""

    rows: list[Row]
    next_token: str | None

    def answer(self, field: str) -> Row:
        """Return the operation's answer, with the rows in a field."""
        return {field: self.rows} | ({"NextToken": self.next_token} if self.next_token else {})


def page_of(
    rows: Iterable[Row], request: Row, *, key: Key, name: Key, descending: bool = False, size: int = DEFAULT_SIZE
) -> ResultPage:
    """Return the page that NextToken and MaxResults ask for; equal keys are in the order of their names."""

    def place(row: Row) -> tuple[Any, ...]:
        return (_comparable(key(row)), str(name(row)))

    ordered = sorted(rows, key=place, reverse=descending)
    token = request.get("NextToken")
    if token:
        last = _place(token)
        ordered = [row for row in ordered if (place(row) < last if descending else place(row) > last)]
    size = request.get("MaxResults", size)
    rest = len(ordered) > size
    return ResultPage(ordered[:size], _token(place(ordered[size - 1])) if rest else None)


def within(request: Row, row: Row, **fields: str) -> bool:
    """Tell whether times are in a request's ranges: Created="CreationTime" is CreatedAfter, CreatedBefore."""
    for prefix, field in fields.items():
        after, before, time = request.get(f"{prefix}After"), request.get(f"{prefix}Before"), row.get(field)
        if after is not None and (time is None or time < after):
            return False
        if before is not None and (time is None or time > before):
            return False
    return True


def _comparable(value: Any) -> tuple[int, Any]:  # noqa: ANN401 - JSON
    """Return something that orders among others of any kind: nothing first, then numbers, then texts."""
    if value is None:
        return (0, 0)
    if isinstance(value, int | float):
        return (1, value)
    return (2, str(value))


def _token(place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(token: str) -> tuple[Any, ...]:
    try:
        (rank, value), name = json.loads(base64.urlsafe_b64decode(token))
        if not isinstance(value, str if rank == 2 else int | float) or not isinstance(name, str):
            raise TypeError(token)
    except (binascii.Error, ValueError, TypeError):
        raise invalid("Invalid NextToken: it is not of an earlier answer") from None
    return ((rank, value), name)
