"""Operations on experiments and trials, and what joins a job to them.

A job's trial component belongs to the trial that its ExperimentConfig names, and to those that the user adds it to.
As in the cloud, an experiment that a job names has to exist; its trial may be left out, and is made then.
"""

from __future__ import annotations

import time

from local_sagemaker.api.arns import component_name
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.job_state import Job

_SUMMARY_LEFT_OUT = ("Description", "Tags", "CreatedBy", "LastModifiedBy", "ExperimentName")


def refuse_unknown(context: RequestContext, config: Document) -> None:
    """Raise ApiError if an ExperimentConfig names an experiment or trial that does not exist."""
    if "ExperimentName" in config:
        context.record("experiment", config["ExperimentName"], "Experiment")
    if "TrialName" in config:
        trial = context.record("experiment-trial", config["TrialName"], "Trial")
        if config.get("ExperimentName", trial["ExperimentName"]) != trial["ExperimentName"]:
            raise invalid(f"Trial {config['TrialName']} is not of experiment {config['ExperimentName']}")


def join(context: RequestContext, job: Job) -> None:
    """Make the trial component of a new job part of the trial that it names, or of a new one."""
    config = job.request.get("ExperimentConfig", {})
    trial = config.get("TrialName")
    if trial is None and "ExperimentName" in config:
        trial = component_name(job)
        if context.records.get("experiment-trial", f"{context.region}/{trial}") is None:
            _add_trial(context, trial, config["ExperimentName"], {})
    if trial is not None:
        _associate(context, trial, component_name(job))


def parents_of(context: RequestContext, component: str) -> list[Document]:
    """Return the trials and experiments that a trial component belongs to."""
    trials = (
        context.records.get("experiment-trial", f"{context.region}/{name}") for name in _trials_of(context, component)
    )
    return [
        {"TrialName": trial["TrialName"], "ExperimentName": trial["ExperimentName"]}
        for trial in trials
        if trial is not None
    ]


def create_experiment(context: RequestContext, request: Document) -> Document:
    """CreateExperiment."""
    name = request["ExperimentName"]
    record = _new(context, "experiment", "Experiment", name, request, ("DisplayName", "Description"))
    if not context.records.add("experiment", f"{context.region}/{name}", record):
        raise _exists("Experiment", name)
    _keep_tags(context, record["ExperimentArn"], request)
    return {"ExperimentArn": record["ExperimentArn"]}


def describe_experiment(context: RequestContext, request: Document) -> Document:
    """DescribeExperiment."""
    return context.record("experiment", request["ExperimentName"], "Experiment")


def update_experiment(context: RequestContext, request: Document) -> Document:
    """UpdateExperiment: display name and description."""
    record = context.record("experiment", request["ExperimentName"], "Experiment")
    changed = {field: request[field] for field in ("DisplayName", "Description") if field in request}
    record = record | changed | {"LastModifiedTime": time.time()}
    context.records.put("experiment", f"{context.region}/{request['ExperimentName']}", record)
    return {"ExperimentArn": record["ExperimentArn"]}


def delete_experiment(context: RequestContext, request: Document) -> Document:
    """DeleteExperiment; its trials have to go first."""
    name = request["ExperimentName"]
    record = context.record("experiment", name, "Experiment")
    if any(trial["ExperimentName"] == name for trial in context.all_records("experiment-trial", "TrialArn")):
        raise invalid(f"Experiment {name} has trials; delete them first")
    context.records.delete("experiment", f"{context.region}/{name}")
    forget_tags(context, record["ExperimentArn"])
    return {"ExperimentArn": record["ExperimentArn"]}


def list_experiments(context: RequestContext, request: Document) -> Document:
    """ListExperiments."""
    rows = context.all_records("experiment", "ExperimentArn")
    return _listed(rows, request, "Experiment", "ExperimentSummaries")


def create_trial(context: RequestContext, request: Document) -> Document:
    """CreateTrial."""
    context.record("experiment", request["ExperimentName"], "Experiment")
    return {"TrialArn": _add_trial(context, request["TrialName"], request["ExperimentName"], request)}


def describe_trial(context: RequestContext, request: Document) -> Document:
    """DescribeTrial."""
    return context.record("experiment-trial", request["TrialName"], "Trial")


