"""SageMaker Debugger inside training: a Keras callback that saves tensors, and a record of what it really saved.

    debugger = attach(contract, enabled=hyperparameters.enable_sagemaker_debugger)
    model.fit(..., callbacks=[*others, *debugger.callbacks])     # the model built before
    record = debugger.finish()

On SageMaker the tensors go where the platform uploads them from, and rules read them; in a bare `docker run` they go to
<output>/tensors. The debugger never ends a job: where it cannot run, or stops, the log and the record say so. The
modules beside this one hold its parts: settings, smdebug_messages (protobuf), smdebug_hook (Keras).
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from star_rating.contract import Contract, unused_folder
from star_rating.debugger.settings import ON_SAGEMAKER, read_settings, tensorboard_config

log = logging.getLogger(__name__)


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
    collections: list[str] = field(default_factory=list)
    """Those that were asked for."""
    steps_saved: dict[str, int] = field(default_factory=dict)
    """Mode (TRAIN, EVAL) -> number of its steps on disk."""


class Debugger:
    """A hook that saves tensors, or the reason why there is none."""

    def __init__(self, hook: Any = None, errors: Any = None, disabled_reason: str | None = None) -> None:  # noqa: ANN401
        self._hook = hook
        self._errors = errors
        self._disabled_reason = disabled_reason

    @property
    def out_dir(self) -> Path | None:
        """Where the tensors are, None if there are none."""
        return None if self._hook is None else Path(self._hook.out_dir)

    @property
    def callbacks(self) -> list[Any]:
        """What to append to model.fit's callbacks, last: the hook adds `batch` to the `logs` that they share."""
        return [] if self._hook is None else [self._hook]

    def finish(self) -> dict[str, Any]:
        """Write what is pending, look at what is on disk, and return the record; after fit, once."""
        if self._hook is None:
            return asdict(Record(enabled=False, disabled_reason=self._disabled_reason))
        from star_rating.debugger import smdebug_hook

        try:
            self._hook.finish()
        except Exception as error:  # noqa: BLE001 - a trained model is worth more than its tensors
            self._disabled_reason = f"{type(error).__name__}: {error}"
        steps_saved = count_steps(Path(self._hook.out_dir))
        if smdebug_hook.is_disabled():
            self._disabled_reason = self._errors.text
        elif not steps_saved:
            self._disabled_reason = self._disabled_reason or "smdebug saved no step and gave no reason"
        if self._disabled_reason:
            log.warning("debugger: stopped saving tensors, training went on: %s", self._disabled_reason)
        else:
            log.info("debugger: %s saved in %s", _in_words(steps_saved), self._hook.out_dir)
        return asdict(
            Record(
                enabled=self._disabled_reason is None,
                disabled_reason=self._disabled_reason,
                out_dir=self._hook.out_dir,
                tensorboard_dir=self._hook.tensorboard_dir,
                save_interval=smdebug_hook.save_interval(self._hook),
                collections=smdebug_hook.collections(self._hook),
                steps_saved=steps_saved,
            )
        )


def attach(contract: Contract, *, enabled: bool = True) -> Debugger:
    """Make the debugger of a job; smdebug is imported only if it is going to run.

    Raises ConfigurationError for a damaged config file. Sets the variables by which smdebug finds its config files.
    """
    if not enabled:
        return Debugger(disabled_reason="enable_sagemaker_debugger is False")
    if len(contract.hosts) > 1:
        return _not_running(
            f"it runs on one host; this job has {len(contract.hosts)}. The log's metrics and enable_tensorboard=True "
            "show the losses"
        )
    on_sagemaker = ON_SAGEMAKER in os.environ
    settings = read_settings(contract, on_sagemaker=on_sagemaker)
    if settings is None:
        return _not_running("the job has no DebugHookConfig")
    settings["LocalPath"] = str(_folder(Path(settings["LocalPath"]), on_sagemaker=on_sagemaker))
    os.environ.setdefault("TENSORBOARD_CONFIG_FILE_PATH", str(tensorboard_config(contract)))
    os.environ.setdefault("CHECKPOINT_CONFIG_FILE_PATH", str(contract.config_dir / "checkpointconfig.json"))
    # star_rating.profiling does what smdebug's own profiler does; a path that is no file keeps that one off.
    os.environ["SMPROFILER_CONFIG_PATH"] = os.devnull
    # smdebug logs while it is imported, before its logger can be reached.
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
    try:
        return _running(settings)
    except Exception as error:  # noqa: BLE001 - whatever fails in an unmaintained package must not end the job
        return _not_running(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _running(settings: Mapping[str, Any]) -> Debugger:
    # smdebug still uses numpy's tostring and distutils; for a warning at compile time, `module` is the file's path.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
    from star_rating.debugger import smdebug_messages

    smdebug_messages.install()
    from star_rating.debugger import smdebug_hook

    errors = smdebug_hook.listen()
    hook = smdebug_hook.create(settings)
    if smdebug_hook.is_disabled():
        return _not_running(str(errors.text))
    log.info(
        "debugger: saving %s every %d steps to %s",
        ", ".join(smdebug_hook.collections(hook)),
        smdebug_hook.save_interval(hook),
        hook.out_dir,
    )
    return Debugger(hook, errors)


def _not_running(reason: str) -> Debugger:
    log.warning("debugger: not running, training goes on without it: %s", reason)
    return Debugger(disabled_reason=reason)


def _folder(wanted: Path, *, on_sagemaker: bool) -> Path:
    """Return where the tensors go: `wanted`, or a new folder beside it if an earlier run's tensors are there.

    smdebug cannot keep two runs apart: it refuses a folder with an end marker, and mixes steps in one without.
    """
    if on_sagemaker:
        # A job that was interrupted goes on in its folder; the file by which the dead process claimed it has to go.
        (wanted / "claim.smd").unlink(missing_ok=True)
        return wanted
    folder = unused_folder(wanted)
    if folder != wanted:
        log.info("debugger: %s holds the tensors of an earlier run; this run's go to %s", wanted, folder)
    return folder


def count_steps(folder: Path) -> dict[str, int]:
    """Return mode -> number of steps in a tensor folder, read from its index files."""
    indexes = folder.glob("index/*/*_worker_0.json")
    return dict(Counter(json.loads(path.read_text(encoding="utf-8"))["meta"]["mode"] for path in indexes))


def _in_words(steps_saved: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {mode} steps" for mode, count in sorted(steps_saved.items(), reverse=True))
