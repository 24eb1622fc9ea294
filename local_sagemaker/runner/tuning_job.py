"""Tuning jobs: real training jobs, one after the other, until the best hyperparameters are found or a limit is reached.

    tuner = Tuner(context, records)
    tuner.start(arn); tuner.stop(arn)
    tuner.recover()                     # of an earlier server: each goes on where its record says

A tuning job is a record of its own kind: what DescribeHyperParameterTuningJob answers, and `Trials`, its training jobs
as ListTrainingJobsForHyperParameterTuningJob tells of them. A trial is recorded before its training job is created.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from local_sagemaker.errors import EmulatorError
from local_sagemaker.job_service import JobEndedError, NameTakenError, NoSuchJobError
from local_sagemaker.job_state import ENDED, Job
from local_sagemaker.runner.hosting import Records
from local_sagemaker.runner.job_runner import RuntimeContext
from local_sagemaker.runner.tuning_search import Search, TrialState
from local_sagemaker.services import metrics

TUNING = "hyper-parameter-tuning-job"
"""Kind of record, and in the ARN."""

OBJECTIVE = "_tuning_objective_metric"
"""Hyperparameter in which SageMaker tells training jobs the objective's name."""

_LOOK_SECONDS = 1.0
"""Between two looks at limits of time, where no job changes meanwhile."""

_MOST_JOBS = 500
"""Without MaxNumberOfTrainingJobs; SageMaker's quota."""

_RUNS = ("InProgress", "Stopping")

_log = logging.getLogger(__name__)

Record = dict[str, Any]


class Tuner:
    """All tuning jobs, each with a thread while it runs."""

    def __init__(self, context: RuntimeContext, records: Records) -> None:
        self._context = context
        self._records = records
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def recover(self) -> None:
        """Go on with the tuning jobs of an earlier server."""
        for record in self._records.all(TUNING):
            if record["HyperParameterTuningJobStatus"] in _RUNS:
                self.start(record["HyperParameterTuningJobArn"])

    def start(self, arn: str) -> None:
        """Begin with a tuning job whose record is there, or go on with it."""
        thread = threading.Thread(target=self._live, args=(arn,), name=arn, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, arn: str) -> None:
        """Let a tuning job end: its training jobs are stopped, and no new ones begin."""
        self._set(arn, HyperParameterTuningJobStatus="Stopping")

    def close(self) -> None:
        """Begin nothing more; the next server goes on."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _live(self, arn: str) -> None:
        seen = 0
        try:
            while not self._closed.is_set():
                record = self._records.get(TUNING, arn)
                if record is None or not self._step(record):
                    return
                seen = self._context.jobs.changes(seen, _LOOK_SECONDS).last
        except EmulatorError as error:  # a full disk, say
            self._end(arn, "Failed", FailureReason=str(error)[:1024])
        except Exception as error:  # noqa: BLE001 - a defect ends this tuning job alone
            _log.exception("the tuning job %s", arn)
            self._end(arn, "Failed", FailureReason=f"A defect of the local SageMaker, whose log has more: {error!r}")

    def _step(self, record: Record) -> bool:
        """Bring a record up to date, and stop and begin what is due; False if the tuning job has ended."""
        arn = record["HyperParameterTuningJobArn"]
        record = self._refreshed(record)
        trials, limits = record["Trials"], record["HyperParameterTuningJobConfig"]["ResourceLimits"]
        running = [trial for trial in trials if trial["TrainingJobStatus"] in _RUNS]
        why = self._reason_to_end(record)
        if why is not None:
            for trial in running:
                self._stop_job(record, trial)
            if not running:
                self._end(arn, "Stopped" if why == "stopped" else "Completed")
            return bool(running)
        search = Search(record, record["HyperParameterTuningJobName"], self._known(record))
        for number in search.hopeless():
            self._stop_job(record, trials[number])
        most = limits.get("MaxNumberOfTrainingJobs", _MOST_JOBS)
        while len(running) < limits["MaxParallelTrainingJobs"] and len(record["Trials"]) < most:
            values = search.next_values(len(record["Trials"]))
            if values is None:
                break
            record = self._begin(record, values)
            running.append(record["Trials"][-1])
            search = Search(record, record["HyperParameterTuningJobName"], self._known(record))
        if running:
            return True
        if any(trial["ObjectiveStatus"] == "Succeeded" for trial in record["Trials"]):
            self._end(arn, "Completed")
        else:
            reason = "All training jobs failed. Please take a look at the training jobs failures to get more details."
            self._end(arn, "Failed", FailureReason=reason)
        return False

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
        changed = self._change(arn, lambda record: {"Trials": [*record["Trials"], trial]})
        self._create_job(changed, trial)
        return changed

    def _create_job(self, record: Record, trial: Record) -> None:
        request = trial_request(record, trial["TrainingJobName"], trial["TunedHyperParameters"])
        try:
            self._context.jobs.create("training", request, _region(record))
        except NameTakenError:
            _log.info("the training job %s is there already", trial["TrainingJobName"])

    def _stop_job(self, record: Record, trial: Record) -> None:
        try:
            self._context.jobs.stop("training", trial["TrainingJobName"], _region(record))
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
            job = self._context.jobs.store.get("training", trial["TrainingJobName"], _region(record))
            if job is None:  # the server was killed before it was there
                self._create_job(record, trial)
            trials.append(trial if job is None else trial | _of_job(job, objective))
        if trials == record["Trials"]:
            return record
        return self._set(record["HyperParameterTuningJobArn"], Trials=trials)

    def _known(self, record: Record) -> list[TrialState]:
        """Return all trials as the search takes them: parents' first, with numbers below 0."""
        states: list[TrialState] = []
        parents = record.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
        for parent in parents:
            arn = record["HyperParameterTuningJobArn"].rpartition("/")[0] + f"/{parent['HyperParameterTuningJobName']}"
            of_parent = self._records.get(TUNING, arn.lower())
            for trial in (of_parent or {}).get("Trials", []):
                objective = trial.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
                states.append(TrialState(-1 - len(states), trial["TunedHyperParameters"], True, objective))  # noqa: FBT003
        watches = _watches(record)
        for number, trial in enumerate(record["Trials"]):
            objective = trial.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
            reported = self._reported(record, trial) if watches else []
            has_ended = trial["TrainingJobStatus"] in ENDED
            states.append(TrialState(number, trial["TunedHyperParameters"], has_ended, objective, reported))
        return states

    def _reported(self, record: Record, trial: Record) -> list[float]:
        """Return the values of the objective that a training job has logged so far."""
        folder = self._context.jobs.store.folder("training", trial["TrainingJobName"], _region(record))
        name = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        return [
            value.value
            for value in metrics.read(folder / "metrics.jsonl")
            if value.name == name and math.isfinite(value.value)
        ]

    def _reason_to_end(self, record: Record) -> str | None:
        """Return `stopped` or `limit` if no more training jobs are to run."""
        if record["HyperParameterTuningJobStatus"] == "Stopping":
            return "stopped"
        config = record["HyperParameterTuningJobConfig"]
        longest = config["ResourceLimits"].get("MaxRuntimeInSeconds")
        if longest is not None and time.time() - record["CreationTime"] >= longest:
            return "limit"
        criteria = config.get("TuningJobCompletionCriteria", {})
        best = best_trial(record)
        if best is None:
            return None
        target = criteria.get("TargetObjectiveMetricValue")
        value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        if target is not None and not _is_better(record, target, value):
            return "limit"
        patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        if patience is not None:
            since = [trial for trial in record["Trials"] if trial["TrainingJobStatus"] in ENDED]
            behind = len(since) - 1 - since.index(best)
            if behind >= patience:
                return "limit"
        return None

    def _end(self, arn: str, status: str, **fields: object) -> None:
        self._set(arn, HyperParameterTuningJobStatus=status, HyperParameterTuningEndTime=time.time(), **fields)

    def _set(self, arn: str, **fields: object) -> Record:
        return self._change(arn, lambda _: fields)

    def _change(self, arn: str, change: Callable[[Record], Record]) -> Record:
        """Set the fields that `change` returns."""
        now = {"LastModifiedTime": time.time()}
        record = self._records.change(TUNING, arn, lambda record: record | change(record) | now)
        if record is None:
            raise NoSuchJobError(f"the tuning job {arn} has been deleted")
        return record


