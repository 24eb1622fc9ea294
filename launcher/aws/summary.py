"""What became of a job: times, money, where things are, and links to the pages that show it. Pure.

summary(description, region)            # {"job": ..., "status": "Completed", "training_seconds": 162, ...}
console_links(description, region)      # {"job": "https://us-east-1.console.aws.amazon.com/...", "logs": ..., ...}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from launcher.checks.cost import spent

_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "us-iso-": "console.c2shome.ic.gov",
    "us-isob-": "console.sc2shome.sgov.gov",
    "eusc-": "console.amazonaws-eusc.eu",
}


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


def console_links(description: dict[str, Any], region: str) -> dict[str, str]:
    """Return the console's pages of a training job: itself, its logs, its output, its checkpoints."""
    name = description["TrainingJobName"]
    console = _console(region)
    pages = {
        "job": f"{console}/sagemaker/home?region={region}#/jobs/{name}",
        "logs": f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
        f"{_twice('/aws/sagemaker/TrainingJobs')}$3FlogStreamNameFilter$3D{_twice(name + '/')}",
        "output": _bucket(console, region, f"{description['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/"),
    }
    if "CheckpointConfig" in description:
        pages["checkpoints"] = _bucket(console, region, description["CheckpointConfig"]["S3Uri"])
    return pages


def local_link(dashboard_url: str, name: str, region: str) -> str:
    """Return the local SageMaker's page of a training job, whose key has the region only outside us-east-1."""
    return f"{dashboard_url}#training/{name if region == 'us-east-1' else f'{name}.{region}'}"


def _console(region: str) -> str:
    domain = next((domain for prefix, domain in _CONSOLES.items() if region.startswith(prefix)), None)
    return f"https://{domain}" if domain else f"https://{region}.console.aws.amazon.com"


def _bucket(console: str, region: str, s3_uri: str) -> str:
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    return f"{console}/s3/buckets/{bucket}?region={region}&prefix={quote(prefix)}"


def _twice(text: str) -> str:
    """Encode a text as CloudWatch's console has it in its fragments: percent-encoded twice, with $ for %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
