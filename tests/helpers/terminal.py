"""A command on a terminal of its own, as somebody who types sees it.

with Terminal(["docker", "run", "--interactive", "--tty", ...]) as terminal:
    terminal.wait_for("training")
    terminal.press(CTRL_C)
    assert terminal.wait() == 0
"""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

CTRL_C = "\x03"


class Terminal:
    """Runs a command in a new session whose terminal this process types on."""

    def __init__(self, command: Sequence[str]) -> None:
        self.shown = ""
        """What the screen has had so far."""
        self.process, self.keyboard = pty.fork()
        if self.process == 0:
            try:
                os.execvp(command[0], list(command))
            finally:
                os._exit(127)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hang up, which ends what still runs there."""
        os.close(self.keyboard)

    def press(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Wait until the screen has had a text."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} is not on the screen:\n{self.shown}"

    def wait(self, timeout: float = 60) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, f"the command has not ended after {timeout} s:\n{self.shown}"
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def _read(self, deadline: float) -> bool:
        """Read what is there; return whether there can be more."""
        ready, _, _ = select.select([self.keyboard], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            data = os.read(self.keyboard, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
