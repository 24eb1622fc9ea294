"""Metrics of jobs and of trial components (sagemaker-metrics)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from local_sagemaker.api.arns import component_arn, job_arn
from local_sagemaker.api.handlers.components import component_named
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.job_state import MetricSummary
from local_sagemaker.services import metrics

_SECONDS = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}

_STATISTICS = {
    "Min": "minimum",
    "Max": "maximum",
    "Avg": "mean",
    "Count": "count",
    "StdDev": "standard_deviation",
    "Last": "last",
}


def batch_put_metrics(context: RequestContext, request: Document) -> Document:
    """BatchPutMetrics: keep values of a trial component; what is wrong with one of them does not hold up the others."""
    component = component_named(context, request["TrialComponentName"])
    kept, errors = [], []
    for number, datum in enumerate(request["MetricData"]):
        if component is None or not math.isfinite(datum["Value"]):
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": number})
        else:
            kept.append(datum)
    if component is not None and kept:
        context.records.append(component["TrialComponentArn"], kept)
    return {"Errors": errors} if errors else {}


def batch_get_metrics(context: RequestContext, request: Document) -> Document:
    """BatchGetMetrics: a statistic by step or by period, of a job's metrics or of those that a component was given."""
    return {"MetricQueryResults": [_result(context, query) for query in request["MetricQueries"]]}


def _result(context: RequestContext, query: Document) -> Document:
    by_step, period = query["XAxisType"] == "IterationNumber", query["Period"]
    if by_step != (period == "IterationNumber"):
        return _nothing("ValidationError", f"Period {period} does not go with XAxisType {query['XAxisType']}")
    values = _values(context, query["ResourceArn"], query["MetricName"])
    if values is None:
        return _nothing("ValidationError", f"{query['ResourceArn']} does not exist")
    points: dict[int, MetricSummary] = defaultdict(MetricSummary)
    for time, step, value in values:
        at = step if by_step else int(time // _SECONDS[period]) * _SECONDS[period]
        if at is not None and query.get("Start", at) <= at <= query.get("End", at):
            points[at] = points[at].followed_by(value, time)
    statistic = _STATISTICS[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": sorted(points),
        "MetricValues": [float(getattr(points[at], statistic)) for at in sorted(points)],
    }


def _nothing(status: str, message: str) -> Document:
    return {"Status": status, "Message": message, "XAxisValues": [], "MetricValues": []}


def _values(context: RequestContext, arn: str, name: str) -> Iterator[tuple[float, int | None, float]] | None:
    """Return time, step and value of a metric of a job or a trial component; None if there is none of this ARN."""
    for job in context.every_job():
        if arn in (job_arn(job), component_arn(job)):
            path = context.jobs.store.folder(job.kind, job.name, job.region) / "metrics.jsonl"
            # A job's log has no steps: its values are numbered as they came.
            of_job = (value for value in metrics.read(path) if value.name == name)
            return ((value.time, number, value.value) for number, value in enumerate(of_job))
    component = component_named(context, arn)
    if component is None:
        return None
    rows = context.records.appended(component["TrialComponentArn"])
    return ((row["Timestamp"], row.get("Step"), row["Value"]) for row in rows if row["MetricName"] == name)