def update_trial(context: RequestContext, request: Document) -> Document:
    """UpdateTrial: the display name."""
    record = context.record("experiment-trial", request["TrialName"], "Trial")
    record = record | {"LastModifiedTime": time.time()}
    record |= {"DisplayName": request["DisplayName"]} if "DisplayName" in request else {}
    context.records.put("experiment-trial", f"{context.region}/{request['TrialName']}", record)
    return {"TrialArn": record["TrialArn"]}


def delete_trial(context: RequestContext, request: Document) -> Document:
    """DeleteTrial; its components have to be taken out of it first."""
    name = request["TrialName"]
    record = context.record("experiment-trial", name, "Trial")
    if any(name in association["Trials"] for association in context.records.all("component-trials")):
        raise invalid(f"Trial {name} has trial components; disassociate them first")
    context.records.delete("experiment-trial", f"{context.region}/{name}")
    forget_tags(context, record["TrialArn"])
    return {"TrialArn": record["TrialArn"]}


def list_trials(context: RequestContext, request: Document) -> Document:
    """ListTrials, of an experiment or of those that have a component."""
    rows = context.all_records("experiment-trial", "TrialArn")
    if "ExperimentName" in request:
        context.record("experiment", request["ExperimentName"], "Experiment")
        rows = [row for row in rows if row["ExperimentName"] == request["ExperimentName"]]
    if "TrialComponentName" in request:
        joined = _trials_of(context, request["TrialComponentName"])
        rows = [row for row in rows if row["TrialName"] in joined]
    return _listed(rows, request, "Trial", "TrialSummaries")


def associate(context: RequestContext, trial: str, component: str) -> None:
    """Make a component part of a trial."""
    context.record("experiment-trial", trial, "Trial")
    _associate(context, trial, component)


def disassociate(context: RequestContext, trial: str, component: str) -> None:
    """Take a component out of a trial."""
    trials = [other for other in _trials_of(context, component) if other != trial]
    context.records.put("component-trials", f"{context.region}/{component.lower()}", {"Trials": trials})


def _trials_of(context: RequestContext, component: str) -> list[str]:
    record = context.records.get("component-trials", f"{context.region}/{component.lower()}")
    trials: list[str] = record["Trials"] if record else []
    return trials


def _associate(context: RequestContext, trial: str, component: str) -> None:
    trials = dict.fromkeys([*_trials_of(context, component), trial])
    context.records.put("component-trials", f"{context.region}/{component.lower()}", {"Trials": list(trials)})


def _add_trial(context: RequestContext, name: str, experiment: str, request: Document) -> str:
    record = _new(context, "experiment-trial", "Trial", name, request, ("DisplayName",)) | {
        "ExperimentName": experiment
    }
    if not context.records.add("experiment-trial", f"{context.region}/{name}", record):
        raise _exists("Trial", name)
    _keep_tags(context, record["TrialArn"], request)
    return str(record["TrialArn"])


def _new(
    context: RequestContext, kind: str, what: str, name: str, request: Document, fields: tuple[str, ...]
) -> Document:
    now = time.time()
    return {
        f"{what}Name": name,
        f"{what}Arn": context.arn(kind, name.lower()),
        "DisplayName": name,
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
    } | {field: request[field] for field in fields if field in request}


def _listed(rows: list[Document], request: Document, what: str, field: str) -> Document:
    key = f"{what}Name" if request.get("SortBy") == "Name" else "CreationTime"
    left_out = [name for name in _SUMMARY_LEFT_OUT if name != f"{what}Name"]
    page = page_of(
        [row for row in rows if within(request, row, Created="CreationTime")],
        request,
        key=lambda row: row[key],
        name=lambda row: row[f"{what}Name"],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    answer = page.answer(field)
    answer[field] = [{name: row[name] for name in row if name not in left_out} for row in answer[field]]
    return answer


def _keep_tags(context: RequestContext, arn: str, request: Document) -> None:
    if request.get("Tags"):
        context.records.put("tags", arn, {"Tags": request["Tags"]})


def _exists(what: str, name: str) -> ApiError:
    return invalid(f"{what} names must be unique within an AWS account and region. {what} {name} already exists.")
