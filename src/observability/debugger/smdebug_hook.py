"""smdebug's KerasHook, as this image runs it; import it after smdebug_messages.install(), and only where it is used.

    hook = create(settings)          # a Keras callback for model.fit
    hook.restore(train_steps=120, validation_steps=8)      # in a run that resumes
    hook.finish()

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
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf
import tf_keras
from smdebug.core.access_layer import training_has_ended
from smdebug.core.modes import ModeKeys
from smdebug.core.reductions import REDUCTIONS_PREFIX, reverse_reduction_tensor_name
from smdebug.core.save_config import SaveConfig
from smdebug.core.tfevent.event_file_writer import _EventLoggerThread
from smdebug.core.utils import error_handling_agent, match_inc
from smdebug.tensorflow import KerasHook

from observability.debugger.capture import GradientCapture, OutputCapture
from observability.debugger.cost import AdaptiveInterval, Cost


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


def is_disabled() -> bool:
    """Return whether smdebug has turned itself off after an error."""
    return bool(error_handling_agent.disable_smdebug)


class AdaptiveSaveConfig(SaveConfig):
    """Every `save_interval` training steps those that the pace allows, and no validation step."""

    def __init__(self, save_interval: int, pace: AdaptiveInterval) -> None:
        super().__init__(save_interval=save_interval)
        self._pace = pace

    def should_save_step(self, mode: ModeKeys, step: int) -> bool:
        """Return whether a step of a mode is saved."""
        return bool(mode == ModeKeys.TRAIN and super().should_save_step(mode, step) and self._pace.allows(step))


class RequiredDebugger(tf_keras.callbacks.Callback):
    """Looks after each step whether tensors are still saved; stands after the hook among the callbacks."""

    def __init__(self, require: Callable[[], None]) -> None:
        super().__init__()
        self._require = require

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Raise DebuggerError: what follows would cost time and be without tensors."""
        del batch, logs
        self._require()


VARIABLE_CLASSES = ("BaseResourceVariable", "AutoCastVariable")
"""TensorFlow's variables, and what mixed precision wraps them in."""

FED = {"gradients": "^gradients/", "outputs": "^(labels|predictions)$"}
"""Collections whose tensors come from here, and their names. Without a pattern smdebug loses the first of a tensor that
is in another collection too."""
OUTPUTS = {"smdebug_y": "labels", "smdebug_y_pred": "predictions"}
"""Keys of save_smdebug_logs, and the tensors' names."""

Logs = dict[str, Any]


