"""Tuning jobs: real training jobs, one after the other, until the best hyperparameters are found or a limit is reached.

    tuner = Tuner(context, records, state / "tuning")
    tuner.start(arn); tuner.stop(arn)

A tuning job's record has also `Trials`: its training jobs as ListTrainingJobsForHyperParameterTuningJob tells of them.
A trial is recorded before its training job is created.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time

from launcher.request.shapes import service_model
from local_sagemaker.entity_store import Record
from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_service import JobEndedError, NameTakenError, NoSuchJobError
from local_sagemaker.job_state import ENDED, Job
from local_sagemaker.runner.running_resources import RunningResources
from local_sagemaker.runner.tuning_search import Search, TrialState
from local_sagemaker.services import metrics

TUNING = "hyper-parameter-tuning-job"

OBJECTIVE = "_tuning_objective_metric"
"""Hyperparameter in which SageMaker tells training jobs the objective's name."""

_LOOK_SECONDS = 1.0
"""Between two looks at limits of time, where no job changes meanwhile."""

_MOST_JOBS = 500
"""Without MaxNumberOfTrainingJobs; SageMaker's quota."""

_log = logging.getLogger(__name__)


class NoResultError(EmulatorError):
    """No training job has an objective."""


class Tuner(RunningResources):
    """All tuning jobs; those of a killed server go on where their records say."""

    kind, title, end_time = TUNING, "HyperParameterTuningJob", "HyperParameterTuningEndTime"

    def run(self, record: Record, cancelled: threading.Event) -> str | None:
        """Start training jobs until the best is found, or a limit is reached."""
        del cancelled  # one that is being stopped waits for its training jobs
        arn, seen = record["HyperParameterTuningJobArn"], 0
        while not self.closed.is_set():
            now = self.records.get(TUNING, arn)
            status = None if now is None else self._step(now)
            if now is None or status is not None:
                return status
            seen = self.context.jobs.changes(seen, _LOOK_SECONDS).last
        return None

    def _step(self, record: Record) -> str | None:
        """Bring a record up to date, and stop and begin what is due; return its last status if it has ended."""
        record = self._refreshed(record)
        limits = record["HyperParameterTuningJobConfig"]["ResourceLimits"]
        running = [trial for trial in record["Trials"] if trial["TrainingJobStatus"] in self.running]
        why = self._reason_to_end(record)
        if why is not None:
            for trial in running:
                self._stop_job(record, trial)
            return None if running else why
        search = Search(record, record["HyperParameterTuningJobName"], self._known(record))
        for number in search.hopeless():
            self._stop_job(record, record["Trials"][number])
        most = limits.get("MaxNumberOfTrainingJobs", _MOST_JOBS)
        while len(running) < limits["MaxParallelTrainingJobs"] and len(record["Trials"]) < most:
            values = search.next_values(len(record["Trials"]))
            if values is None:
                break
            record = self._begin(record, values)
            running.append(record["Trials"][-1])
            search = Search(record, record["HyperParameterTuningJobName"], self._known(record))
        if running:
            return None
        if best_trial(record) is None:
            raise NoResultError(
                "All training jobs failed. Please take a look at the training jobs failures to get more details."
            )
        return "Completed"

    def _begin(self, record: Record, values: dict[str, str]) -> Record:
        """Record a trial, then create its training job."""
        arn, number = record["HyperParameterTuningJobArn"], len(record["Trials"]) + 1
        digest = hashlib.sha256(f"{arn} {record['CreationTime']} {number}".encode()).hexdigest()[:8]
        name = f"{record['HyperParameterTuningJobName']}-{number:03d}-{digest}"
        trial = {
            "TrainingJobName": name,
            "TrainingJobArn": f"{arn.rpartition(':')[0]}:training-job/{name}",
            "CreationTime": time.time(),
            "TrainingJobStatus": "InProgress",
            "TunedHyperParameters": values,
            "ObjectiveStatus": "Pending",
        }
        changed = self.change(arn, lambda record: {"Trials": [*record["Trials"], trial]})
        self._create_job(changed, trial)
        return changed

    def _create_job(self, record: Record, trial: Record) -> None:
        request = trial_request(record, trial["TrainingJobName"], trial["TunedHyperParameters"])
        try:
            self.context.jobs.create("training", request, self.region(record))
        except NameTakenError:
            _log.info("the training job %s is there already", trial["TrainingJobName"])

    def _stop_job(self, record: Record, trial: Record) -> None:
        try:
            self.context.jobs.stop("training", trial["TrainingJobName"], self.region(record))
        except (JobEndedError, NoSuchJobError):
            return  # the next look sees it

    def _refreshed(self, record: Record) -> Record:
        """Return a record with its training jobs as they are now; one that is missing is created again."""
        objective = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        trials = []
        for trial in record["Trials"]:
            if trial["TrainingJobStatus"] in ENDED:
                trials.append(trial)
                continue
            job = self.context.jobs.store.get("training", trial["TrainingJobName"], self.region(record))
            if job is None:  # the server was killed before it was there
                self._create_job(record, trial)
            trials.append(trial if job is None else trial | _of_job(job, objective))
        if trials == record["Trials"]:
            return record
        return self.set(record["HyperParameterTuningJobArn"], Trials=trials)

    def _known(self, record: Record) -> list[TrialState]:
        """Return all trials as the search takes them: parents' first, with numbers below 0."""
        arn, states = record["HyperParameterTuningJobArn"], list[TrialState]()
        for parent in record.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
            name = parent["HyperParameterTuningJobName"].lower()
            for trial in (self.records.get(TUNING, f"{arn.rpartition('/')[0]}/{name}") or {}).get("Trials", []):
                values, objective = trial["TunedHyperParameters"], objective_of(trial)
                states.append(TrialState(-1 - len(states), values, has_ended=True, objective=objective))
        config = record["HyperParameterTuningJobConfig"]
        # Whether trials may be stopped early: then the values of the objective on the way are needed.
        watches = config["Strategy"] == "Hyperband" or config.get("TrainingJobEarlyStoppingType") == "Auto"
        for number, trial in enumerate(record["Trials"]):
            reported = self._reported(record, trial) if watches else []
            has_ended = trial["TrainingJobStatus"] in ENDED
            states.append(TrialState(number, trial["TunedHyperParameters"], has_ended, objective_of(trial), reported))
        return states

    def _reported(self, record: Record, trial: Record) -> list[float]:
        """Return the values of the objective that a training job has logged so far."""
        folder = self.context.jobs.store.folder("training", trial["TrainingJobName"], self.region(record))
        name = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        return [
            value.value
            for value in metrics.read(folder / "metrics.jsonl")
            if value.name == name and math.isfinite(value.value)
        ]

    def _reason_to_end(self, record: Record) -> str | None:
        """Return the status to end with if no more training jobs are to run."""
        if record["HyperParameterTuningJobStatus"] == "Stopping":
            return "Stopped"
        config = record["HyperParameterTuningJobConfig"]
        longest = config["ResourceLimits"].get("MaxRuntimeInSeconds")
        if longest is not None and time.time() - record["CreationTime"] >= longest:
            return "Completed"
        best, criteria = best_trial(record), config.get("TuningJobCompletionCriteria", {})
        if best is None:
            return None
        target, sign = criteria.get("TargetObjectiveMetricValue"), _sign(record)
        if target is not None and sign * (objective_of(best) or 0.0) <= sign * target:
            return "Completed"
        ended = [trial for trial in record["Trials"] if trial["TrainingJobStatus"] in ENDED]
        patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        return "Completed" if patience is not None and len(ended) - 1 - ended.index(best) >= patience else None


