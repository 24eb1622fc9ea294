"""SageMaker Debugger inside training: a Keras callback that saves tensors, and a record of what it really saved.

    debugger = attach(contract, enabled=hyperparameters.enable_sagemaker_debugger)
    model.fit(..., callbacks=[*others, *debugger.callbacks])     # the model built before
    record = debugger.finish(fit_seconds=61.2)

On SageMaker the tensors go where the platform uploads them from, and rules read them. In a bare `docker run`, and on
SageMaker without a DebugHookConfig, they go to <output>/tensors; there, what `keep_result` leaves is uploaded.
Where the debugger cannot run, or stops, the log and the record say so, and the job goes on without it unless
`required`. The modules beside this one hold its parts: settings (what to save), smdebug_messages
(protobuf), smdebug_hook (Keras), capture (gradients, outputs), cost, tensor_folder.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from observability.debugger.settings import (
    ON_SAGEMAKER,
    DebuggerSettings,
    read_settings,
    tensorboard_config,
    unsupported_settings,
)
from observability.debugger.tensor_folder import count_steps, free_folder, keep_result, names_saved
from star_rating.contract import Contract
from star_rating.failures import DebuggerError

log = logging.getLogger(__name__)

SHARE_OF_TIME = 0.02
"""That saving the paced collections may take; losses, metrics and the start come on top."""


@dataclass(frozen=True)
class Record:
    """What run.json keeps of the debugger."""

    enabled: bool
    """Whether it saved tensors until the end."""
    disabled_reason: str | None = None
    out_dir: str | None = None
    tensorboard_dir: str | None = None
    save_interval: int | None = None
    """Training steps between two that are saved."""
    collections: dict[str, int] = field(default_factory=dict)
    """Those that were asked for -> number of their tensors on disk."""
    steps_saved: dict[str, int] = field(default_factory=dict)
    """Mode (TRAIN, EVAL) -> number of its steps on disk."""
    seconds: float = 0.0
    """That training waited for the debugger: its start, and saving."""
    share_of_fit: float = 0.0
    """Of fit's time."""


class Debugger:
    """A hook that saves tensors, or the reason why there is none."""

    def __init__(
        self,
        hook: Any = None,  # noqa: ANN401 - smdebug is untyped, and may not be imported here
        errors: Any = None,  # noqa: ANN401
        disabled_reason: str | None = None,
        *,
        required: bool = False,
        seconds_to_start: float = 0.0,
        result_folder: Path | None = None,
    ) -> None:
        self._hook = hook
        self._errors = errors
        self._disabled_reason = disabled_reason
        self._required = required
        self._seconds_to_start = seconds_to_start
        self._result_folder = result_folder
        if required:
            self.require()

    @property
    def out_dir(self) -> Path | None:
        """Where the tensors are, None if there are none."""
        return None if self._hook is None else Path(self._hook.out_dir)

    @property
    def callbacks(self) -> list[Any]:
        """What to append to model.fit's callbacks, last: the hook adds `batch` to the `logs` that they share."""
        if self._hook is None:
            return []
        if not self._required:
            return [self._hook]
        from observability.debugger.smdebug_hook import RequiredDebugger

        return [self._hook, RequiredDebugger(self.require)]

    @property
    def disabled_reason(self) -> str | None:
        """Why no tensors are saved; None as long as they are."""
        if self._hook is not None and self._disabled_reason is None:
            from observability.debugger.smdebug_hook import is_disabled

            if is_disabled():
                self._disabled_reason = self._errors.text or "smdebug turned itself off and gave no reason"
        return self._disabled_reason

    def require(self) -> None:
        """Raise DebuggerError if no tensors are saved."""
        if self.disabled_reason:
            raise DebuggerError(
                f"No tensors are saved, and require_sagemaker_debugger is True: {self.disabled_reason[:600]}. Remedy "
                "that, or set require_sagemaker_debugger=False to train without the debugger."
            )

    def restore(self, train_steps: int, validation_steps: int) -> None:
        """Continue after so many steps; tensors are then numbered as in a run that was never interrupted."""
        if self._hook is not None:
            self._hook.restore(train_steps, validation_steps)

    def finish(self, fit_seconds: float) -> dict[str, Any]:
        """Write what is pending, look at what is on disk, and return the record; after fit, once."""
        if self._hook is None:
            return asdict(Record(enabled=False, disabled_reason=self._disabled_reason))
        from observability.debugger import smdebug_hook

        try:
            self._hook.finish()
        except Exception as error:  # noqa: BLE001 - a trained model is worth more than its tensors
            self._disabled_reason = f"{type(error).__name__}: {error}"
        folder = Path(self._hook.out_dir)
        steps_saved = count_steps(folder)
        if not steps_saved and not self.disabled_reason:
            self._disabled_reason = "smdebug saved no step and gave no reason"
        collections = smdebug_hook.count_tensors(self._hook, names_saved(folder))
        seconds = self._seconds_to_start + self._hook.cost.seconds
        self._report(steps_saved, collections, seconds)
        if self._required:
            self.require()
        return asdict(
            Record(
                enabled=self.disabled_reason is None,
                disabled_reason=self.disabled_reason,
                out_dir=self._hook.out_dir,
                tensorboard_dir=self._hook.tensorboard_dir,
                save_interval=smdebug_hook.save_interval(self._hook),
                collections=collections,
                steps_saved=steps_saved,
                seconds=seconds,
                share_of_fit=seconds / fit_seconds,
            )
        )

    def keep_result(self, statuses: Sequence[Mapping[str, Any]]) -> None:
        """Leave the rules' statuses and the tensors in output.tar.gz, where the platform uploads no tensors."""
        if self._result_folder is not None:
            keep_result(self._result_folder, self.out_dir, statuses)

    def _report(self, steps_saved: Mapping[str, int], collections: Mapping[str, int], seconds: float) -> None:
        if self.disabled_reason:
            log.warning("debugger: stopped saving tensors, training went on: %s", self.disabled_reason)
            return
        log.info("debugger: %s saved in %s, %.1f s", _in_words(steps_saved), self._hook.out_dir, seconds)
        if empty := sorted(name for name, tensors in collections.items() if not tensors and name != "sm_metrics"):
            log.warning("debugger: nothing was saved of %s", ", ".join(empty))


