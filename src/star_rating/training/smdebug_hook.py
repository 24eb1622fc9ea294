"""smdebug's KerasHook, as this image runs it; import it after smdebug_messages.install(), and only where it is used.

    hook = create(settings)          # a Keras callback for model.fit
    finish(hook)

smdebug 1.0.34 is the last of its line and knows TensorFlow up to 2.12. Nothing of it is changed: what it needs to work
with newer ones goes through TensorFlow's and its own public seams.
"""

from __future__ import annotations

import atexit
import json
import logging
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras  # noqa: F401 - defines AutoCastVariable, which register_variable_classes looks for
from smdebug.core.modes import ModeKeys
from smdebug.core.utils import error_handling_agent
from smdebug.tensorflow import KerasHook

VARIABLE_CLASSES = ("BaseResourceVariable", "AutoCastVariable")
"""TensorFlow's variables, and what mixed precision wraps them in."""


class TensorHook(KerasHook):
    """A KerasHook whose errors never end a training job."""

    def has_default_configuration(self) -> bool:
        """Return True: of a default hook, smdebug logs an error and turns itself off; of another, it raises it."""
        return True


class LastError(logging.Handler):
    """Keeps the last error that smdebug logged: it is the only way in which smdebug says why it turned itself off."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an exception as one line, with the place in smdebug that it came through; any other message as it is."""
        error = record.msg
        if not isinstance(error, BaseException):
            self.text = record.getMessage()
            return
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "smdebug" in frame.filename]
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        self.text = f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def create(settings: Mapping[str, Any]) -> TensorHook:
    """Return a hook for settings in debughookconfig.json's shape."""
    register_variable_classes()
    # From a file, as on SageMaker: smdebug has one public reader of these settings, and it takes a path.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "debughookconfig.json")
        path.write_text(json.dumps(settings), encoding="utf-8")
        hook: TensorHook = TensorHook.create_from_json_file(str(path))
    return hook


def register_variable_classes() -> None:
    """Make TensorFlow's variables instances of tf.compat.v1.Variable again, as they were until TensorFlow 2.12.

    smdebug tells variables from tensors by that class. Its metaclass is an ABCMeta, so that this is Python's own
    registration of a virtual subclass, and nothing in TensorFlow, tf_keras or transformers asks for the class.
    """
    for variable_class in tf.Variable.__subclasses__():
        if variable_class.__name__ in VARIABLE_CLASSES:
            tf.compat.v1.Variable.register(variable_class)


def listen() -> LastError:
    """Replace smdebug's own log handlers, which print another format to stdout; return what keeps its errors."""
    logger = logging.getLogger("smdebug")
    kept = LastError()
    logger.handlers = [kept]
    logger.propagate = False
    return kept


def finish(hook: TensorHook) -> None:
    """Write what is pending, and the end marker outside SageMaker; leave nothing for the process's exit."""
    hook.profiling_end()  # closes the hook too; close() alone starts the Python profiler a second time
    atexit.unregister(hook.profiling_end)
    atexit.unregister(hook._cleanup)  # noqa: SLF001 - registered by smdebug itself, without a public name


def is_disabled() -> bool:
    """Return whether smdebug has turned itself off after an error."""
    return bool(error_handling_agent.disable_smdebug)


def save_interval(hook: TensorHook) -> int:
    """Return how many training steps lie between two that are saved."""
    return int(hook.save_config.get_save_config(ModeKeys.TRAIN).save_interval)


def collections(hook: TensorHook) -> list[str]:
    """Return the names of the collections that are saved."""
    return sorted(hook.include_collections)