def best_trial(record: Record) -> Record | None:
    """Return the trial with the best objective, the earlier of equals; None if none has one."""
    sign = _sign(record)
    ended = [trial for trial in record["Trials"] if trial["ObjectiveStatus"] == "Succeeded"]
    return min(ended, key=lambda trial: sign * (objective_of(trial) or 0.0), default=None)


def objective_of(trial: Record) -> float | None:
    """Return the final objective of a trial, if it has one."""
    value: float | None = trial.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    return value


def trial_request(record: Record, name: str, values: dict[str, str]) -> Record:
    """Return CreateTrainingJob's request of a trial: what of its definition that operation knows."""
    definition = record["TrainingJobDefinition"]
    objective = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    resources = definition.get("HyperParameterTuningResourceConfig", {})  # SDK v2's
    first = resources.get("InstanceConfigs", [{}])[0]  # the one that SageMaker would try first
    request = {
        **definition,
        "ResourceConfig": definition.get("ResourceConfig") or resources | first,
        "Tags": record.get("TrialTags", []),
        "TrainingJobName": name,
        "HyperParameters": {**definition.get("StaticHyperParameters", {}), **values, OBJECTIVE: objective},
    }
    known = service_model().shape_for("CreateTrainingJobRequest").members
    passed = {field: value for field, value in request.items() if field in known}
    return passed | {"TuningJobArn": record["HyperParameterTuningJobArn"]}


def _of_job(job: Job, objective: Record) -> Record:
    """Return what a trial takes from its training job."""
    changed: Record = {"CreationTime": job.creation_time, "TrainingJobStatus": job.status}
    if job.start_time is not None:
        changed["TrainingStartTime"] = job.start_time
    if not job.has_ended:
        return changed
    changed["TrainingEndTime"] = job.end_time
    if job.failure_reason:
        changed["FailureReason"] = job.failure_reason[:1024]
    metric = job.metrics.get(objective["MetricName"])
    if job.status == "Failed" or metric is None or not metric.count or not math.isfinite(metric.last):
        return changed | {"ObjectiveStatus": "Failed"}
    final = {"Type": objective["Type"], "MetricName": objective["MetricName"], "Value": metric.last}
    return changed | {"ObjectiveStatus": "Succeeded", "FinalHyperParameterTuningJobObjectiveMetric": final}


def _sign(record: Record) -> int:
    """Return what an objective is multiplied by, so that less is better."""
    objective = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return -1 if objective["Type"] == "Maximize" else 1
