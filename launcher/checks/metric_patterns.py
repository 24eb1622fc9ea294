r"""Metric definitions that read the wrong line, half a number, or never come to an end.

check(job, diagnostics)

For each regular expression a line is made that it matches, by walking its own parse tree; a line that another
expression matches too would enter both series. `loss: ([0-9.]+)` does that to `val_loss: 0`, and reads 9.5e-05 as 9.5.
`(x+x+)+y(\d)` tries every way to cut a line of x into pieces: lines of one of its characters show it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from re import _constants as opcodes  # type: ignore[attr-defined]  # the parse tree has no public door
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job
from launcher.matcher import Matcher

_HARD_NUMBER = "9.5e-05"
_EASY_NUMBER = "0.25"

_LONGEST = 10_000
"""Characters of a line that is made."""

_REPEATED, _MAX_CHARACTERS = 60, 100
"""Of a line of the same character: how often; and how many such lines."""

_END = "\x01"
"""What no expression expects: all have to fail there."""


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add patterns that do not compile, have no group, backtrack, match another metric's line, or cut numbers."""
    patterns: dict[str, re.Pattern[str]] = {}
    for name, regex in (job.metric_definitions or {}).items():
        key = f"metric_definitions.{name}"
        try:
            pattern = re.compile(regex)
        except (re.error, RecursionError, OverflowError) as error:
            diagnostics.error(key, f"is {regex!r}, which is no regular expression: {error}")
            continue
        if pattern.groups == 0:
            diagnostics.error(key, f"is {regex!r}, which has no group; put the number into parentheses")
            continue
        patterns[name] = pattern
    names = list(patterns)
    easy = [example(pattern, _EASY_NUMBER) for pattern in patterns.values()]
    hard = [example(pattern, _HARD_NUMBER) for pattern in patterns.values()]
    characters = sorted({"x", "0", " ", *"".join(pattern.pattern for pattern in patterns.values())})[:_MAX_CHARACTERS]
    found, given_up = _matches(
        tuple(pattern.pattern for pattern in patterns.values()),
        (*easy, *hard, *(character * _REPEATED + _END for character in characters)),
    )
    for number, reason in given_up.items():
        diagnostics.warning(
            f"metric_definitions.{names[number]}",
            f"backtracks: {reason}; write it so that there is one way to match a line",
        )
    for number, name in enumerate(names):
        if (number, number) not in found:
            continue  # the expression looks around itself; no line of it can be made this way
        for other, other_name in enumerate(names):
            if other != number and (number, other) in found:
                diagnostics.error(
                    f"metric_definitions.{other_name}",
                    f"also matches {easy[number]!r}, a line of {name}; begin it with (?:^|\\s)",
                )
        read = found.get((len(names) + number, number), _HARD_NUMBER)
        if read != _HARD_NUMBER:
            diagnostics.warning(
                f"metric_definitions.{name}", f"reads {_HARD_NUMBER} as {read}; let it match an exponent"
            )


@functools.lru_cache(maxsize=64)
def _matches(expressions: tuple[str, ...], lines: tuple[str, ...]) -> tuple[dict[tuple[int, int], str], dict[int, str]]:
    """Return (line, expression) -> what is read, and expression -> why it was given up."""
    if not expressions:
        return {}, {}
    with Matcher(expressions) as matcher:
        matches = matcher.match(lines)
    return {(line, expression): text for line, expression, text in matches.found}, matches.given_up


def example(pattern: re.Pattern[str], number: str) -> str:
    """Return a line that the pattern probably matches, with `number` in its first group; empty if it is a long one."""
    try:
        return _text(parser.parse(pattern.pattern), number)
    except (_TooLongError, RecursionError):
        return ""


class _TooLongError(Exception):
    """No line of a log is this long."""


def _text(nodes: Iterable[tuple[Any, Any]], number: str) -> str:
    return "".join(_PIECES[code](argument, number) for code, argument in nodes if code in _PIECES)


def _one_of(members: list[tuple[Any, Any]], number: str) -> str:
    return "x" if members[0][0] is opcodes.NEGATE else _text(members[:1], number)


def _repeated(argument: tuple[int, int, Any], number: str) -> str:
    fewest, _, nodes = argument
    text = _text(nodes, number)
    if len(text) * fewest > _LONGEST:
        raise _TooLongError
    return text * fewest


def _group(argument: tuple[int | None, int, int, Any], number: str) -> str:
    index, _, _, nodes = argument
    return number if index == 1 else _text(nodes, number)


_CATEGORIES = {opcodes.CATEGORY_SPACE: " ", opcodes.CATEGORY_DIGIT: "0"}

_PIECES: dict[Any, Callable[[Any, str], str]] = {
    opcodes.ANY: lambda _, __: "x",
    opcodes.BRANCH: lambda branches, number: _text(branches[1][0], number),
    opcodes.CATEGORY: lambda category, _: _CATEGORIES.get(category, "x"),
    opcodes.IN: _one_of,
    opcodes.LITERAL: lambda character, _: chr(character),
    opcodes.MAX_REPEAT: _repeated,
    opcodes.MIN_REPEAT: _repeated,
    opcodes.NOT_LITERAL: lambda _, __: "x",
    opcodes.RANGE: lambda ends, _: chr(ends[0]),
    opcodes.SUBPATTERN: _group,
}
"""Node of the parse tree -> the shortest text for it; what is not here (anchors, assertions) takes none."""
