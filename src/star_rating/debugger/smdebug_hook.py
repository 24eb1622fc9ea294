"""smdebug's KerasHook, as this image runs it; import it after smdebug_messages.install(), and only where it is used.

    hook = create(settings)          # a Keras callback for model.fit
    hook.finish()
    errors.text                      # why it has turned itself off, if is_disabled()

smdebug 1.0.34 is the last of its line and knows TensorFlow up to 2.12. Nothing of it is changed: what it needs to work
with newer ones, and to never stop a job, goes through Python's, TensorFlow's and its own seams.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras  # noqa: F401 - defines AutoCastVariable, which register_variable_classes looks for
from smdebug.core.access_layer import training_has_ended
from smdebug.core.modes import ModeKeys
from smdebug.core.tfevent.event_file_writer import _EventLoggerThread
from smdebug.core.utils import error_handling_agent
from smdebug.tensorflow import KerasHook

VARIABLE_CLASSES = ("BaseResourceVariable", "AutoCastVariable")
"""TensorFlow's variables, and what mixed precision wraps them in."""


class TensorHook(KerasHook):
    """A KerasHook that neither ends a training job nor holds it up."""

    def has_default_configuration(self) -> bool:
        """Return True: of a default hook, smdebug logs an error and turns itself off; of another, it raises it."""
        return True

    def finish(self) -> None:
        """Write what is pending, and outside SageMaker the end marker; at the process's exit if not before."""
        atexit.unregister(self.finish)
        if is_disabled():
            with contextlib.suppress(OSError):  # most likely what turned it off
                training_has_ended(self.out_dir)
        else:
            self.profiling_end()  # closes the hook too; close() alone starts the Python profiler a second time


class Errors(logging.Handler):
    """Keeps the first error of smdebug: from its log, the only place where it says why it turned itself off."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an exception that smdebug logs; it announces each by a message, which says nothing."""
        if isinstance(record.msg, BaseException):
            self.keep(record.msg)

    def keep(self, error: BaseException) -> None:
        """Keep an error as one line, with the place in smdebug that it came through."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "smdebug" in frame.filename]
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        self.text = self.text or f"{type(error).__name__}: {' '.join(str(error).split())}{where}"

    def watch_threads(self) -> None:
        """Turn smdebug off when its writer thread dies, and keep the training loop from waiting for it.

        The loop puts tensors into a queue and waits until they are written. The thread that writes them ends at the
        first error, a full disk for one; then the loop would wait for ever. Python calls threading.excepthook in the
        thread that dies, and that is where the rest of the queue is thrown away.
        """
        before = threading.excepthook

        def on_error(arguments: threading.ExceptHookArgs) -> None:
            thread = arguments.thread
            if not isinstance(thread, _EventLoggerThread) or arguments.exc_value is None:
                before(arguments)
                return
            self.keep(arguments.exc_value)
            error_handling_agent.disable_smdebug = True
            queue, last = thread._queue, thread._sentinel_event  # noqa: SLF001 - nothing public reaches them
            event = None
            while event is not last:
                event = queue.get()
                queue.task_done()

        threading.excepthook = on_error


def listen() -> Errors:
    """Take over smdebug's log, which is another format on stdout, and what ends its threads."""
    errors = Errors()
    logging.getLogger("smdebug").handlers = [errors]
    errors.watch_threads()
    return errors


def create(settings: Mapping[str, Any]) -> TensorHook:
    """Return a hook for settings in debughookconfig.json's shape."""
    register_variable_classes()
    # From a file, as on SageMaker: smdebug has one public reader of these settings, and it takes a path.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "debughookconfig.json")
        path.write_text(json.dumps(settings), encoding="utf-8")
        hook: TensorHook = TensorHook.create_from_json_file(str(path))
    # Its own two at the exit would close the hook once more, whatever state it is in.
    atexit.unregister(hook._cleanup)  # noqa: SLF001 - registered by smdebug, without a public name
    atexit.unregister(hook.profiling_end)
    atexit.register(hook.finish)
    return hook


def register_variable_classes() -> None:
    """Make TensorFlow's variables instances of tf.compat.v1.Variable again, as they were until TensorFlow 2.12.

    smdebug tells variables from tensors by that class. Its metaclass is an ABCMeta, so that this is Python's own
    registration of a virtual subclass, and nothing in TensorFlow, tf_keras or transformers asks for the class.
    """
    for variable_class in tf.Variable.__subclasses__():
        if variable_class.__name__ in VARIABLE_CLASSES:
            tf.compat.v1.Variable.register(variable_class)


def is_disabled() -> bool:
    """Return whether smdebug has turned itself off after an error."""
    return bool(error_handling_agent.disable_smdebug)


def save_interval(hook: TensorHook) -> int:
    """Return how many training steps lie between two that are saved."""
    return int(hook.save_config.get_save_config(ModeKeys.TRAIN).save_interval)


def collections(hook: TensorHook) -> list[str]:
    """Return the names of the collections that are saved."""
    return sorted(hook.include_collections)