def best_trial(record: Record) -> Record | None:
    """Return the trial with the best objective, the earlier of equals; None if none has one."""
    best: Record | None = None
    for trial in record["Trials"]:
        if trial["ObjectiveStatus"] != "Succeeded":
            continue
        value = trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        if best is None or _is_better(record, value, best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]):
            best = trial
    return best


def trial_request(record: Record, name: str, values: dict[str, str]) -> Record:
    """Return CreateTrainingJob's request of a trial."""
    definition = record["TrainingJobDefinition"]
    objective = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    passed = {field: value for field, value in definition.items() if field not in _NOT_OF_A_TRAINING_JOB}
    of_tuning = definition.get("HyperParameterTuningResourceConfig")  # SDK v2's
    if of_tuning is not None:
        known = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
        first = of_tuning.get("InstanceConfigs", [{}])[0]  # the one that SageMaker would try first
        passed["ResourceConfig"] = {field: value for field, value in (of_tuning | first).items() if field in known}
    static = definition.get("StaticHyperParameters", {})
    tags = {"Tags": record["Tags"]} if record.get("Tags") else {}
    return {
        **passed,
        **tags,
        "TrainingJobName": name,
        "HyperParameters": {**static, **values, OBJECTIVE: objective},
        "TuningJobArn": record["HyperParameterTuningJobArn"],
    }


_NOT_OF_A_TRAINING_JOB = (
    "DefinitionName",
    "HyperParameterRanges",
    "HyperParameterTuningResourceConfig",
    "StaticHyperParameters",
    "TuningObjective",
)


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


def _is_better(record: Record, value: float, than: float) -> bool:
    kind: str = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"]
    return value > than if kind == "Maximize" else value < than


def _watches(record: Record) -> bool:
    """Tell whether trials may be stopped early: then the values of the objective on the way are needed."""
    config = record["HyperParameterTuningJobConfig"]
    return bool(config["Strategy"] == "Hyperband" or config.get("TrainingJobEarlyStoppingType") == "Auto")


def _region(record: Record) -> str:
    return str(record["HyperParameterTuningJobArn"].split(":")[3])
