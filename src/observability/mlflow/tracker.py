"""The run on the tracking server: a queue that training fills, and a thread that empties it.

    tracker = Tracker(settings, parameters, tags, state_file=checkpoints / "mlflow.json", unsent=output / "mlflow")
    tracker.begin()
    tracker.log(step, {"train:loss": 1.4})         # a few microseconds, whatever the server does
    tracker.finish({"": [model_dir / "run.json"]}, status="FINISHED")

`begin` asks the server once, so that a wrong address or missing rights are said before training. From then on only the
thread talks to it: what fails is sent again, later and later, and what has not arrived when the job's patience ends is
written to the folder `unsent`. A server never fails a job.

The run's id is kept beside the checkpoints. A job that resumes from one continues the run, and sends only steps that
the server does not have yet: its steps are then without a gap, and none is there twice.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observability.mlflow.settings import MlflowSettings, without_credentials

log = logging.getLogger(__name__)

MAX_POINTS = 100_000
"""In the queue, 10 MB; what is more than that drops the oldest, which run.json's history still has."""
BATCH = 1000
"""Metrics of one request; the server's own limit."""
REQUEST_SECONDS = 10
"""Of one request, before it counts as failed."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0
PATIENCE_SECONDS = 60.0
"""That the end of a job waits for a server that does not answer."""
PATIENCE_OF_A_STOP = 10.0
"""Of a job that was asked to stop: SageMaker kills it two minutes after it has asked."""
UPLOAD_SECONDS = 600.0
"""That the end of a job waits for files, as long as the server takes them."""
LONGEST_PARAMETER = 6000
"""Characters; the server's own limit."""

TERMINATED = frozenset({"FINISHED", "FAILED", "KILLED"})


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    name: str
    value: float
    step: int
    milliseconds: int
    """Since 1970."""


@dataclass(frozen=True)
class _Upload:
    file: Path
    folder: str
    """Of the run's artifacts."""


