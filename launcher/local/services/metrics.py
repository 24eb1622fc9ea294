"""A job's metrics: read out of its log by the request's expressions, kept in its folder and in moto's CloudWatch.

metrics = JobMetrics(definitions, "star-rating-1", "us-east-1", folder / "metrics.jsonl")
summaries = metrics.read(lines, job.metrics)      # {"train:loss": MetricSummary(...)}
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from launcher.local.document import Kind, MetricSummary
from launcher.local.files import append
from launcher.local.services.logs import LogLine
from launcher.local.state import ACCOUNT

NAMESPACE = "/aws/sagemaker/TrainingJobs"

_NAMESPACES: dict[Kind, str] = {"training": NAMESPACE, "processing": "/aws/sagemaker/ProcessingJobs"}


@dataclass(frozen=True)
class Value:
    """One value that a log line had."""

    name: str
    value: float
    time: float


class JobMetrics:
    """The metrics of one job."""

    def __init__(self, definitions: Sequence[Mapping[str, str]], job_name: str, region: str, path: Path) -> None:
        self._expressions = [(definition["Name"], _compiled(definition["Regex"])) for definition in definitions]
        self._job_name = job_name
        self._region = region
        self._path = path

    def read(self, lines: Sequence[LogLine], summaries: Mapping[str, MetricSummary]) -> dict[str, MetricSummary]:
        """Keep every value that the lines have, and return the summaries that have changed."""
        values = [value for line in lines for value in self._values(line)]
        if not values:
            return {}
        rows = (json.dumps({"t": value.time, "name": value.name, "value": value.value}) + "\n" for value in values)
        append(self._path, "".join(rows).encode())
        publish(values, self._job_name, self._region)
        changed: dict[str, MetricSummary] = {}
        for value in values:
            before = changed.get(value.name) or summaries.get(value.name) or MetricSummary()
            changed[value.name] = before.followed_by(value.value, value.time)
        return changed

    def _values(self, line: LogLine) -> list[Value]:
        values = []
        for name, expression in self._expressions:
            match = expression.search(line.text) if expression else None
            number = _number(match) if match else None
            if number is not None:
                values.append(Value(name, number, line.time / 1e9))
        return values


def load(job_name: str, region: str, path: Path) -> None:
    """Bring a job's metrics back into moto."""
    publish(read(path), job_name, region)


def read(path: Path) -> list[Value]:
    """Return every value that is kept; the last line may have been cut by the end of the server."""
    values = []
    for row in _rows(path):
        with suppress(KeyError, TypeError, ValueError):
            values.append(Value(str(row["name"]), float(row["value"]), float(row["t"])))
    return values


def _rows(path: Path) -> Iterator[Any]:
    for text in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError, RecursionError):
            yield json.loads(text)


def publish(values: Sequence[Value], job_name: str, region: str) -> None:
    """Put values where GetMetricData finds them."""
    _put(values, region, NAMESPACE, ("TrainingJobName", job_name))


def keep_host_metrics(values: Sequence[Value], kind: Kind, host: str, region: str, path: Path) -> None:
    """Keep a host's utilization in per cent, and put it where GetMetricData finds it; `host` is <job>/<host>."""
    rows = (json.dumps({"t": each.time, "name": each.name, "value": each.value, "host": host}) for each in values)
    append(path, "".join(f"{row}\n" for row in rows).encode())
    _put(values, region, _NAMESPACES[kind], ("Host", host), unit="Percent")


def load_host_metrics(kind: Kind, region: str, path: Path) -> None:
    """Bring the utilization of a job's hosts back into moto."""
    of_host: dict[str, list[Value]] = {}
    for row in _rows(path):
        with suppress(KeyError, TypeError, ValueError):
            value = Value(str(row["name"]), float(row["value"]), float(row["t"]))
            of_host.setdefault(str(row["host"]), []).append(value)
    for host, values in of_host.items():
        _put(values, region, _NAMESPACES[kind], ("Host", host), unit="Percent")


def _put(
    values: Sequence[Value], region: str, namespace: str, dimension: tuple[str, str], unit: str | None = None
) -> None:
    cloudwatch_backends[ACCOUNT][region].put_metric_data(
        namespace,
        [
            {
                "MetricName": value.name,
                "Value": value.value,
                "Unit": unit,
                # moto compares with times that have no zone.
                "Timestamp": dt.datetime.fromtimestamp(value.time, dt.UTC).replace(tzinfo=None),
                "Dimensions": [{"Name": dimension[0], "Value": dimension[1]}],
            }
            for value in values
        ],
    )


def forget(job_name: str, region: str) -> None:
    """Take a job's metrics out of moto."""
    backend = cloudwatch_backends[ACCOUNT][region]
    backend.metric_data = [
        datum
        for datum in backend.metric_data
        if all(str(dimension.value).partition("/")[0] != job_name for dimension in datum.dimensions)
    ]


def _compiled(expression: str) -> re.Pattern[str] | None:
    """Compile an expression; SageMaker's are Java's, and one that Python does not read finds nothing."""
    try:
        return re.compile(expression)
    except re.error:
        return None


def _number(match: re.Match[str]) -> float | None:
    """Return the first group's number; CloudWatch takes no NaN and no infinity."""
    try:
        number = float(match[1])
    except (IndexError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
