"""Rules evaluated while a job runs, by the image's own command `rules`, in a container beside it.

    evaluation = RuleEvaluation(runner, observed); evaluation.start(image)
    evaluation.wait()           # after the end marker is there

What the container says of each rule goes into the job's document; a rule that is to stop training does.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from local_sagemaker.container_contract.paths import Bind
from local_sagemaker.container_contract.rule_configurations import Rule, rules_of
from local_sagemaker.docker_client.container import CannotStartError, Container
from local_sagemaker.docker_client.container_request import ContainerRequest, Image
from local_sagemaker.docker_client.engine import EngineError
from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_service import JobEndedError
from local_sagemaker.job_state import RuleStatus, RuleVerdict
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.synchronization import Mirror

KIND = "rules"
"""In the labels: what a job's own end does not remove."""

_INTERVAL = 0.5
_LONGEST_AFTER_THE_END = 600.0
"""Seconds that the last evaluation may take."""

_LARGEST = 1 << 20
"""Bytes of the statuses: 40 rules have less."""

_INSIDE = "/opt/ml/processing"

_log = logging.getLogger(__name__)


class _ReportedStatus(BaseModel):
    """What the container says of a rule, with DescribeTrainingJob's names."""

    RuleConfigurationName: str
    RuleEvaluationStatus: RuleVerdict
    StatusDetails: str | None = None


_STATUSES = TypeAdapter(list[_ReportedStatus])


