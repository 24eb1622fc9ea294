"""What watches a run without taking part in it: profiler, debugger hook, rules, TensorBoard and MLflow.

    with Observers.start(contract, hyperparameters) as observers:           # before TensorFlow is imported
        callbacks = observers.attach([guard, progress, checkpoints, lifecycle], progress, validation_batches=4, ...)
        model.fit(..., callbacks=callbacks)
        debugger = observers.finish_fit(seconds)
        profiler = observers.finish()

The only module of the trainer that knows src/observability.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.debugger import debugger
from observability.mlflow.tracking import Tracking, open_tracking
from observability.profiler import profiler
from observability.rules.configuration import ConfiguredRule, read_rules
from star_rating.checkpointing.policy import checkpoint_path
from star_rating.contract import Contract
from star_rating.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from observability.rules.callback import RulesCallback
    from observability.tensorboard import TensorBoardWriter
    from star_rating.training.progress import ProgressLogger


class Observers:
    """The observers of one run; of several hosts, the profiler runs on each and the others on the chief."""

    def __init__(
        self,
        contract: Contract,
        hyperparameters: Hyperparameters,
        rules: Sequence[ConfiguredRule],
        profile: profiler.Profiler | profiler.NullProfiler,
        tracking: Tracking,
    ) -> None:
        self._contract = contract
        self._hyperparameters = hyperparameters
        self._configured_rules = rules
        self._profiler = profile
        self._tracking = tracking
        self._is_chief = contract.current_host == contract.hosts[0]
        self._debugger: debugger.Debugger | None = None
        self._rules: RulesCallback | None = None
        self._tensorboard: TensorBoardWriter | None = None

    @classmethod
    @contextlib.contextmanager
    def start(cls, contract: Contract, hyperparameters: Hyperparameters) -> Iterator[Observers]:
        """Record system metrics from here on; raise ConfigurationError or HyperparameterError for what is mistyped."""
        checkpoints = checkpoint_path(contract, hyperparameters.enable_checkpointing)
        with (
            open_tracking(contract, hyperparameters.as_dict(), os.environ, checkpoints=checkpoints) as tracking,
            profiler.start(contract, enabled=hyperparameters.enable_profiler) as profile,
        ):
            yield cls(contract, hyperparameters, read_rules(hyperparameters.debugger_rules), profile, tracking)

    def attach(
        self,
        callbacks: Sequence[Any],
        progress: ProgressLogger,
        *,
        validation_batches: int,
        learning_rate: Callable[[], float],
        on_finding: Callable[[Mapping[str, Any]], None],
    ) -> list[Any]:
        """Return Keras's callbacks with the observers' among them; the last of `callbacks` stays behind theirs.

        `validation_batches` are those that each epoch ends with; `on_finding` is called if debugger_rule_action=stop.
        """
        # These import TensorFlow, whose environment is prepared after `start`.
        from observability.rules.callback import RulesCallback
        from observability.tensorboard import TensorBoardCallback, TensorBoardWriter, tensorboard_folder

        settings = self._hyperparameters
        self._debugger = debugger.attach(
            self._contract,
            enabled=settings.enable_sagemaker_debugger and self._is_chief,
            required=settings.require_sagemaker_debugger and self._is_chief,
        )
        if progress.step:
            self._debugger.restore(progress.step, progress.epochs_ended * validation_batches)
        self._rules = RulesCallback(
            self._configured_rules,
            self._debugger.out_dir,
            on_finding if settings.debugger_rule_action == "stop" else None,
        )
        *own, last = callbacks
        if settings.enable_tensorboard and self._is_chief:
            self._tensorboard = TensorBoardWriter(
                tensorboard_folder(self._contract, in_model=settings.tensorboard_in_model)
            )
            written = TensorBoardCallback(self._tensorboard, progress.history, settings.as_dict())
            own.insert(own.index(progress) + 1, written)  # it writes what the logger has just added
        after = own.index(progress) + 1
        own[after:after] = self._tracking.callbacks(progress.history, learning_rate)
        return self._profiler.wrap_callbacks(
            [*own, *self._debugger.callbacks, self._rules, last], steps_done=lambda: progress.step
        )

    def finish_fit(self, seconds: float) -> dict[str, Any]:
        """End debugger and rules after a fit of so many seconds; return what run.json keeps of them."""
        assert self._debugger is not None
        assert self._rules is not None
        record = {**self._debugger.finish(seconds), "rules": self._rules.finish()}
        self._debugger.keep_result(self._rules.evaluation.statuses())
        return record

    def show_test(self, step: int, scalars: Mapping[str, float], confusion_matrix: Path) -> None:
        """Show the test's result in TensorBoard; nothing if nobody asked for it."""
        if self._tensorboard is not None:
            self._tensorboard.scalars("test", step, scalars)
            self._tensorboard.image("test", step, "confusion matrix", confusion_matrix.read_bytes())

    def finish(self) -> dict[str, Any]:
        """End TensorBoard's files and the profiler, write its report, and return what run.json keeps of it."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        return self._profiler.finish()
