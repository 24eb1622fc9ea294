"""Rules evaluated while a job runs, by the image's own command `rules`, in a container beside it.

    evaluation = RuleEvaluation(life, observed); evaluation.start(image)
    evaluation.wait()           # after the end marker is there

What the container says of each rule goes into the job's document; a rule that is to stop training does.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.local.contract.paths import Bind
from launcher.local.contract.rules import Rule, rules_of
from launcher.local.disks import tree
from launcher.local.disks.synchronization import Mirror
from launcher.local.document import RuleStatus
from launcher.local.engine.container import CannotStartError, Container, ContainerGoneError
from launcher.local.engine.engine import EngineError
from launcher.local.engine.request import ContainerRequest, Image
from launcher.local.jobs import JobEndedError
from launcher.local.life.job_life import JobLife

KIND = "rules"
"""In the labels: what a job's own end does not remove."""

_INTERVAL = 0.5
_LONGEST_AFTER_THE_END = 600.0
"""Seconds that the last evaluation may take."""

_INSIDE = "/opt/ml/processing"


class RuleEvaluation:
    """The rules of one job."""

    def __init__(self, life: JobLife, observed: Path) -> None:
        self._life = life
        self._observed = observed
        self._folder = life.folder / "rules"
        self._rules = {rule.name: rule for rule in rules_of(life.job.request)}
        self._mirrors = [
            Mirror(self._folder / "files" / rule.name, rule.output_uri, life.world.objects)
            for rule in self._rules.values()
        ]
        self._thread: threading.Thread | None = None

    def start(self, image: Image) -> None:
        """Begin to evaluate, or go on with the container that a killed server has left."""
        if not self._rules or self._thread is not None:
            return
        for folder in (self._observed / "tensors", self._observed / "profiler", self._folder / "files"):
            folder.mkdir(parents=True, exist_ok=True)
        self._say({})
        found = self._life.world.engine.containers(KIND, self._life.job.key)
        try:
            container = found[0] if found else self._container(image)
        except (EngineError, CannotStartError) as error:
            self._say({name: ("Error", str(error)) for name in self._rules})
            return
        self._thread = threading.Thread(target=self._follow, args=(container,), name=f"rules of {self._life.name}")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the last evaluation, and leave nothing."""
        if self._thread is not None:
            self._thread.join()
            self._life.world.engine.remove_job(KIND, self._life.job.key)
        tree.wipe(self._folder)

    def _container(self, image: Image) -> Container:
        engine, job = self._life.world.engine, self._life.job
        configurations = [rule.configuration for rule in self._rules.values()]
        (self._folder / "rules.json").write_text(json.dumps(configurations), encoding="utf-8")
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
        ended_since: float | None = None
        while container.is_running:
            time.sleep(_INTERVAL)
            self._read()
            if self._life.shutting_down.is_set():
                container.signal("SIGKILL")
                self._say(dict.fromkeys(self._in_progress(), ("Stopped", "The local SageMaker was stopped.")))
                return
            if self._life.job.has_ended:
                ended_since = ended_since or time.monotonic()
                if time.monotonic() - ended_since > _LONGEST_AFTER_THE_END:
                    container.signal("SIGKILL")
        self._read()
        if self._in_progress():
            self._say({name: ("Error", _last_words(container)) for name in self._in_progress()})
        for mirror in self._mirrors:
            mirror.synchronize()

    def _read(self) -> None:
        """Take over what the container says."""
        try:
            statuses: list[dict[str, Any]] = json.loads((self._folder / "statuses.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        said = {
            status["RuleConfigurationName"]: (status["RuleEvaluationStatus"], status.get("StatusDetails"))
            for status in statuses
            if status.get("RuleConfigurationName") in self._rules
        }
        before = {status.name: (status.status, status.details) for status in self._life.job.rules}
        changed = {name: now for name, now in said.items() if before.get(name) != now}
        if changed:
            self._say(changed)
            for mirror in self._mirrors:
                mirror.synchronize()
        for name, (status, _) in changed.items():
            is_new = status == "IssuesFound" and before.get(name, ("",))[0] != status
            if is_new and self._rules[name].stops_training:
                with suppress(JobEndedError):
                    self._life.world.jobs.stop("training", self._life.name, self._life.region)

    def _in_progress(self) -> list[str]:
        return [status.name for status in self._life.job.rules if status.status == "InProgress"]

    def _say(self, changed: dict[str, tuple[str, str | None]]) -> None:
        now = time.time()
        known = {status.name: status for status in self._life.job.rules}
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
        self._life.change(lambda job: job.changed(rules=statuses))


def _not_yet(rule: Rule, now: float) -> RuleStatus:
    return RuleStatus(kind=rule.kind, name=rule.name, last_modified_time=now)


def _last_words(container: Container) -> str:
    """Return why an evaluation ended without a verdict: an image without the command `rules`, most often."""
    lines = [line.text for line in container.lines()]
    try:
        code = container.exit().code
    except ContainerGoneError as error:
        return str(error)
    return f"The image's command `rules` ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}"[
        :1024
    ]
