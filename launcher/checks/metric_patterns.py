"""Metric definitions that read the wrong line, or half a number.

check(job, findings)

For each regular expression a line is made that it matches, by walking its own parse tree; a line that another
expression matches too would enter both series. `loss: ([0-9.]+)` does that to `val_loss: 0`, and reads 9.5e-05 as 9.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import _constants as opcodes  # type: ignore[attr-defined]  # the parse tree has no public door
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from launcher.checks.findings import Findings
from launcher.job_file.schema import Job

_HARD_NUMBER = "9.5e-05"
_EASY_NUMBER = "0.25"


def check(job: Job, findings: Findings) -> None:
    """Add patterns that do not compile, have no group, match another metric's line, or cut numbers."""
    patterns: dict[str, re.Pattern[str]] = {}
    for name, regex in (job.metric_definitions or {}).items():
        key = f"metric_definitions.{name}"
        try:
            pattern = re.compile(regex)
        except re.error as error:
            findings.error(key, f"is {regex!r}, which is no regular expression: {error}")
            continue
        if pattern.groups == 0:
            findings.error(key, f"is {regex!r}, which has no group; put the number into parentheses")
            continue
        patterns[name] = pattern
    for name, pattern in patterns.items():
        _crossed(name, pattern, patterns, findings)
        _cut(name, pattern, findings)


def _crossed(name: str, pattern: re.Pattern[str], patterns: dict[str, re.Pattern[str]], findings: Findings) -> None:
    line = example(pattern, _EASY_NUMBER)
    if not pattern.search(line):
        return  # the expression looks around itself; no line of it can be made this way
    for other, other_pattern in patterns.items():
        if other != name and other_pattern.search(line):
            findings.error(
                f"metric_definitions.{other}", f"also matches {line!r}, a line of {name}; begin it with (?:^|\\s)"
            )


def _cut(name: str, pattern: re.Pattern[str], findings: Findings) -> None:
    line = example(pattern, _HARD_NUMBER)
    match = pattern.search(line)
    if match and match[1] != _HARD_NUMBER and pattern.search(example(pattern, _EASY_NUMBER)):
        findings.warning(f"metric_definitions.{name}", f"reads {_HARD_NUMBER} as {match[1]}; let it match an exponent")


def example(pattern: re.Pattern[str], number: str) -> str:
    """Return a line that the pattern probably matches, with `number` in its first group."""
    return _text(parser.parse(pattern.pattern), number)


def _text(nodes: Iterable[tuple[Any, Any]], number: str) -> str:
    return "".join(_PIECES[code](argument, number) for code, argument in nodes if code in _PIECES)


def _one_of(members: list[tuple[Any, Any]], number: str) -> str:
    return "x" if members[0][0] is opcodes.NEGATE else _text(members[:1], number)


def _repeated(argument: tuple[int, int, Any], number: str) -> str:
    fewest, _, nodes = argument
    return _text(nodes, number) * fewest


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
