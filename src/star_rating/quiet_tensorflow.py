"""Imports TensorFlow without the lines that it prints before it reads any log level, and without what nobody needs.

    quiet_tensorflow.import_tensorflow()      # then `import tensorflow` anywhere

Each library of it says on stderr, on every start, that oneDNN is on. Everything else that it writes passes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator

CHATTER = (
    b"All log messages before absl::InitializeLog() is called are written to STDERR",
    b"oneDNN custom operations are on.",
)
NOT_NEEDED = ("pandas", "scipy")
"""Keras imports them if they are there, to recognise their types and to rotate images: a sixth of its import."""


def import_tensorflow() -> None:
    """Import TensorFlow; TF_CPP_MIN_LOG_LEVEL does not reach these lines, so stderr is held back meanwhile."""
    sys.stderr.flush()
    held, stderr = os.memfd_create("stderr"), os.dup(2)
    os.dup2(held, 2)
    try:
        with _hidden(NOT_NEEDED), _kept():
            importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with os.fdopen(held, "rb") as lines:
            lines.seek(0)
            for line in lines:
                if not any(words in line for words in CHATTER):
                    os.write(2, line)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Make no search for garbage among objects that stay: it takes half a second until the first training step."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Make imports of packages that nobody has imported yet fail, as if they were not installed."""
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how the import system is told
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