class TensorHook(KerasHook):
    """A KerasHook that has gradients, counts its cost, and neither ends a training job nor holds it up."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - smdebug's
        super().__init__(**options)
        self.cost = Cost()
        self._gradients: GradientCapture | None = None
        self._gradients_are_due = True
        self._outputs: OutputCapture | None = None

    def has_default_configuration(self) -> bool:
        """Return True: of a default hook, smdebug logs an error and turns itself off; of another, it raises it."""
        return True

    def restore(self, train_steps: int, validation_steps: int) -> None:
        """Continue after so many steps, of a run that is resumed."""
        self.step = self.init_step = train_steps + validation_steps - 1
        self.mode_steps = {
            ModeKeys.GLOBAL: self.step,
            ModeKeys.TRAIN: train_steps - 1,
            ModeKeys.EVAL: validation_steps - 1,
        }

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Tell smdebug of the optimizer's variables, which it finds in optimizers of TensorFlow 2.10 alone."""
        super().on_train_begin(logs)
        self._capture_outputs()
        if "optimizer_variables" in self.include_collections:
            self.set_optimizer_variables(list(self.model.optimizer.variables))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begin an evaluation, which a resumed run may do before it trains."""
        super().on_test_begin(logs)
        self._capture_outputs()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Write what is left of the step before, and decide what of this one is saved."""
        with self.cost.measured():
            super().on_train_batch_begin(batch, logs)
            self._keep_gradients()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save a step; first what smdebug knows nothing of, for it lists its tensors after the first step."""
        with self.cost.measured():
            self._save_gradients()
            self._save_outputs()
            super().on_train_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Write what is left of the step before, and decide what of this one is saved."""
        with self.cost.measured():
            super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save a validation step."""
        with self.cost.measured():
            self._save_outputs()
            super().on_test_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save the epoch's losses and metrics; after a validation its own, for they are saved as its last step's.

        smdebug itself would save the training's `loss` there too, where readers take it for the validation's.
        """
        values = dict(logs or {})
        if self.mode == ModeKeys.EVAL:
            values = {name: value for name, value in values.items() if name.startswith("val_")}
        with self.cost.measured():
            super().on_epoch_end(epoch, values)

    def finish(self) -> None:
        """Write what is pending, and outside SageMaker the end marker; at the process's exit if not before."""
        atexit.unregister(self.finish)
        with self.cost.measured():
            if is_disabled():
                with contextlib.suppress(OSError):  # most likely what turned it off
                    training_has_ended(self.out_dir)
            else:
                self.profiling_end()  # closes the hook too; close() alone starts the Python profiler a second time

    def _write_optimizer_variables(self) -> None:
        """Do nothing: they are saved with the weights, and smdebug would write them once more."""

    @error_handling_agent.catch_smdebug_errors()
    def _keep_gradients(self) -> None:
        """Have the step that begins keep its gradients, if one of them is to be saved."""
        if self._gradients_are_due:  # in the first training step: smdebug has its collections, and nothing is traced
            self._gradients_are_due = False
            variables = [variable for variable in self.model.trainable_variables if self._wants_gradient(variable)]
            if variables:
                self._gradients = GradientCapture(self.model.optimizer, variables)
        if self._gradients is not None and any(map(self._saves_gradient, self._gradients.variables)):
            self._gradients.open()

    @error_handling_agent.catch_smdebug_errors()
    def _save_gradients(self) -> None:
        gradients = [] if self._gradients is None else self._gradients.close()
        saved = [(variable.name, value) for variable, value in gradients if self._saves_gradient(variable)]
        if saved:
            self.save_smdebug_logs({"smdebug_gradients": saved})

    def _wants_gradient(self, variable: tf.Variable) -> bool:
        """Return whether this variable's gradient is saved at some step."""
        return self._wants(f"gradients/{variable.name.split(':')[0]}Grad")  # the name that smdebug makes

    def _saves_gradient(self, variable: tf.Variable) -> bool:
        """Return whether this variable's gradient is saved at this step."""
        return bool(self.should_save_tensor_or_collection(variable.name, "gradients"))

    @error_handling_agent.catch_smdebug_errors()
    def _capture_outputs(self) -> None:
        """Have all steps keep labels and predictions, if they are saved at some."""
        if self._outputs is None and any(map(self._wants, OUTPUTS.values())):
            self._outputs = OutputCapture(self.model)

    @error_handling_agent.catch_smdebug_errors()
    def _save_outputs(self) -> None:
        if self._outputs is None:
            return
        values: Sequence[npt.NDArray[Any]] = self._outputs.read()
        for (key, name), value in zip(OUTPUTS.items(), values, strict=True):
            if value.size and self.should_save_tensor_or_collection(name, "outputs"):
                self.save_smdebug_logs({key: value})

    def _wants(self, name: str) -> bool:
        """Return whether a collection that is saved has a tensor of this name."""
        return any(match_inc(name, collection.include_regex) for collection in self.included_collections())

    def included_collections(self) -> list[Any]:
        """Return the collections that are saved."""
        collections = self.get_collections()
        return [collections[name] for name in self.include_collections if name in collections]


def create(settings: Mapping[str, Any]) -> TensorHook:
    """Return a hook for settings in debughookconfig.json's shape."""
    register_variable_classes()
    # From a file, as on SageMaker: smdebug has one public reader of these settings, and it takes a path.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "debughookconfig.json")
        path.write_text(json.dumps(settings), encoding="utf-8")
        hook: TensorHook = TensorHook.create_from_json_file(str(path))
    for name, pattern in FED.items():
        if not hook.get_collection(name).include_regex:
            hook.get_collection(name).include(pattern)
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


def pace(hook: TensorHook, names: Sequence[str], share: float) -> None:
    """Save these collections less often where saving would take more than its share of the time."""
    together = AdaptiveInterval(hook.cost, share)
    for name in names:
        hook.get_collection(name).save_config = AdaptiveSaveConfig(save_interval(hook), together)


def save_interval(hook: TensorHook) -> int:
    """Return how many training steps lie between two that are saved."""
    return int(hook.save_config.get_save_config(ModeKeys.TRAIN).save_interval)


def count_tensors(hook: TensorHook, names_saved: Collection[str]) -> dict[str, int]:
    """Return collection -> number of its tensors among the names that were saved."""
    tensors = {_without_reduction(name) for name in names_saved}
    return {
        collection.name: len(tensors & collection.tensor_names)
        for collection in sorted(hook.included_collections(), key=lambda collection: collection.name)
    }


def _without_reduction(name: str) -> str:
    return reverse_reduction_tensor_name(name)[0] if name.startswith(REDUCTIONS_PREFIX) else name
