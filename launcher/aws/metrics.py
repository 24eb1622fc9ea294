"""Metrics and rule verdicts of a job: final values from its description, time series from CloudWatch.

final_values(description)       # [{"metric": "test:accuracy", "value": 0.701, "time": ...}, ...]
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from launcher.aws.artifacts import read_output
from launcher.aws.errors import translating_aws_errors
from launcher.aws.session import Session
from launcher.errors import AwsError

NAMESPACE = "/aws/sagemaker/TrainingJobs"

_QUERIES_PER_CALL = 100


def final_values(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the last value of each metric, exactly as SageMaker read it from the log."""
    return [
        {"metric": metric["MetricName"], "value": metric["Value"], "time": metric["Timestamp"]}
        for metric in description.get("FinalMetricDataList", [])
    ]


def time_series(description: dict[str, Any], session: Session, period: int) -> list[dict[str, Any]]:
    """Return {metric, time, value} by metric and time: CloudWatch's average over each period (seconds)."""
    names = [metric["Name"] for metric in description["AlgorithmSpecification"].get("MetricDefinitions", [])]
    start, end = description["CreationTime"], description.get("TrainingEndTime") or dt.datetime.now(dt.UTC)
    rows: list[dict[str, Any]] = []
    for first in range(0, len(names), _QUERIES_PER_CALL):
        queries = [
            _query(number, name, description["TrainingJobName"], period)
            for number, name in enumerate(names[first : first + _QUERIES_PER_CALL])
        ]
        if not queries:
            break
        with translating_aws_errors("read the metrics"):
            pages = (
                session.client("cloudwatch")
                .get_paginator("get_metric_data")
                .paginate(
                    MetricDataQueries=queries,
                    StartTime=start,
                    EndTime=end + dt.timedelta(seconds=2 * period),
                    ScanBy="TimestampAscending",
                )
            )
            rows += [
                {"metric": result["Label"], "time": moment, "value": value}
                for page in pages
                for result in page["MetricDataResults"]
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
            ]
    return sorted(rows, key=lambda row: (names.index(row["metric"]), row["time"]))


def _query(number: int, name: str, job_name: str, period: int) -> dict[str, Any]:
    return {
        "Id": f"m{number}",
        "Label": name,
        "MetricStat": {
            "Metric": {
                "Namespace": NAMESPACE,
                "MetricName": name,
                "Dimensions": [{"Name": "TrainingJobName", "Value": job_name}],
            },
            "Period": period,
            "Stat": "Average",
        },
    }


def rule_statuses(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return {rule, kind, status, details, source} of each Debugger and Profiler rule, as far as SageMaker has it."""
    kinds = (("debugger", "DebugRuleEvaluationStatuses"), ("profiler", "ProfilerRuleEvaluationStatuses"))
    return [_rule_row(status, kind, "SageMaker") for kind, field in kinds for status in description.get(field, [])]


def rules_of_the_image(description: dict[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return the verdicts that the image itself has left in the job's output, in the same form.

    It evaluates Debugger's rules while it trains, with or without the service, which new accounts cannot use.
    """
    content = read_output(description, session, "debugger/rules.json")
    if content is None:
        return []
    try:
        return [_rule_row(status, "debugger", "image") for status in json.loads(content)]
    except (ValueError, KeyError, TypeError, AttributeError):
        name = description["TrainingJobName"]
        raise AwsError(f"debugger/rules.json in the output of {name} is damaged; the log has the verdicts") from None


def _rule_row(status: dict[str, Any], kind: str, source: str) -> dict[str, Any]:
    return {
        "rule": status["RuleConfigurationName"],
        "kind": kind,
        "status": status.get("RuleEvaluationStatus", "NotStarted"),
        "details": status.get("StatusDetails"),
        "source": source,
    }
