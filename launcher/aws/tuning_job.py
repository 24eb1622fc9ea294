"""A tuning job in SageMaker: its training jobs, and the best of them.

job = TuningJob.submit(request, region="us-east-1")
for line in job.follow(): print(line)
job.trials()                    # a row each, the best first
job.best_hyperparameters()      # {"epochs": "3", "learning_rate": "3.1e-05"}
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from launcher.aws.errors import call_with_retries, is_transient, translating_aws_errors
from launcher.aws.following import RETRY_SECONDS
from launcher.aws.session import Session, aws
from launcher.errors import AwsError, JobFailedError, JobStoppedError, WaitTimeoutError
from launcher.request.tuning import OBJECTIVE

_ENDED = ("Completed", "Failed", "Stopped")


class TuningJob:
    """One tuning job, by name and region."""

    def __init__(self, name: str, region: str, *, session: Session | None = None) -> None:
        self.name = name
        self.region = region
        self._session = (session or aws()).for_region(region)
        self._sagemaker = self._session.client("sagemaker")

    @classmethod
    def submit(cls, request: dict[str, Any], region: str, *, session: Session | None = None) -> TuningJob:
        """Create the tuning job; raise AwsError if SageMaker refuses the request."""
        job = cls(request["HyperParameterTuningJobName"], region, session=session)
        with translating_aws_errors(f"submit {job.name}"):
            call_with_retries(job._sagemaker.create_hyper_parameter_tuning_job, **request)
        return job

    @staticmethod
    def hint(command: str, name: str, session: Session) -> str:
        """Return a command of `launcher tune` as the next one to type."""
        return f"launcher tune {command}{' --local' if session.is_local else ''} {name}"

    def describe(self) -> dict[str, Any]:
        """Return DescribeHyperParameterTuningJob's answer."""
        with translating_aws_errors(f"describe {self.name}"):
            description: dict[str, Any] = call_with_retries(
                self._sagemaker.describe_hyper_parameter_tuning_job, HyperParameterTuningJobName=self.name
            )
        return description

    def stop(self) -> None:
        """Stop the tuning job and its training jobs."""
        with translating_aws_errors(f"stop {self.name}"):
            self._sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def trials(self) -> list[dict[str, Any]]:
        """Return a row for each training job: the best first, those without a result last."""
        sign = -1 if is_maximized(self.describe()) else 1
        with translating_aws_errors(f"list the training jobs of {self.name}"):
            summaries = call_with_retries(self._summaries)
        rows = [
            {
                "job": summary["TrainingJobName"],
                "status": summary["TrainingJobStatus"],
                "objective": _value(summary),
                **summary["TunedHyperParameters"],
            }
            for summary in summaries
        ]
        return sorted(rows, key=lambda row: math.inf if row["objective"] is None else sign * row["objective"])

    def best_hyperparameters(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the best training job's summary and all hyperparameters of it; raise JobFailedError without one."""
        description = self.describe()
        best = description.get("BestTrainingJob")
        if not best:
            raise JobFailedError(f"{self.name} has no best training job: none has logged its objective and ended well")
        static = description["TrainingJobDefinition"].get("StaticHyperParameters", {})
        values = static | best["TunedHyperParameters"]
        return best, {name: value for name, value in values.items() if name != OBJECTIVE}

    def follow(self, *, timeout: float | None = None, poll_interval: float = 10.0) -> Iterator[str]:
        """Yield a line for each change of a training job, until the tuning job has ended.

        Raise WaitTimeoutError after `timeout` seconds, AwsError if SageMaker has not answered for RETRY_SECONDS.
        """
        began = answered = time.monotonic()
        again = self.hint("attach", self.name, self._session)
        told: dict[str, str] = {}
        while True:
            seen = self._look()
            if seen is not None:
                answered = time.monotonic()
                status, summaries = seen
                for summary in summaries:
                    name, of_job = summary["TrainingJobName"], summary["TrainingJobStatus"]
                    if told.get(name) != of_job:
                        told[name] = of_job
                        yield _line(summary)
                if status in _ENDED:
                    return
            if time.monotonic() - answered > RETRY_SECONDS:
                raise AwsError(f"AWS has not answered for {RETRY_SECONDS:.0f} s; {self.name} continues: {again}")
            if timeout is not None and time.monotonic() - began >= timeout:
                raise WaitTimeoutError(f"{self.name} is still running; next: {again}")
            time.sleep(poll_interval)

    def _look(self) -> tuple[str, list[dict[str, Any]]] | None:
        """Return the status and all training jobs; None if AWS is busy now, or the way to it is cut."""
        with translating_aws_errors(f"follow {self.name}"):
            try:
                description = self._sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)
                return description["HyperParameterTuningJobStatus"], self._summaries()
            except Exception as error:
                if is_transient(error):
                    return None
                raise

    def raise_for_status(self) -> None:
        """Raise JobFailedError or JobStoppedError for a tuning job that ended otherwise than Completed."""
        description = self.describe()
        status = description["HyperParameterTuningJobStatus"]
        if status == "Failed":
            raise JobFailedError(f"{self.name} failed: {description.get('FailureReason', 'no reason is given')}")
        if status == "Stopped":
            raise JobStoppedError(f"{self.name} was stopped")

    def _summaries(self) -> list[dict[str, Any]]:
        """Return all training jobs in the order of their names."""
        paginator = self._sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        pages = paginator.paginate(HyperParameterTuningJobName=self.name, SortBy="Name", SortOrder="Ascending")
        return [summary for page in pages for summary in page["TrainingJobSummaries"]]


def is_maximized(description: dict[str, Any]) -> bool:
    """Tell whether the highest objective of a tuning job is its best."""
    objective = description["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return bool(objective["Type"] == "Maximize")


def _value(summary: dict[str, Any]) -> float | None:
    value: float | None = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    return value


def _line(summary: dict[str, Any]) -> str:
    values = ", ".join(f"{name}={value}" for name, value in summary["TunedHyperParameters"].items())
    value = _value(summary)
    result = "" if value is None else f", objective {value:.6g}"
    return f"{summary['TrainingJobName']} {summary['TrainingJobStatus']}{result} ({values})"
