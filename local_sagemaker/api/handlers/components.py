"""Operations on trial components: those of the jobs, and the user's own."""

from __future__ import annotations

import time
from typing import Any

from local_sagemaker.api.handlers import experiments
from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.serializers.components import component, component_summary, metric_summary
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.job_state import MetricSummary

_KIND = "experiment-trial-component"
_GIVEN = ("DisplayName", "Status", "StartTime", "EndTime", "Parameters", "InputArtifacts", "OutputArtifacts")
_MAPS = ("Parameters", "InputArtifacts", "OutputArtifacts")


def every_component(context: RequestContext) -> list[Document]:
    """Return all trial components as DescribeTrialComponent does."""
    rows = [
        *(_changed(context, component(job)) for job in context.every_job()),
        *context.all_records(_KIND, "TrialComponentArn"),
    ]
    return [row | {"Metrics": [*row.get("Metrics", []), *_put_metrics(context, row)]} for row in rows]


def component_named(context: RequestContext, name: str) -> Document | None:
    """Return a component by name, in any case, or ARN; None if there is none."""
    wanted = name.rpartition("/")[2].lower()
    return next((row for row in every_component(context) if row["TrialComponentName"].lower() == wanted), None)


def describe_trial_component(context: RequestContext, request: Document) -> Document:
    """DescribeTrialComponent, by name or ARN."""
    return _find(context, request["TrialComponentName"])


def list_trial_components(context: RequestContext, request: Document) -> Document:
    """ListTrialComponents, of an experiment, a trial or a job."""
    if sum(field in request for field in ("ExperimentName", "TrialName", "SourceArn")) > 1:
        raise invalid("Only one of ExperimentName, TrialName and SourceArn can be specified")
    rows = [
        component_summary(row)
        for row in every_component(context)
        if _fits(context, request, row) and within(request, row, Created="CreationTime")
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


def create_trial_component(context: RequestContext, request: Document) -> Document:
    """CreateTrialComponent: one of the user's own."""
    name, now = request["TrialComponentName"], time.time()
    if any(row["TrialComponentName"].lower() == name.lower() for row in every_component(context)):
        raise invalid(
            "TrialComponent names must be unique within an AWS account and region. "
            f"TrialComponent {name} already exists."
        )
    record = {
        "TrialComponentName": name,
        "TrialComponentArn": context.arn(_KIND, name.lower()),
        "DisplayName": name,
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
    } | {field: request[field] for field in _GIVEN if field in request}
    context.records.put(_KIND, f"{context.region}/{name}", record)
    if request.get("Tags"):
        context.records.put("tags", record["TrialComponentArn"], {"Tags": request["Tags"]})
    return {"TrialComponentArn": record["TrialComponentArn"]}


def update_trial_component(context: RequestContext, request: Document) -> Document:
    """UpdateTrialComponent; what a job's own component is told stands above what the job says."""
    found = _find(context, request["TrialComponentName"])
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
    own = context.records.get(_KIND, f"{context.region}/{name}")
    if own is not None:
        context.records.put(_KIND, f"{context.region}/{name}", own | changed)
    else:
        before = context.records.get("component-changes", found["TrialComponentArn"]) or {}
        context.records.put("component-changes", found["TrialComponentArn"], before | changed)
    return {"TrialComponentArn": found["TrialComponentArn"]}


def delete_trial_component(context: RequestContext, request: Document) -> Document:
    """DeleteTrialComponent: one of the user's own, that no trial has."""
    name = request["TrialComponentName"]
    record = context.record(_KIND, name, "TrialComponent")
    if experiments.parents_of(context, name):
        raise invalid(f"TrialComponent {name} is in trials; disassociate it first")
    context.records.delete(_KIND, f"{context.region}/{name}")
    context.records.forget_appended(record["TrialComponentArn"])
    forget_tags(context, record["TrialComponentArn"])
    return {"TrialComponentArn": record["TrialComponentArn"]}


def associate_trial_component(context: RequestContext, request: Document) -> Document:
    """AssociateTrialComponent."""
    found = _find(context, request["TrialComponentName"])
    experiments.associate(context, request["TrialName"], found["TrialComponentName"])
    return _both(context, request, found)


def disassociate_trial_component(context: RequestContext, request: Document) -> Document:
    """DisassociateTrialComponent."""
    found = _find(context, request["TrialComponentName"])
    experiments.disassociate(context, request["TrialName"], found["TrialComponentName"])
    return _both(context, request, found)


def _find(context: RequestContext, name: str) -> Document:
    """Return a component, whose ARN SageMaker writes in lower case; raise ApiError."""
    found = component_named(context, name)
    if found is None:
        arn = context.arn(_KIND, name.rpartition("/")[2].lower())
        raise ApiError("ResourceNotFound", f"TrialComponent '{arn}' does not exist.")
    return found


def _put_metrics(context: RequestContext, row: Document) -> list[Document]:
    """Return the summaries of what BatchPutMetrics has given a component."""
    summaries: dict[str, MetricSummary] = {}
    for value in context.records.appended(row["TrialComponentArn"]):
        before = summaries.get(value["MetricName"], MetricSummary())
        summaries[value["MetricName"]] = before.followed_by(value["Value"], value["Timestamp"])
    return [metric_summary(name, summary, row["TrialComponentArn"]) for name, summary in summaries.items()]


def _fits(context: RequestContext, request: Document, row: Document) -> bool:
    if "SourceArn" in request:
        return bool(row.get("Source", {}).get("SourceArn") == request["SourceArn"])
    for field in ("ExperimentName", "TrialName"):
        if field in request:
            parents = experiments.parents_of(context, row["TrialComponentName"])
            return any(parent[field] == request[field] for parent in parents)
    return True


def _changed(context: RequestContext, row: Document) -> Document:
    return row | (context.records.get("component-changes", row["TrialComponentArn"]) or {})


def _both(context: RequestContext, request: Document, found: Document) -> Document:
    trial = context.record("experiment-trial", request["TrialName"], "Trial")
    return {"TrialComponentArn": found["TrialComponentArn"], "TrialArn": trial["TrialArn"]}
