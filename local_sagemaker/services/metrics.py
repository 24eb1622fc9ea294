"""A job's metrics: read out of its log by the request's expressions, kept in its folder and in moto's CloudWatch.

metrics = JobMetrics(definitions, "star-rating-1", "us-east-1", folder / "metrics.jsonl")
metrics.read(lines, job.metrics).summaries      # {"train:loss": MetricSummary(...)}
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from launcher.matcher import Matcher
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.job_state import Kind, MetricSummary
from local_sagemaker.services.logs import read as read_log
from local_sagemaker.state import ACCOUNT
from local_sagemaker.state_files import append, write

NAMESPACE = "/aws/sagemaker/TrainingJobs"

_NAMESPACES: dict[Kind, str] = {"training": NAMESPACE, "processing": "/aws/sagemaker/ProcessingJobs"}

_LARGEST = 2.0**360
"""CloudWatch's own limit of a value."""

_BATCH = 5_000
"""Lines that are matched at once."""

_changing = threading.Lock()
"""moto's list of values is replaced to forget some."""


@dataclass(frozen=True)
class Value:
    """One value that a log line had."""

    name: str
    value: float
    time: float


@dataclass(frozen=True)
class Found:
    """What lines had for the metrics."""

    summaries: dict[str, MetricSummary]
    """Those that have changed."""
    notes: list[str]
    """What the job's log is to say of metrics that are not, or no longer, read."""


class JobMetrics:
    """The metrics of one job; for one thread."""

    def __init__(self, definitions: Sequence[Mapping[str, str]], job_name: str, region: str, path: Path) -> None:
        self._names = [definition["Name"] for definition in definitions]
        self._matcher = Matcher([definition["Regex"] for definition in definitions])
        self._job_name = job_name
        self._region = region
        self._path = path
        self._hidden = {number for number, name in enumerate(self._names) if not _has_place(name)}
        self._left_out: set[int] = set()
        """Numbers of the metrics that had a value which is no number of CloudWatch's."""

    def close(self) -> None:
        """Read no more lines."""
        self._matcher.close()

    def read(self, lines: Sequence[LogLine], summaries: Mapping[str, MetricSummary]) -> Found:
        """Keep every value that the lines have; raise StorageError."""
        values, notes = self._values(lines)
        if values:
            append(self._path, _content(values))
            publish(values, self._job_name, self._region)
        return Found(_summaries(values, summaries), notes)

    def read_again(self, logs: Iterable[Path]) -> Found:
        """Forget the values, and keep those that the job's logs have: all that it has written so far."""
        values: list[Value] = []
        notes: list[str] = []
        said: set[str] = set()
        for path in logs:
            lines = read_log(path)
            while some := list(islice(lines, _BATCH)):
                found, new = self._values([line for line in some if not line.is_note])
                values += found
                notes += new
                said.update(line.text for line in some if line.is_note)
        values.sort(key=lambda value: value.time)
        write(self._path, _content(values))
        _forget(self._region, lambda value: value == self._job_name)
        publish(values, self._job_name, self._region)
        return Found(_summaries(values, {}), [note for note in notes if note not in said])

    def _values(self, lines: Sequence[LogLine]) -> tuple[list[Value], list[str]]:
        """Return the values of lines, and what has to be said for the first time."""
        matches, values, notes = self._matcher.match([line.text for line in lines]), [], []
        for position, number, text in matches.found:
            value = _number(text)
            if number in self._hidden:
                self._hidden.remove(number)
                notes.append(
                    f"the metric {self._names[number]!r} is not in CloudWatch, for the control characters in it"
                )
            if value is None and number not in self._left_out:
                self._left_out.add(number)
                notes.append(
                    f"values of the metric {self._names[number]} that CloudWatch does not take are left out: "
                    f"{text[:40]!r} was the first"
                )
            elif value is not None:
                values.append(Value(self._names[number], value, lines[position].time / 1e9))
        for number, reason in matches.given_up.items():
            notes.append(f"the metric {self._names[number]} is not read from here on: of its expression, {reason}")
        return values, notes


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
    _put([value for value in values if _has_place(value.name)], region, NAMESPACE, ("TrainingJobName", job_name))


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
    data = [
        {
            "MetricName": value.name,
            "Value": value.value,
            "Unit": unit,
            # moto compares with times that have no zone.
            "Timestamp": dt.datetime.fromtimestamp(value.time, dt.UTC).replace(tzinfo=None),
            "Dimensions": [{"Name": dimension[0], "Value": dimension[1]}],
        }
        for value in values
    ]
    with _changing:
        cloudwatch_backends[ACCOUNT][region].put_metric_data(namespace, data)


def forget(job_name: str, region: str) -> None:
    """Take a job's metrics out of moto."""
    _forget(region, lambda value: value.partition("/")[0] == job_name)


def _forget(region: str, is_forgotten: Callable[[str], bool]) -> None:
    backend = cloudwatch_backends[ACCOUNT][region]
    with _changing:
        backend.metric_data = [
            datum
            for datum in backend.metric_data
            if not any(is_forgotten(str(dimension.value)) for dimension in datum.dimensions)
        ]


def _summaries(values: Sequence[Value], before: Mapping[str, MetricSummary]) -> dict[str, MetricSummary]:
    changed: dict[str, MetricSummary] = {}
    for value in values:
        known = changed.get(value.name) or before.get(value.name) or MetricSummary()
        changed[value.name] = known.followed_by(value.value, value.time)
    return changed


def _content(values: Sequence[Value]) -> bytes:
    rows = (json.dumps({"t": value.time, "name": value.name, "value": value.value}) + "\n" for value in values)
    return "".join(rows).encode()


def _has_place(name: str) -> bool:
    """Tell whether CloudWatch takes a metric's name; its XML, which lists those of all jobs, has none of the others."""
    return not any(ord(character) < 32 or character in "\x7f\ufffe\uffff" for character in name)


def _number(text: str) -> float | None:
    """Return a number; None for what CloudWatch does not take: NaN, infinities, what is beyond 2^360."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= _LARGEST and "_" not in text else None
