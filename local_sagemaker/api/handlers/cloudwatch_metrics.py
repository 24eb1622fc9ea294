"""Reading CloudWatch's metrics as AWS answers: periods that begin where clocks do, a metric by all of its dimensions.

moto's periods begin where the question does, and its metrics are told apart by name alone.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from moto.cloudwatch.models import MetricAggregatedDatum, cloudwatch_backends

from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.errors import ApiError
from local_sagemaker.state import ACCOUNT

_MOST = 100_800
"""Points of an answer."""

Points = dict[float, list[Any]]
"""When a period began, in seconds since 1970 -> moto's data in it."""


def get_metric_data(context: RequestContext, request: Document) -> Document:
    """GetMetricData: metrics by their statistics; expressions that only name another query."""
    start, end = _times(request, "ValidationError")
    by_id: dict[str, Document] = {}
    for query in request["MetricDataQueries"]:
        if "MetricStat" in query:
            stat = query["MetricStat"]
            points = _points(context, stat["Metric"], stat["Period"], start, end, stat.get("Unit"))
            values = {at: _statistic(points[at], stat["Stat"]) for at in points}
            label = query.get("Label") or stat["Metric"]["MetricName"]
            by_id[query["Id"]] = {"Id": query["Id"], "Label": label, "values": values}
    for query in request["MetricDataQueries"]:
        if "Expression" in query:
            if query["Expression"] not in by_id:
                raise ApiError(
                    "ValidationError",
                    f"Expression {query['Expression']!r} is not available in the local SageMaker: name a query's Id",
                )
            values = by_id[query["Expression"]]["values"]
            by_id[query["Id"]] = {"Id": query["Id"], "Label": query.get("Label") or query["Id"], "values": values}
    descending = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    shown = [by_id[query["Id"]] for query in request["MetricDataQueries"] if query.get("ReturnData", True)]
    return {
        "MetricDataResults": [
            {
                "Id": result["Id"],
                "Label": result["Label"],
                "Timestamps": [_datetime(at) for at in order],
                "Values": [result["values"][at] for at in order],
                "StatusCode": "Complete",
            }
            for result in shown
            for order in (sorted(result["values"], reverse=descending)[:_MOST],)
        ],
        "Messages": [],
    }


def get_metric_statistics(context: RequestContext, request: Document) -> Document:
    """GetMetricStatistics."""
    start, end = _times(request, "InvalidParameterValue")
    metric: Document = {name: request[name] for name in ("Namespace", "MetricName", "Dimensions") if name in request}
    points = _points(context, metric, request["Period"], start, end, request.get("Unit"))
    plain, extended = request.get("Statistics", []), request.get("ExtendedStatistics", [])
    if not plain and not extended:
        raise ApiError("InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics")
    datapoints = []
    for at, data in sorted(points.items()):
        point: Document = {"Timestamp": _datetime(at), "Unit": data[0].unit or "None"}
        point |= {name: _statistic(data, name) for name in plain}
        if extended:
            point["ExtendedStatistics"] = {name: _statistic(data, name) for name in extended}
        datapoints.append(point)
    return {"Label": request["MetricName"], "Datapoints": datapoints}


def _times(request: Document, code: str) -> tuple[float, float]:
    start, end = request["StartTime"], request["EndTime"]
    if start >= end:
        raise ApiError(code, "The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def _points(
    context: RequestContext, metric: Document, period: int, start: float, end: float, unit: str | None
) -> Points:
    """Return a metric's data by period; the first one is whole, as the start is rounded down to where it begins."""
    wanted = {(dimension["Name"], dimension["Value"]) for dimension in metric.get("Dimensions", [])}
    points: Points = defaultdict(list)
    for datum in list(cloudwatch_backends[ACCOUNT][context.region].metric_data):
        at = datum.timestamp.replace(tzinfo=dt.UTC).timestamp()
        if (
            datum.name == metric.get("MetricName")
            and datum.namespace == metric.get("Namespace")
            and math.floor(start / period) * period <= at < end
            and unit in (None, datum.unit)
            and {(dimension.name, dimension.value) for dimension in datum.dimensions} == wanted
        ):
            points[math.floor(at / period) * period].append(datum)
    return points


def _statistic(data: Iterable[Any], name: str) -> float:
    """Return a statistic of data, single values and statistic sets; raise ApiError for one that is not known."""
    sets = [datum for datum in data if isinstance(datum, MetricAggregatedDatum)]
    values = sorted(datum.value for datum in data if not isinstance(datum, MetricAggregatedDatum))
    count = len(values) + sum(datum.sample_count for datum in sets)
    total = math.fsum(values) + math.fsum(datum.sum for datum in sets)
    known = {"SampleCount": count, "Sum": total, "Average": total / count}
    if name in known:
        return float(known[name])
    if name in ("Minimum", "Maximum"):
        low, high = [datum.min for datum in sets], [datum.max for datum in sets]
        return float(min(values + low) if name == "Minimum" else max(values + high))
    try:
        share = float(name.removeprefix("p")) / 100 if name.startswith("p") else math.nan
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1 or not values:
        raise ApiError("ValidationError", f"Statistic {name!r} is not available in the local SageMaker")
    place = share * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return float(low + (high - low) * (place - math.floor(place)))


def _datetime(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
