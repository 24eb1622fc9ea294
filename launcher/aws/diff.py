"""In what two jobs differ.

    diff_jobs("job-1", "job-2", None, session)   # [{"setting": "HyperParameters.epochs", "job-1": "3", "job-2": "5"}]

SageMaker remembers the settings; this machine's records add image digest and git commit, if it submitted the jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from launcher.aws.session import Session
from launcher.aws.training_job import TrainingJob
from launcher.records import HIDDEN

COMPARED = (
    "AlgorithmSpecification",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "RoleArn",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "TensorBoardOutputConfig",
    "ExperimentConfig",
    "MlflowConfig",
)
"""Fields of DescribeTrainingJob that are settings, not results."""


def diff_jobs(job: str, other: str, region: str | None, session: Session) -> list[dict[str, Any]]:
    """Return a row {setting, <job>, <other>} for each setting that is not the same; environment values stay hidden."""
    jobs = [TrainingJob.attach(name, region, session=session) for name in (job, other)]
    settings = [_settings(training_job, session) for training_job in jobs]
    names = dict.fromkeys(name for side in settings for name in side)
    return [
        {"setting": name, jobs[0].name: _shown(name, settings[0]), jobs[1].name: _shown(name, settings[1])}
        for name in names
        if settings[0].get(name) != settings[1].get(name)
    ]


def _settings(training_job: TrainingJob, session: Session) -> dict[str, Any]:
    description = training_job.describe()
    settings = {
        name: value for field in COMPARED if field in description for name, value in _leaves(field, description[field])
    }
    record = session.records.find(training_job.name)
    if record is not None:
        settings |= {"image": record.image, "git commit": record.git_commit}
    return settings


def _leaves(path: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            name = inner.get("ChannelName") or inner.get("Name") or number if isinstance(inner, dict) else number
            yield from _leaves(f"{path}.{name}", inner)
    else:
        yield path, value


def _shown(name: str, settings: dict[str, Any]) -> str | None:
    if name not in settings:
        return None
    if name.startswith("Environment."):
        return HIDDEN
    value = settings[name]
    return value if isinstance(value, str) else json.dumps(value)
