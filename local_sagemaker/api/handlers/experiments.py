"""Operations on experiments and trials, and what joins a job to them.

A job's trial component belongs to the trial that its ExperimentConfig names, and to those that the user adds it to.
As in the cloud, an experiment that a job names has to exist; its trial may be left out, and is made then.
"""

from __future__ import annotations

import time

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.names import component_name
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.document import Job
from local_sagemaker.errors import ApiError, invalid

_SUMMARY_LEFT_OUT = ("Description", "Tags", "CreatedBy", "LastModifiedBy", "ExperimentName")


def refuse_unknown(account: Account, config: Document) -> None:
    """Raise ApiError if an ExperimentConfig names an experiment or trial that does not exist."""
    if "ExperimentName" in config:
        account.record("experiment", config["ExperimentName"], "Experiment")
    if "TrialName" in config:
        trial = account.record("experiment-trial", config["TrialName"], "Trial")
        if config.get("ExperimentName", trial["ExperimentName"]) != trial["ExperimentName"]:
            raise invalid(f"Trial {config['TrialName']} is not of experiment {config['ExperimentName']}")


def join(account: Account, job: Job) -> None:
    """Make the trial component of a new job part of the trial that it names, or of a new one."""
    config = job.request.get("ExperimentConfig", {})
    trial = config.get("TrialName")
    if trial is None and "ExperimentName" in config:
        trial = component_name(job)
        if account.records.get("experiment-trial", f"{account.region}/{trial}") is None:
            _add_trial(account, trial, config["ExperimentName"], {})
    if trial is not None:
        _associate(account, trial, component_name(job))


def parents_of(account: Account, component: str) -> list[Document]:
    """Return the trials and experiments that a trial component belongs to."""
    trials = (
        account.records.get("experiment-trial", f"{account.region}/{name}") for name in _trials_of(account, component)
    )
    return [
        {"TrialName": trial["TrialName"], "ExperimentName": trial["ExperimentName"]}
        for trial in trials
        if trial is not None
    ]


def create_experiment(account: Account, request: Document) -> Document:
    """CreateExperiment."""
    name = request["ExperimentName"]
    record = _new(account, "experiment", "Experiment", name, request, ("DisplayName", "Description"))
    if not account.records.add("experiment", f"{account.region}/{name}", record):
        raise _exists("Experiment", name)
    _keep_tags(account, record["ExperimentArn"], request)
    return {"ExperimentArn": record["ExperimentArn"]}


def describe_experiment(account: Account, request: Document) -> Document:
    """DescribeExperiment."""
    return account.record("experiment", request["ExperimentName"], "Experiment")


def update_experiment(account: Account, request: Document) -> Document:
    """UpdateExperiment: display name and description."""
    record = account.record("experiment", request["ExperimentName"], "Experiment")
    changed = {field: request[field] for field in ("DisplayName", "Description") if field in request}
    record = record | changed | {"LastModifiedTime": time.time()}
    account.records.put("experiment", f"{account.region}/{request['ExperimentName']}", record)
    return {"ExperimentArn": record["ExperimentArn"]}


def delete_experiment(account: Account, request: Document) -> Document:
    """DeleteExperiment; its trials have to go first."""
    name = request["ExperimentName"]
    record = account.record("experiment", name, "Experiment")
    if any(trial["ExperimentName"] == name for trial in account.all_records("experiment-trial", "TrialArn")):
        raise invalid(f"Experiment {name} has trials; delete them first")
    account.records.delete("experiment", f"{account.region}/{name}")
    forget_tags(account, record["ExperimentArn"])
    return {"ExperimentArn": record["ExperimentArn"]}


def list_experiments(account: Account, request: Document) -> Document:
    """ListExperiments."""
    rows = account.all_records("experiment", "ExperimentArn")
    return _listed(rows, request, "Experiment", "ExperimentSummaries")


def create_trial(account: Account, request: Document) -> Document:
    """CreateTrial."""
    account.record("experiment", request["ExperimentName"], "Experiment")
    return {"TrialArn": _add_trial(account, request["TrialName"], request["ExperimentName"], request)}


def describe_trial(account: Account, request: Document) -> Document:
    """DescribeTrial."""
    return account.record("experiment-trial", request["TrialName"], "Trial")


def update_trial(account: Account, request: Document) -> Document:
    """UpdateTrial: the display name."""
    record = account.record("experiment-trial", request["TrialName"], "Trial")
    record = record | {"LastModifiedTime": time.time()}
    record |= {"DisplayName": request["DisplayName"]} if "DisplayName" in request else {}
    account.records.put("experiment-trial", f"{account.region}/{request['TrialName']}", record)
    return {"TrialArn": record["TrialArn"]}


def delete_trial(account: Account, request: Document) -> Document:
    """DeleteTrial; its components have to be taken out of it first."""
    name = request["TrialName"]
    record = account.record("experiment-trial", name, "Trial")
    if any(name in association["Trials"] for association in account.records.all("component-trials")):
        raise invalid(f"Trial {name} has trial components; disassociate them first")
    account.records.delete("experiment-trial", f"{account.region}/{name}")
    forget_tags(account, record["TrialArn"])
    return {"TrialArn": record["TrialArn"]}


def list_trials(account: Account, request: Document) -> Document:
    """ListTrials, of an experiment or of those that have a component."""
    rows = account.all_records("experiment-trial", "TrialArn")
    if "ExperimentName" in request:
        account.record("experiment", request["ExperimentName"], "Experiment")
        rows = [row for row in rows if row["ExperimentName"] == request["ExperimentName"]]
    if "TrialComponentName" in request:
        joined = _trials_of(account, request["TrialComponentName"])
        rows = [row for row in rows if row["TrialName"] in joined]
    return _listed(rows, request, "Trial", "TrialSummaries")


def associate(account: Account, trial: str, component: str) -> None:
    """Make a component part of a trial."""
    account.record("experiment-trial", trial, "Trial")
    _associate(account, trial, component)


def disassociate(account: Account, trial: str, component: str) -> None:
    """Take a component out of a trial."""
    trials = [other for other in _trials_of(account, component) if other != trial]
    account.records.put("component-trials", f"{account.region}/{component.lower()}", {"Trials": trials})


def _trials_of(account: Account, component: str) -> list[str]:
    record = account.records.get("component-trials", f"{account.region}/{component.lower()}")
    trials: list[str] = record["Trials"] if record else []
    return trials


def _associate(account: Account, trial: str, component: str) -> None:
    trials = dict.fromkeys([*_trials_of(account, component), trial])
    account.records.put("component-trials", f"{account.region}/{component.lower()}", {"Trials": list(trials)})


def _add_trial(account: Account, name: str, experiment: str, request: Document) -> str:
    record = _new(account, "experiment-trial", "Trial", name, request, ("DisplayName",)) | {
        "ExperimentName": experiment
    }
    if not account.records.add("experiment-trial", f"{account.region}/{name}", record):
        raise _exists("Trial", name)
    _keep_tags(account, record["TrialArn"], request)
    return str(record["TrialArn"])


def _new(account: Account, kind: str, what: str, name: str, request: Document, fields: tuple[str, ...]) -> Document:
    now = time.time()
    return {
        f"{what}Name": name,
        f"{what}Arn": account.arn(kind, name.lower()),
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


def _keep_tags(account: Account, arn: str, request: Document) -> None:
    if request.get("Tags"):
        account.records.put("tags", arn, {"Tags": request["Tags"]})


def _exists(what: str, name: str) -> ApiError:
    return invalid(f"{what} names must be unique within an AWS account and region. {what} {name} already exists.")