class Tracker:
    """One run; `log` may be called from training, everything else from the job's main thread."""

    def __init__(
        self,
        settings: MlflowSettings,
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
        *,
        state_file: Path | None,
        unsent: Path,
    ) -> None:
        self.settings = settings
        self.run_id: str | None = None
        self.error: str | None = None
        """The first failure, as a sentence; None if there was none."""
        self._parameters = {name: str(value)[:LONGEST_PARAMETER] for name, value in parameters.items()}
        self._tags = dict(tags)
        self._state_file = state_file
        self._unsent = unsent
        self._client: Any = None
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)
        self._uploads: deque[_Upload] = deque()
        self._status: str | None = None
        self._sent = self._added = 0
        self._known_steps: dict[str, int] = {}
        """Metric -> the last step that the server had when this job found the run."""
        self._continues = False
        self._changed = threading.Condition()
        self._ended = False
        self._hurry = False
        """Whether a retry is due now, as the job ends."""
        self._progress = 0
        """Requests that succeeded."""
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    # -- training's side

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take metrics of a step."""
        now = int(time.time() * 1000)
        with self._changed:
            for name, value in values.items():
                self._points.append(Point(name, float(value), step, now))
                self._added += 1
            self._changed.notify()

    def begin(self) -> None:
        """Ask the server once, say what is wrong, and start the thread."""
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001 - whatever a client raises must not end the job
            self._note(error)
        else:
            log.info("mlflow: run %s of experiment %s", self.run_id, self.settings.experiment_name)
        self._thread.start()

    def finish(self, files: Mapping[str, Sequence[Path]], *, status: str) -> dict[str, Any]:
        """Send what is left, files into the folders of the run's artifacts that they are listed under, and end the run.

        Waits PATIENCE_SECONDS for a server that does not answer; what is left then is written to `unsent`. Returns what
        run.json may keep.
        """
        with self._changed:
            self._uploads.extend(_Upload(file, folder) for folder, listed in files.items() for file in listed)
            self._status = status
            self._hurry = True
            self._changed.notify()
        self._wait(PATIENCE_SECONDS if status == "FINISHED" else PATIENCE_OF_A_STOP)
        self._write_unsent()
        return self.record()

    def record(self) -> dict[str, Any]:
        """Return which run it was, and what went wrong."""
        return {
            "tracking_server": self.settings.server,
            "experiment": self.settings.experiment_name,
            "run_id": self.run_id,
            "error": self.error,
            "points": {"sent": self._sent, "of": self._added},
        }

    def _wait(self, patience: float) -> None:
        """Wait for the thread's end: as long as requests succeed, else for `patience` seconds."""
        started = last = time.monotonic()
        progress = self._progress
        while self._thread.is_alive():
            self._thread.join(0.05)
            now = time.monotonic()
            if self._progress != progress:
                progress, last = self._progress, now
            if now - last > patience or now - started > UPLOAD_SECONDS:
                break
        with self._changed:
            self._ended = True
            self._changed.notify()

    # -- the thread's side

    def _run(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._is_pending())
                if self._ended:
                    return
            try:
                self._connect()
                self._send_points()
                self._send_files()
                if self._end_run():
                    return
                delay = FIRST_RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 - a server that is slow, down or refuses never fails a job
                self._note(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._hurry, delay)
                    self._hurry = False
                delay = min(2 * delay, LONGEST_RETRY_SECONDS if self._status is None else 2.0)

    def _is_pending(self) -> bool:
        return bool(self._client is None or self._points or self._uploads or self._status)

    def _connect(self) -> None:
        """Find the run, or create it; log parameters and tags."""
        if self._client is not None:
            return
        # One request each: this class does the waiting, and training must not be held up by a client's own.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report to a host of its own
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # The plug-in's header provider takes every tracking URI for an ARN, and this logger warns at each request.
        logging.getLogger("mlflow.tracking.request_header.registry").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.settings.tracking_uri)
        if self.run_id is None:
            self.run_id = self._find_run(client) or self._create_run(client)
        found = client.get_run(self.run_id)
        client.update_run(self.run_id, status="RUNNING")
        self._keep_state(found.info.experiment_id)
        self._log_parameters(client, found.data.params)
        self._client = client

    def _find_run(self, client: Any) -> str | None:  # noqa: ANN401 - mlflow is imported by those who have a server
        """Return the run that this job continues: the one it was given, or that of the checkpoints."""
        if self.settings.run_id is not None:
            self._continues = True
            return self.settings.run_id
        run_id = self._kept_run_id()
        if run_id is None:
            return None
        from mlflow.exceptions import RestException

        try:
            run = client.get_run(run_id)
        except RestException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            log.warning("mlflow: run %s of the checkpoints is no longer on the server; this is a new one", run_id)
            return None
        self._continues = run.info.lifecycle_stage == "active"
        return run_id if self._continues else None

    def _create_run(self, client: Any) -> str:  # noqa: ANN401
        name = self.settings.experiment_name
        experiment = client.get_experiment_by_name(name)
        experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
        run = client.create_run(experiment_id, run_name=self.settings.run_name, tags=self._tags)
        return str(run.info.run_id)

    def _log_parameters(self, client: Any, there: Mapping[str, str]) -> None:  # noqa: ANN401
        """Log the parameters that the run has not got; one that differs, which MLflow refuses to change, as a tag."""
        from mlflow.entities import Param, RunTag

        new = [Param(name, value) for name, value in self._parameters.items() if name not in there]
        tags = dict(self._tags) | {
            f"changed.{name}": value for name, value in self._parameters.items() if there.get(name, value) != value
        }
        client.log_batch(self.run_id, params=new, tags=[RunTag(name, value) for name, value in tags.items()])

    def _send_points(self) -> None:
        while self._points:
            with self._changed:
                batch = [self._points[index] for index in range(min(BATCH, len(self._points)))]
            new = [point for point in batch if point.step > self._last_known_step(point.name)]
            if new:
                from mlflow.entities import Metric

                # Sent twice, as an answer was lost, a metric is still there once: name, value, time and step agree.
                metrics = [Metric(point.name, point.value, point.milliseconds, point.step) for point in new]
                self._client.log_batch(self.run_id, metrics=metrics)
            with self._changed:
                # Training may have pushed the oldest out of a full queue meanwhile.
                for point in batch:
                    if self._points and self._points[0] is point:
                        self._points.popleft()
                self._sent += len(batch)
            self._progress += 1

    def _last_known_step(self, name: str) -> int:
        """Return the last step that the run had of a metric when this job found it; -1 for a run of its own."""
        if not self._continues:
            return -1
        if name not in self._known_steps:
            history = self._client.get_metric_history(self.run_id, name)
            self._known_steps[name] = max((metric.step for metric in history), default=-1)
        return self._known_steps[name]

    def _send_files(self) -> None:
        while self._uploads:
            upload = self._uploads[0]
            self._client.log_artifact(self.run_id, str(upload.file), upload.folder or None)
            self._uploads.popleft()
            self._progress += 1

    def _end_run(self) -> bool:
        with self._changed:
            if self._status is None or self._points or self._uploads:
                return False
            status = self._status
        self._client.set_terminated(self.run_id, status)
        return True

    # -- what is kept

    def _note(self, error: Exception) -> None:
        """Say the first failure."""
        if self.error is None:
            self.error = without_credentials(f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
            log.warning(
                "mlflow: %s does not take the run; training goes on, it is tried again, and what is left at the end is "
                "written to %s: %s",
                self.settings.server,
                self._unsent,
                self.error,
            )

    def _kept_run_id(self) -> str | None:
        if self._state_file is None:
            return None
        try:
            state = json.loads(self._state_file.read_text(encoding="utf-8"))
            same_server = state["tracking_server"] == self.settings.server
            return str(state["run_id"]) if same_server else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep_state(self, experiment_id: str) -> None:
        if self._state_file is None:
            return
        state = {"tracking_server": self.settings.server, "experiment_id": experiment_id, "run_id": self.run_id}
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._state_file.with_name(f".{self._state_file.name}.tmp")
        unfinished.write_text(json.dumps(state), encoding="utf-8")
        unfinished.replace(self._state_file)

    def _write_unsent(self) -> None:
        """Write metrics and names of files that did not arrive, and what the run is."""
        with self._changed:
            points, uploads = list(self._points), list(self._uploads)
        if not points and not uploads and self._client is not None:
            return
        try:
            self._unsent.mkdir(parents=True, exist_ok=True)
            with (self._unsent / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["name", "value", "step", "milliseconds"])
                writer.writerows([point.name, point.value, point.step, point.milliseconds] for point in points)
            run = {**self.record(), "parameters": self._parameters, "tags": self._tags}
            run["files"] = [str(upload.file) for upload in uploads]
            (self._unsent / "run.json").write_text(json.dumps(run, indent=2), encoding="utf-8")
        except OSError as error:
            log.warning("mlflow: %s: %s", self._unsent, error.strerror)
        else:
            log.warning(
                "mlflow: %d metric value(s) and %d file(s) did not reach %s; they are in %s",
                len(points),
                len(uploads),
                self.settings.server,
                self._unsent,
            )


def result_files(model_dir: Path) -> dict[str, list[Path]]:
    """Return folder of the run's artifacts -> files: results at the top, the model below `model`."""
    results = [model_dir / "run.json", *_files(model_dir / "metrics")]
    files: dict[str, list[Path]] = {"": [path for path in results if path.is_file()]}
    for path in _files(model_dir):
        relative = path.relative_to(model_dir)
        if relative.parts[0] not in ("run.json", "metrics", "tensorboard"):
            files.setdefault(str(Path("model") / relative.parent), []).append(path)
    return files


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
