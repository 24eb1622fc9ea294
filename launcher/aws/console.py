"""Links into AWS's console, in every partition.

links(description, region)      # {"job": "https://us-east-1.console.aws.amazon.com/...", "logs": ..., ...}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "us-iso-": "console.c2shome.ic.gov",
    "us-isob-": "console.sc2shome.sgov.gov",
    "eusc-": "console.amazonaws-eusc.eu",
}


def links(description: dict[str, Any], region: str) -> dict[str, str]:
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


def _console(region: str) -> str:
    domain = next((domain for prefix, domain in _CONSOLES.items() if region.startswith(prefix)), None)
    return f"https://{domain}" if domain else f"https://{region}.console.aws.amazon.com"


def _bucket(console: str, region: str, s3_uri: str) -> str:
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    return f"{console}/s3/buckets/{bucket}?region={region}&prefix={quote(prefix)}"


def _twice(text: str) -> str:
    """Encode a text as CloudWatch's console has it in its fragments: percent-encoded twice, with $ for %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
