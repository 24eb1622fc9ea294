"""Operations on trial components: those of the jobs, and the user's own."""

from __future__ import annotations

import time
from typing import Any

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.handlers import experiments
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.serializers.components import component, component_summary, metric_summary
from local_sagemaker.document import MetricSummary
from local_sagemaker.errors import ApiError, invalid

_KIND = "experiment-trial-component"
_GIVEN = ("DisplayName", "Status", "StartTime", "EndTime", "Parameters", "InputArtifacts", "OutputArtifacts")
_MAPS = ("Parameters", "InputArtifacts", "OutputArtifacts")


def every_component(account: Account) -> list[Document]:
    """Return all trial components as DescribeTrialComponent does."""
    rows = [
        *(_changed(account, component(job)) for job in account.every_job()),
        *account.all_records(_KIND, "TrialComponentArn"),
    ]
    return [row | {"Metrics": [*row.get("Metrics", []), *_put_metrics(account, row)]} for row in rows]


def component_named(account: Account, name: str) -> Document | None:
    """Return a component by name, in any case, or ARN; None if there is none."""
    wanted = name.rpartition("/")[2].lower()
    return next((row for row in every_component(account) if row["TrialComponentName"].lower() == wanted), None)


def describe_trial_component(account: Account, request: Document) -> Document:
    """DescribeTrialComponent, by name or ARN."""
    return _find(account, request["TrialComponentName"])


def list_trial_components(account: Account, request: Document) -> Document:
    """ListTrialComponents, of an experiment, a trial or a job."""
    if sum(field in request for field in ("ExperimentName", "TrialName", "SourceArn")) > 1:
        raise invalid("Only one of ExperimentName, TrialName and SourceArn can be specified")
    rows = [
        component_summary(row)
        for row in every_component(account)
        if _fits(account, request, row) and within(request, row, Created="CreationTime")
    ]
    field = "TrialComponentName" if request.get("SortBy") == "Name" else "CreationTime"
    page = page_of(
        rows,
        request,
        key=lambda row: row[field],
        name=lambda row: row["TrialComponentName"],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    return page.answer("TrialComponentSummaries")


def create_trial_component(account: Account, request: Document) -> Document:
    """CreateTrialComponent: one of the user's own."""
    name, now = request["TrialComponentName"], time.time()
    if any(row["TrialComponentName"].lower() == name.lower() for row in every_component(account)):
        raise invalid(
            "TrialComponent names must be unique within an AWS account and region. "
            f"TrialComponent {name} already exists."
        )
    record = {
        "TrialComponentName": name,
        "TrialComponentArn": account.arn(_KIND, name.lower()),
        "DisplayName": name,
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
    } | {field: request[field] for field in _GIVEN if field in request}
    account.records.put(_KIND, f"{account.region}/{name}", record)
    if request.get("Tags"):
        account.records.put("tags", record["TrialComponentArn"], {"Tags": request["Tags"]})
    return {"TrialComponentArn": record["TrialComponentArn"]}


def update_trial_component(account: Account, request: Document) -> Document:
    """UpdateTrialComponent; what a job's own component is told stands above what the job says."""
    found = _find(account, request["TrialComponentName"])
    changed: dict[str, Any] = {field: request[field] for field in _GIVEN if field in request}
    for field in _MAPS:
        kept = {
            name: value
            for name, value in found.get(field, {}).items()
            if name not in request.get(f"{field}ToRemove", [])
        }
        if field in request or f"{field}ToRemove" in request:
            changed[field] = kept | request.get(field, {})
    changed["LastModifiedTime"] = time.time()
    name = found["TrialComponentName"]
    own = account.records.get(_KIND, f"{account.region}/{name}")
    if own is not None:
        account.records.put(_KIND, f"{account.region}/{name}", own | changed)
    else:
        before = account.records.get("component-changes", found["TrialComponentArn"]) or {}
        account.records.put("component-changes", found["TrialComponentArn"], before | changed)
    return {"TrialComponentArn": found["TrialComponentArn"]}


def delete_trial_component(account: Account, request: Document) -> Document:
    """DeleteTrialComponent: one of the user's own, that no trial has."""
    name = request["TrialComponentName"]
    record = account.record(_KIND, name, "TrialComponent")
    if experiments.parents_of(account, name):
        raise invalid(f"TrialComponent {name} is in trials; disassociate it first")
    account.records.delete(_KIND, f"{account.region}/{name}")
    account.records.forget_appended(record["TrialComponentArn"])
    forget_tags(account, record["TrialComponentArn"])
    return {"TrialComponentArn": record["TrialComponentArn"]}


def associate_trial_component(account: Account, request: Document) -> Document:
    """AssociateTrialComponent."""
    found = _find(account, request["TrialComponentName"])
    experiments.associate(account, request["TrialName"], found["TrialComponentName"])
    return _both(account, request, found)


def disassociate_trial_component(account: Account, request: Document) -> Document:
    """DisassociateTrialComponent."""
    found = _find(account, request["TrialComponentName"])
    experiments.disassociate(account, request["TrialName"], found["TrialComponentName"])
    return _both(account, request, found)


def _find(account: Account, name: str) -> Document:
    """Return a component, whose ARN SageMaker writes in lower case; raise ApiError."""
    found = component_named(account, name)
    if found is None:
        arn = account.arn(_KIND, name.rpartition("/")[2].lower())
        raise ApiError("ResourceNotFound", f"TrialComponent '{arn}' does not exist.")
    return found


def _put_metrics(account: Account, row: Document) -> list[Document]:
    """Return the summaries of what BatchPutMetrics has given a component."""
    summaries: dict[str, MetricSummary] = {}
    for value in account.records.appended(row["TrialComponentArn"]):
        before = summaries.get(value["MetricName"], MetricSummary())
        summaries[value["MetricName"]] = before.followed_by(value["Value"], value["Timestamp"])
    return [metric_summary(name, summary, row["TrialComponentArn"]) for name, summary in summaries.items()]


def _fits(account: Account, request: Document, row: Document) -> bool:
    if "SourceArn" in request:
        return bool(row.get("Source", {}).get("SourceArn") == request["SourceArn"])
    for field in ("ExperimentName", "TrialName"):
        if field in request:
            parents = experiments.parents_of(account, row["TrialComponentName"])
            return any(parent[field] == request[field] for parent in parents)
    return True


def _changed(account: Account, row: Document) -> Document:
    return row | (account.records.get("component-changes", row["TrialComponentArn"]) or {})


def _both(account: Account, request: Document, found: Document) -> Document:
    trial = account.record("experiment-trial", request["TrialName"], "Trial")
    return {"TrialComponentArn": found["TrialComponentArn"], "TrialArn": trial["TrialArn"]}
