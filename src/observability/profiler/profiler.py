"""The profiler inside training: what the machine does, how long steps take, and a report at the end.

    with start(contract, enabled=True) as profiler:             # before TensorFlow is imported
        model.fit(..., callbacks=profiler.wrap_callbacks(callbacks, steps_done=lambda: progress.step))
        record = profiler.finish()

It never ends a job: what it cannot write is said once, and training goes on. smdebug's own profiler stays off
(observability.debugger): it runs only beside a tensor hook, evaluates its config file as Python, and two profilers at
once would measure each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from observability.profiler.files import Files
from observability.profiler.layout import ProfileLayout
from observability.profiler.recorder import Recorder
from observability.profiler.settings import ProfilerSettings, read_settings
from observability.profiler.timeline import Timeline
from star_rating.contract import Contract, unused_folder

log = logging.getLogger(__name__)

ON_SAGEMAKER = "TRAINING_JOB_NAME"
SYSTEM_METRICS = "PROFILER_SYSTEM_METRICS"
"""Who writes the system's metrics, `platform` or `container`. SageMaker writes them from outside the container if the
job has a ProfilerConfig; a platform that leaves them to us sets this variable."""


class NullProfiler:
    """What a job has that does not want one."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def wrap_callbacks(self, callbacks: Sequence[Any], steps_done: Callable[[], int]) -> list[Any]:
        """Return the callbacks as they are."""
        del steps_done
        return list(callbacks)

    def finish(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return {"enabled": False, "disabled_reason": self.reason}


class Profiler:
    """The profile of a run."""

    def __init__(self, settings: ProfilerSettings, contract: Contract, kept: Path | None) -> None:
        """Record below settings.folder, the system's metrics below `kept` if the platform writes them itself."""
        self._settings = settings
        self._layout = ProfileLayout(settings.folder, contract.current_host)
        system = ProfileLayout(kept, contract.current_host) if kept else self._layout
        self._folders = tuple(dict.fromkeys((settings.folder, system.folder)))
        self._files = Files(settings.rotation.open_failures)
        self._timeline = Timeline(self._layout, self._files, settings.rotation)
        self._recorder = Recorder(system, self._files, settings.interval_seconds, self._timeline)
        self._report = contract.output_dir / "data" / report_name(contract)
        self._title = contract.training_job_name
        self._clock: Any = None

    def wrap_callbacks(self, callbacks: Sequence[Any], steps_done: Callable[[], int]) -> list[Any]:
        """Return Keras's callbacks with the profiler's around them."""
        # These import TensorFlow, which is to be imported after its environment is set.
        from observability.profiler.callbacks import StepEndCallback, StepStartCallback, StepTimer
        from observability.profiler.python_profile import PythonProfiler
        from observability.profiler.tensorflow_trace import TensorFlowTrace

        settings = self._settings
        self._clock = StepTimer(
            self._timeline,
            steps_done,
            TensorFlowTrace(self._layout, settings.trace) if settings.trace else None,
            PythonProfiler(self._layout, settings.python) if settings.python else None,
        )
        return [StepEndCallback(self._clock), *callbacks, StepStartCallback(self._clock)]

    def start(self) -> None:
        """Begin to read the system's metrics."""
        self._recorder.start()

    def stop(self) -> None:
        """End what is running and write what is pending, of a run that was stopped too; may be called again."""
        if self._clock:
            self._clock.stop()
        self._recorder.stop()

    def finish(self) -> dict[str, Any]:
        """Write what is pending and the report; return what run.json keeps."""
        self.stop()
        begun = time.monotonic()
        trace, python = (self._clock.trace, self._clock.python) if self._clock else (None, None)
        if trace:
            trace.finish()
        verdicts = self._write_report()
        return {
            "enabled": True,
            "folder": str(self._settings.folder),
            "trace": str(trace.folder) if trace and trace.folder and not trace.error else None,
            "errors": [part.error for part in (self._files, trace, python) if part and part.error],
            "report": None if verdicts is None else str(self._report),
            "rules": verdicts,
            "seconds": {
                "system_metrics": round(self._recorder.seconds, 3),
                "trace": round(trace.seconds, 3) if trace else 0.0,
                "report": round(time.monotonic() - begun, 3),
            },
        }

    def _write_report(self) -> Mapping[str, str] | None:
        """Draw the report; return each rule's verdict, None if there is no report."""
        try:
            from observability.profiler.report import write_report

            verdicts = write_report(self._folders, self._report, self._title)
        except Exception as error:  # noqa: BLE001 - a trained model is worth more than a page about it
            log.warning("profiler: no report, the job goes on: %s: %s", type(error).__name__, error)
            return None
        log.info("profiler: %s shows where the time went", self._report)
        return {verdict.name: verdict.status for verdict in verdicts}


@contextlib.contextmanager
def start(contract: Contract, *, enabled: bool = True) -> Iterator[Profiler | NullProfiler]:
    """Record from entering to leaving; raise ConfigurationError for a damaged profilerconfig.json."""
    settings = read_settings(contract) if enabled else None
    if settings is None:
        yield _none("profilerconfig.json says DisableProfiler" if enabled else "enable_profiler is False")
        return
    with contextlib.ExitStack() as stack:
        kept = None
        if written_by_platform(settings):
            try:
                kept = Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="profile-", ignore_cleanup_errors=True))
                )
            except OSError as error:
                yield _none(f"there is no folder for temporary files: {error.strerror}")
                return
        if ON_SAGEMAKER not in os.environ:
            with contextlib.suppress(OSError):  # a folder that may not be read, say: writing says so
                settings = replace(settings, folder=unused_folder(settings.folder))
        profiler = Profiler(settings, contract, kept)
        profiler.start()
        stack.callback(profiler.stop)
        yield profiler


def _none(reason: str) -> NullProfiler:
    log.info("profiler: off, as %s", reason)
    return NullProfiler(reason)


def written_by_platform(settings: ProfilerSettings) -> bool:
    """Return whether the platform writes the system's metrics."""
    default = "platform" if ON_SAGEMAKER in os.environ and settings.configured else "container"
    return os.environ.get(SYSTEM_METRICS, default) == "platform"


def report_name(contract: Contract) -> str:
    """Return the report's file name: SageMaker puts all hosts' files into one archive."""
    return "profiler-report.html" if len(contract.hosts) == 1 else f"profiler-report-{contract.current_host}.html"
