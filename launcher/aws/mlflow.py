"""MLflow's runs of a job's experiment, over its REST API: signed for an MLflow resource of SageMaker, else as it is.

tracking_server(description)             # ("arn:aws:sagemaker:...:mlflow-app/app-1", "reviews"), None without one
mlflow_runs(description, session)        # [{"run": "job-1", "job": "job-1", "status": "FINISHED", ...}, ...]
"""

from __future__ import annotations

import datetime as dt
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from launcher.aws.session import Session
from launcher.errors import AwsError

MAX_RUNS = 500
RESOURCES = {
    "mlflow-app": ("https://mlflow.sagemaker.{region}.app.aws", "x-sm-mlflow-app-arn", "sagemaker"),
    "mlflow-tracking-server": (
        "https://{region}.experiments.sagemaker.aws",
        "x-mlflow-sm-tracking-server-arn",
        "sagemaker-mlflow",
    ),
}
"""Kind of MLflow resource -> address, header that names it, service to sign for; as in sagemaker-mlflow 0.5."""


def tracking_server(description: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return ARN or address of the job's tracking server, and its experiment; None if it has none."""
    config, environment = description.get("MlflowConfig") or {}, description.get("Environment") or {}
    uri = environment.get("MLFLOW_TRACKING_URI") or config.get("MlflowResourceArn")
    experiment = environment.get("MLFLOW_EXPERIMENT_NAME") or config.get("MlflowExperimentName") or "Default"
    return (uri, experiment) if uri else None


def mlflow_runs(description: Mapping[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return a row for each run of the experiment, newest first; [] if the job has no tracking server."""
    found = tracking_server(description)
    if found is None:
        return []
    uri, name = found
    experiment = _call(uri, "experiments/get-by-name", {"experiment_name": name}, None, session)
    body = {
        "experiment_ids": [experiment["experiment"]["experiment_id"]],
        "max_results": MAX_RUNS,
        "order_by": ["attributes.start_time DESC"],
    }
    runs = _call(uri, "runs/search", {}, body, session).get("runs", [])
    return [_row(run) for run in runs]


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    info, data = run["info"], run["data"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    row = {
        "run": info.get("run_name"),
        "job": tags.get("training_job_name"),
        "status": info.get("status"),
        "created": dt.datetime.fromtimestamp(int(info["start_time"]) / 1000, dt.UTC),
    }
    parameters = {parameter["key"]: parameter["value"] for parameter in data.get("params", [])}
    return row | parameters | {metric["key"]: metric["value"] for metric in data.get("metrics", [])}


def _call(
    uri: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, session: Session
) -> dict[str, Any]:
    """Call the server; raise AwsError that says what it answers, or that it does not."""
    address, arn = _address(uri)
    url = f"{address}/api/2.0/mlflow/{path}"
    if query:
        url += f"?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    if arn is not None:
        headers |= _signed(arn, url, data, headers, session)
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - http or https, see _address
    try:
        with session.open_url(request) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(400).decode(errors="replace")
        raise AwsError(f"cannot read MLflow's runs: {address} answers {error.code}: {text}") from None
    except (OSError, ValueError) as error:
        raise AwsError(f"cannot read MLflow's runs at {address}: {error}") from None


def _address(uri: str) -> tuple[str, str | None]:
    """Return a server's address, and its ARN if it is an MLflow resource of SageMaker."""
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/"), None
    region = uri.split(":")[3] if uri.count(":") >= 5 else ""
    kind = uri.rpartition(":")[2].partition("/")[0]
    if not region or kind not in RESOURCES:
        raise AwsError(f"{uri!r} is neither an http address nor the ARN of an MLflow App or tracking server")
    return os.environ.get("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT") or RESOURCES[kind][0].format(region=region), uri


def _signed(arn: str, url: str, data: bytes | None, headers: Mapping[str, str], session: Session) -> dict[str, str]:
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - half a second that other commands do without
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415

    _, header, service = RESOURCES[arn.rpartition(":")[2].partition("/")[0]]
    request = AWSRequest("GET" if data is None else "POST", url, data=data, headers={**headers, header: arn})
    SigV4Auth(session.credentials(), service, arn.split(":")[3]).add_auth(request)
    return dict(request.headers)
