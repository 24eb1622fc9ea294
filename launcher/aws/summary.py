"""What became of a job, in one table: times, money, where things are. Pure.

summary(description, region)     # {"job": ..., "status": "Completed", "training_seconds": 162, ...}
"""

from __future__ import annotations

from typing import Any

from launcher.checks.cost import spent


def summary(description: dict[str, Any], region: str) -> dict[str, Any]:
    """Return status, seconds, spot saving, cost and artifact paths of a job, as far as SageMaker has them."""
    fields: dict[str, Any] = {
        "job": description["TrainingJobName"],
        "status": description["TrainingJobStatus"],
        "phase": description.get("SecondaryStatus"),
        "reason": description.get("FailureReason"),
        "created": description.get("CreationTime"),
        "training_seconds": description.get("TrainingTimeInSeconds"),
        "billable_seconds": description.get("BillableTimeInSeconds"),
        "spot_saving_percent": _saving(description),
        "cost_dollars": _rounded(spent(description, region)),
        "model": description.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        "checkpoints": description.get("CheckpointConfig", {}).get("S3Uri"),
        "tensors": description.get("DebugHookConfig", {}).get("S3OutputPath"),
    }
    for metric in description.get("FinalMetricDataList", []):
        fields[metric["MetricName"]] = metric["Value"]
    return {name: value for name, value in fields.items() if value is not None}


def _saving(description: dict[str, Any]) -> float | None:
    """Return what spot has saved, in percent, as SageMaker's console computes it."""
    training, billable = description.get("TrainingTimeInSeconds"), description.get("BillableTimeInSeconds")
    if not description.get("EnableManagedSpotTraining") or not training or billable is None:
        return None
    return round(100 * (1 - float(billable) / float(training)), 1)


def _rounded(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 4)
