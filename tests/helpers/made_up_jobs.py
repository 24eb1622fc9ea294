"""Jobs whose life is made up, for tests of what is told about them: documents, log, metrics, results.

train(server, "star-rating-1")                  # as far as Training
complete(server, "star-rating-1")               # with model, evaluation, rule verdicts, report
tune(server, "tunes", [0.7, None, 0.4])         # a tuning job; a training job without an objective runs
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Sequence
from typing import Any

from local_sagemaker.job_state import Job, MetricSummary, RuleStatus
from local_sagemaker.state import ACCOUNT, REGION
from tests.helpers.local_server import BUCKET, TRAINING, ApiServer, call, changed

BEGAN = 1_790_000_000.0
"""Seconds since 1970."""

COUNTS = [[31, 6, 2, 0, 0], [7, 40, 9, 1, 0], [1, 8, 44, 10, 1], [0, 1, 9, 52, 11], [0, 0, 2, 8, 37]]
EVALUATION = {
    "metrics": {"accuracy": {"value": 0.7285}, "macro_f1": {"value": 0.712}},
    "confusion_matrix": {"rows": "true stars", "columns": "predicted stars", "counts": COUNTS},
}
REPORT = b"<!doctype html><title>Profiler</title><body><h1>Profiler report</h1><script>document.title='ran'</script>"

PHASES = [
    ("Downloading", "Downloading input data", 4.0),
    ("Downloading", "Downloading the training image", 6.0),
    ("Training", "Training image download completed. Training in progress.", 9.0),
]


def train(server: ApiServer, name: str, changes: dict[str, Any] | None = None, steps: int = 60) -> Job:
    """Create a job over the API and bring it to Training, with a log and metrics so far."""
    status, answer = call(server, "CreateTrainingJob", changed(TRAINING, {"TrainingJobName": name, **(changes or {})}))
    assert status == 200, answer

    def training(job: Job) -> Job:
        job = job.changed(
            creation_time=BEGAN,
            transitions=(job.transitions[0].model_copy(update={"start_time": BEGAN}),),
            hosts=("algo-1",),
            start_time=BEGAN + 4,
        )
        for phase, message, after in PHASES:
            job = job.entered(phase, message, BEGAN + after)
        return job.changed(metrics=_metrics(server, name, steps), rules=_rules("InProgress", "InProgress"))

    job = server.jobs.change("training", name, training)
    _write_log(server, name, steps)
    return job


def complete(server: ApiServer, name: str) -> Job:
    """Bring a job from Training to Completed."""
    prefix = f"jobs/{name}/output/model.tar.gz"
    server.objects.put_file(BUCKET, prefix, io.BytesIO(_archive()))
    report = f"jobs/{name}/rule-output/ProfilerReport/profiler-output/profiler-report.html"
    server.objects.put_file(BUCKET, report, io.BytesIO(REPORT))
    for number in (20, 40, 60):
        server.objects.put_file(BUCKET, f"checkpoints/step-{number}/state.json", io.BytesIO(b"{}"))

    def completed(job: Job) -> Job:
        job = job.entered("Uploading", "Uploading generated training model", BEGAN + 180)
        return job.entered(
            "Completed",
            "Training job completed",
            BEGAN + 186.4,
            status="Completed",
            end_time=BEGAN + 186.4,
            training_seconds=182.4,
            billable_seconds=60.2,
            model_uri=f"s3://{BUCKET}/{prefix}",
            rules=_rules("IssuesFound", "NoIssuesFound"),
        )

    return server.jobs.change("training", name, completed)


def fail(server: ApiServer, name: str, reason: str) -> Job:
    """Let a job end as Failed."""

    def failed(job: Job) -> Job:
        return job.entered(
            "Failed",
            "Training job failed",
            BEGAN + 30,
            status="Failed",
            failure_reason=reason,
            end_time=BEGAN + 30,
            training_seconds=26.0,
            billable_seconds=26.0,
        )

    return server.jobs.change("training", name, failed)


def tune(server: ApiServer, name: str, objectives: Sequence[float | None], status: str = "InProgress") -> None:
    """Keep the record of a tuning job that minimizes the loss, with a training job for each objective."""
    prefix = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
    record = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": f"{prefix}:hyper-parameter-tuning-job/{name}",
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 2},
        },
        "CreationTime": BEGAN,
        "Trials": [
            {
                "TrainingJobName": f"{name}-{number:03d}",
                "TrainingJobArn": f"{prefix}:training-job/{name}-{number:03d}",
                "TrainingJobStatus": "InProgress" if objective is None else "Completed",
                "ObjectiveStatus": "Pending" if objective is None else "Succeeded",
                "TunedHyperParameters": {"learning_rate": repr(number * 1.23456e-5), "optimizer": "<b>adam</b>"},
                "FinalHyperParameterTuningJobObjectiveMetric": {} if objective is None else {"Value": objective},
            }
            for number, objective in enumerate(objectives, start=1)
        ],
    }
    arn = str(record["HyperParameterTuningJobArn"])
    server.entities.put("hyper-parameter-tuning-job", arn, record)


def _metrics(server: ApiServer, name: str, steps: int) -> dict[str, MetricSummary]:
    summaries: dict[str, MetricSummary] = {}
    folder = server.jobs.store.folder("training", name)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(steps):
            time = BEGAN + 10 + step * 2.5
            values = {"train:loss": 1.6 * math.exp(-step / 25) + 0.3 + 0.08 * math.sin(step * 2.1)}
            values |= {"train:accuracy": 0.78 - 0.5 * math.exp(-step / 18)}
            if step % 20 == 19:
                values |= {
                    "validation:loss": 1.5 * math.exp(-step / 28) + 0.45,
                    "validation:accuracy": 0.55 + step / 400,
                }
            if step == 59:
                values |= {"test:accuracy": 0.7285}
            for metric, value in values.items():
                file.write(json.dumps({"t": time, "name": metric, "value": value}) + "\n")
                summaries[metric] = summaries.get(metric, MetricSummary()).followed_by(value, time)
    return summaries


def _write_log(server: ApiServer, name: str, steps: int) -> None:
    folder = server.jobs.store.folder("training", name) / "log"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["star rating: 3,336 train reviews, 5 classes", "<img src=x onerror=alert(1)> is text, and stays text"]
    lines += [f"step {step:3d} train:loss={1.6 * math.exp(-step / 25) + 0.3:.4f}" for step in range(steps)]
    with (folder / "algo-1-1790000009.jsonl").open("w") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps({"t": int((BEGAN + 9 + number * 2.5) * 1e9), "m": line}) + "\n")


def _rules(first: Any, second: Any) -> tuple[RuleStatus, ...]:
    details = "step 40: losses did not fall by 0.1 % over 10 steps (0.612 to 0.611)" if first == "IssuesFound" else None
    return (
        RuleStatus(
            kind="debugger", name="LossNotDecreasing", status=first, details=details, last_modified_time=BEGAN + 100
        ),
        RuleStatus(kind="profiler", name="ProfilerReport", status=second, last_modified_time=BEGAN + 120),
    )


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in (("run.json", b"{}"), ("metrics/evaluation.json", json.dumps(EVALUATION).encode())):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
