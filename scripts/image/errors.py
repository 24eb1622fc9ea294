"""What can go wrong with an image, with build_and_push.sh's exit codes.

raise ImageError(ExitCode.REGISTRY, "sentence")
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum


class ExitCode(IntEnum):
    """What build_and_push.sh, and the commands of this folder, say to the shell."""

    USAGE = 2
    UNTRACEABLE = 3
    BUILD = 5
    CONFLICT = 8
    REGISTRY = 9
    HUB = 10
    HASH = 11


class ImageError(Exception):
    """A sentence for the user, and the exit code that goes with it."""

    def __init__(self, exit_code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def command(main: Callable[[], None]) -> None:
    """Run a command's main function; an ImageError becomes a line on stderr and the exit code."""
    try:
        main()
    except ImageError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