def attach(contract: Contract, *, enabled: bool = True, required: bool = False) -> Debugger:
    """Make the debugger of a job; smdebug is imported only if it is going to run.

    Raises ConfigurationError for a damaged config file, and DebuggerError if it is `required` and cannot run. Sets the
    variables by which smdebug finds its config files.
    """
    if not enabled:
        return Debugger(disabled_reason="enable_sagemaker_debugger is False", required=required)
    if len(contract.hosts) > 1:
        return _not_running(
            f"it runs on one host; this job has {len(contract.hosts)}. The log's metrics and enable_tensorboard=True "
            "show the losses",
            required=required,
        )
    on_sagemaker = ON_SAGEMAKER in os.environ
    settings = read_settings(contract, on_sagemaker=on_sagemaker)
    os.environ.setdefault("TENSORBOARD_CONFIG_FILE_PATH", str(tensorboard_config(contract)))
    # None: smdebug would look through the checkpoint folder at each step. A resumed run tells it its steps (restore).
    os.environ.setdefault("CHECKPOINT_CONFIG_FILE_PATH", "")
    # observability.profiler does what smdebug's own profiler does; a path that is no file keeps that one off.
    os.environ["SMPROFILER_CONFIG_PATH"] = os.devnull
    # smdebug logs while it is imported, before its logger can be reached.
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
    try:
        for remark in unsupported_settings(settings.document):
            log.warning("debugger: %s", remark)
        settings.document["LocalPath"] = str(
            free_folder(Path(settings.document["LocalPath"]), on_sagemaker=on_sagemaker)
        )
        kept = contract.output_dir / "data" / "debugger" if on_sagemaker and not settings.configured else None
        return _running(settings, required=required, result_folder=kept)
    except DebuggerError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever fails in an unmaintained package must not end the job
        name = (
            "" if type(error).__module__.startswith(("star_rating", "observability")) else f"{type(error).__name__}: "
        )
        return _not_running(f"{name}{' '.join(str(error).split())}", required=required)


def _running(settings: DebuggerSettings, *, required: bool, result_folder: Path | None) -> Debugger:
    started = time.monotonic()
    # smdebug still uses numpy's tostring and distutils; for a warning at compile time, `module` is the file's path.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
    from observability.debugger import smdebug_messages

    smdebug_messages.install()
    from observability.debugger import smdebug_hook

    errors = smdebug_hook.listen()
    hook = smdebug_hook.create(settings.document)
    if smdebug_hook.is_disabled():
        return _not_running(str(errors.text), required=required)
    smdebug_hook.pace(hook, settings.paced, SHARE_OF_TIME)
    log.info(
        "debugger: saving %s every %d steps to %s",
        ", ".join(sorted(hook.include_collections)),
        smdebug_hook.save_interval(hook),
        hook.out_dir,
    )
    return Debugger(
        hook,
        errors,
        required=required,
        seconds_to_start=time.monotonic() - started,
        result_folder=result_folder,
    )


def _not_running(reason: str, *, required: bool) -> Debugger:
    if not required:
        log.warning("debugger: not running, training goes on without it: %s", reason)
    return Debugger(disabled_reason=reason, required=required)


def _in_words(steps_saved: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {mode} steps" for mode, count in sorted(steps_saved.items(), reverse=True))
