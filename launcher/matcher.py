r"""Regular expressions of a stranger over lines of a stranger, in a process that may be killed: a match has a bound.

    with Matcher([r"loss=(\S+)", r"(x+x+)+y(\d)"]) as matcher:
        matcher.match(["loss=0.5", "x" * 40])       # Matches(found=[(0, 0, "0.5")], given_up={1: "..."})

An expression that needs longer than LONGEST_MATCH for a line, than SLOW_TOTAL for all that take over a millisecond, or
more memory than the process may have, is given up; the others go on. Seconds are of the processor: a busy machine is
no reason. This file is also the process's program, so it imports nothing of the launcher.
"""

from __future__ import annotations

import marshal
import mmap
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

LONGEST_MATCH = 1.0
"""Seconds for one line, of all expressions together."""

SLOW_TOTAL = 5.0
"""Seconds for all lines for which an expression needs more than _SLOW."""

_SLOW = 0.001
_MEMORY = 1 << 30
_PLACE = struct.Struct("=qq")
"""Where the process is: number of the line and of the expression."""

_COMPILING, _NOWHERE = -1, -2
"""Instead of a line."""


@dataclass
class Matches:
    """What a batch of lines has."""

    found: list[tuple[int, int, str]] = field(default_factory=list)
    """Number of the line, number of the expression, text of its first group; in the order of the lines."""
    given_up: dict[int, str] = field(default_factory=dict)
    """Number of the expression -> why; it finds nothing any more."""


class Matcher:
    """The process, started when it is first needed; for one thread."""

    def __init__(
        self, expressions: Sequence[str], *, longest_match: float = LONGEST_MATCH, slow_total: float = SLOW_TOTAL
    ) -> None:
        self._expressions: dict[int, str] = dict(enumerate(expressions))
        self._longest_match = longest_match
        self._slow_total = slow_total
        self._process: subprocess.Popen[bytes] | None = None
        self._place = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the matcher
        self._place.truncate(_PLACE.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()
        self._place.close()

    def match(self, lines: Sequence[str]) -> Matches:
        """Return what the lines have, and what was given up over them."""
        matches, done = Matches(), 0
        while self._expressions and done < len(lines):
            answer = self._ask(lines[done:])
            if answer is not None:
                found, given_up = answer
                matches.found += [(done + line, number, text) for line, number, text in found]
                done = len(lines)
            else:  # it was killed; whatever it had found before is found again, but for what killed it
                line, number = _PLACE.unpack(os.pread(self._place.fileno(), _PLACE.size, 0))
                bound = f"within {self._longest_match:g} s of processor time and {_MEMORY >> 20} MB"
                if line == _NOWHERE:
                    given_up = dict.fromkeys(self._expressions, "the process that looks for it has died")
                elif line == _COMPILING:
                    given_up = {number: f"it cannot be compiled {bound}"}
                else:
                    given_up = {number: f"a line of {len(lines[done + line])} characters is not matched {bound}"}
                if line > 0:
                    before = self._before(lines[done : done + line], matches, done)
                    done += line if before else 0
            for number, reason in given_up.items():
                if self._expressions.pop(number, None) is not None:
                    matches.given_up[number] = reason
        return matches

    def _before(self, lines: Sequence[str], matches: Matches, done: int) -> bool:
        """Match again the lines that came before the one that killed the process; False if that fails as well."""
        answer = self._ask(lines)
        if answer is None or answer[1]:
            return False
        matches.found += [(done + line, number, text) for line, number, text in answer[0]]
        return True

    def _ask(self, lines: Sequence[str]) -> tuple[list[tuple[int, int, str]], dict[int, str]] | None:
        """Return what the process answers; None if it was killed."""
        os.pwrite(self._place.fileno(), _PLACE.pack(_NOWHERE, 0), 0)
        answer: tuple[list[tuple[int, int, str]], dict[int, str]] | None = None
        with suppress(OSError):
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            _send(process.stdin, list(lines))
            answer = _receive(process.stdout)
        if answer is None:
            self._end()
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        place = self._place.fileno()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this file
            [sys.executable, "-I", "-S", __file__, str(place), str(self._longest_match), str(self._slow_total)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[place],
        )
        assert self._process.stdin is not None
        _send(self._process.stdin, self._expressions)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            process.wait()


def _send(pipe: IO[bytes], value: Any) -> None:  # noqa: ANN401 - marshal's
    content = marshal.dumps(value)
    pipe.write(len(content).to_bytes(8, "big") + content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:  # noqa: ANN401 - marshal's
    """Return the next value; None at the end."""
    size = pipe.read(8)
    content = pipe.read(int.from_bytes(size, "big")) if len(size) == 8 else b""
    return marshal.loads(content) if content else None  # noqa: S302 - from this very program


class _Expressions:
    """The process's side."""

    def __init__(self, expressions: dict[int, str], place: mmap.mmap, longest_match: float, slow_total: float) -> None:
        self._place = place
        self._longest_match = longest_match
        self._slow_total = slow_total
        self._unreadable: dict[int, str] = {}
        self._compiled: dict[int, re.Pattern[str]] = {}
        self._slow: dict[int, float] = {}
        self._is_timed = False
        for number, expression in expressions.items():
            _PLACE.pack_into(place, 0, _COMPILING, number)
            signal.setitimer(signal.ITIMER_PROF, self._longest_match)
            try:
                self._compiled[number] = re.compile(expression)
            except (re.error, RecursionError, OverflowError) as error:
                self._unreadable[number] = f"it cannot be read: {error}"

    def match(self, lines: list[str]) -> tuple[list[tuple[int, int, str]], dict[int, str]]:
        found: list[tuple[int, int, str]] = []
        given_up, self._unreadable = self._unreadable, {}
        for position, line in enumerate(lines):
            signal.setitimer(signal.ITIMER_PROF, self._longest_match)
            begin = time.process_time()
            for number, expression in list(self._compiled.items()) if self._is_timed else self._compiled.items():
                _PLACE.pack_into(self._place, 0, position, number)
                match = expression.search(line)
                if match and expression.groups and match[1] is not None:
                    found.append((position, number, match[1]))
                if self._is_timed and self._was_slow(number, time.process_time() - begin):
                    del self._compiled[number]
                    given_up[number] = f"it has needed more than {self._slow_total:g} s of processor time"
                if self._is_timed:
                    begin = time.process_time()
            self._is_timed = self._is_timed or time.process_time() - begin > _SLOW
        signal.setitimer(signal.ITIMER_PROF, 0)
        return found, given_up

    def _was_slow(self, number: int, seconds: float) -> bool:
        if seconds > _SLOW:
            self._slow[number] = self._slow.get(number, 0.0) + seconds
        return self._slow.get(number, 0.0) > self._slow_total


def main(descriptor: int, longest_match: float, slow_total: float) -> None:
    """Match batches of lines until there are no more; what takes too long kills the process, by SIGPROF."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    expressions = _receive(sys.stdin.buffer)
    assert isinstance(expressions, dict)
    with mmap.mmap(descriptor, _PLACE.size) as place:
        matching = _Expressions(expressions, place, longest_match, slow_total)
        while isinstance(lines := _receive(sys.stdin.buffer), list):
            _send(sys.stdout.buffer, matching.match(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