class RuleEvaluation:
    """The rules of one job."""

    def __init__(self, runner: JobRunner, observed: Path) -> None:
        self._runner = runner
        self._observed = observed
        self._folder = runner.folder / "rules"
        self._rules = {rule.name: rule for rule in rules_of(runner.job.request)}
        self._mirrors = [
            Mirror(self._folder / "files" / rule.name, rule.output_uri, runner.context.objects)
            for rule in self._rules.values()
            if rule.has_folder
        ]
        self._thread: threading.Thread | None = None
        self._unreadable: str | None = None

    def start(self, image: Image) -> None:
        """Begin to evaluate, or go on with the container that a killed server has left."""
        if not self._rules or self._thread is not None:
            return
        for name in ("tensors", "profiler"):
            (self._observed / name).mkdir(parents=True, exist_ok=True)
        self._set_statuses({})
        found = self._runner.context.engine.containers(KIND, self._runner.job.key)
        try:
            container = found[0] if found else self._container(image)
        except (EngineError, CannotStartError) as error:
            self._set_statuses({name: ("Error", str(error)) for name in self._rules})
            return
        self._thread = threading.Thread(target=self._follow, args=(container,), name=f"rules of {self._runner.name}")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the last evaluation, and leave nothing."""
        if self._thread is not None:
            self._thread.join()
            self._runner.context.engine.remove_job(KIND, self._runner.job.key)
        safe_files.wipe(self._folder)

    def _container(self, image: Image) -> Container:
        engine, job = self._runner.context.engine, self._runner.job
        configurations = [rule.configuration for rule in self._rules.values()]
        safe_files.wipe(self._folder)  # the container of a killed server may have left links under these names
        (self._folder / "files").mkdir(parents=True, exist_ok=True)
        safe_files.replace(self._folder, "rules.json", json.dumps(configurations).encode())
        arguments = ["rules", f"{_INSIDE}/input/tensors", "--profiler", f"{_INSIDE}/input/profiler"]
        arguments += ["--config", f"{_INSIDE}/output/rules.json", "--output", f"{_INSIDE}/output/statuses.json"]
        arguments += ["--rule-output", f"{_INSIDE}/output/files", "--follow"]
        container = engine.create(
            ContainerRequest(
                image=image,
                name=f"{engine.prefix}-{KIND}-{job.key}",
                entrypoint=None,
                arguments=arguments,
                environment={"AWS_REGION": job.region},
                binds=[
                    Bind(self._observed, f"{_INSIDE}/input", read_only=True),
                    Bind(self._folder, f"{_INSIDE}/output"),
                ],
                hostname="rules",
                network="none",
                labels=engine.labels(KIND, job.key, "rules"),
                cpu_shares=256,  # SageMaker's rules have machines of their own: training goes first
            )
        )
        container.start()
        return container

    def _follow(self, container: Container) -> None:
        """Follow to the end; whatever the container has done, it costs its own rules only."""
        try:
            self._watch(container)
        except Exception as error:  # noqa: BLE001 - ends the evaluation
            if not isinstance(error, EmulatorError):
                _log.exception("the rules of %s", self._runner.name)
            self._set_statuses({name: ("Error", str(error)[:1024]) for name in self._in_progress()})

    def _watch(self, container: Container) -> None:
        ended_since: float | None = None
        while container.is_running:
            time.sleep(_INTERVAL)
            self._read()
            if self._runner.shutting_down.is_set():
                container.signal("SIGKILL")
                self._set_statuses(dict.fromkeys(self._in_progress(), ("Stopped", "The local SageMaker was stopped.")))
                return
            if self._runner.job.has_ended:
                ended_since = ended_since or time.monotonic()
                if time.monotonic() - ended_since > _LONGEST_AFTER_THE_END:
                    container.signal("SIGKILL")
        self._read()
        if self._in_progress():
            words = self._unreadable or _why_it_ended(container)
            self._set_statuses(dict.fromkeys(self._in_progress(), ("Error", words[:1024])))
        for mirror in self._mirrors:
            mirror.synchronize()

    def _read(self) -> None:
        """Take over what the container says."""
        self._unreadable = None
        try:
            statuses = _STATUSES.validate_json(_content(self._folder / "statuses.json"))
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:  # it may be in the middle of being written
            reason = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
            self._unreadable = f"The image's command `rules` has left statuses that cannot be read: {reason}"
            return
        reported = {
            status.RuleConfigurationName: (status.RuleEvaluationStatus, (status.StatusDetails or "")[:1024] or None)
            for status in statuses
            if status.RuleConfigurationName in self._rules
        }
        before = {status.name: (status.status, status.details) for status in self._runner.job.rules}
        changed = {name: now for name, now in reported.items() if before.get(name) != now}
        if changed:
            self._set_statuses(changed)
            for mirror in self._mirrors:
                mirror.synchronize()
        for name, (status, _) in changed.items():
            is_new = status == "IssuesFound" and before.get(name, ("",))[0] != status
            if is_new and self._rules[name].stops_training:
                with suppress(JobEndedError):
                    self._runner.context.jobs.stop("training", self._runner.name, self._runner.region)

    def _in_progress(self) -> list[str]:
        return [status.name for status in self._runner.job.rules if status.status == "InProgress"]

    def _set_statuses(self, changed: Mapping[str, tuple[str, str | None]]) -> None:
        now = time.time()
        known = {status.name: status for status in self._runner.job.rules}
        statuses = tuple(
            RuleStatus.model_validate(
                {
                    "kind": rule.kind,
                    "name": rule.name,
                    "status": changed[rule.name][0],
                    "details": changed[rule.name][1],
                    "last_modified_time": now,
                }
            )
            if rule.name in changed
            else known.get(rule.name) or _not_yet(rule, now)
            for rule in self._rules.values()
        )
        self._runner.change(lambda job: job.changed(rules=statuses))


def _not_yet(rule: Rule, now: float) -> RuleStatus:
    return RuleStatus(kind=rule.kind, name=rule.name, last_modified_time=now)


def _content(path: Path) -> bytes:
    """Return a file that a container has written; raise OSError for a link, a FIFO, a device and what is too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if content is None or len(content) > _LARGEST:
        raise OSError(errno.EINVAL, f"{path.name} is no regular file of at most {_LARGEST} bytes")
    return content


def _why_it_ended(container: Container) -> str:
    """Return why an evaluation ended without a verdict: an image without the command `rules`, most often."""
    code = container.exit().code
    words = "it said nothing"
    for line in container.log():
        words = line.text
    return f"The image's command `rules` ended with exit code {code}: {words}"
