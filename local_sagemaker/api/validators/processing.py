"""What SageMaker asks of a Processing job's request beyond its model. Pure; see training.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local_sagemaker.api.validators.channels import wrong_s3_uri
from local_sagemaker.api.validators.training import repeated
from local_sagemaker.errors import invalid

Request = dict[str, Any]

ROOT = "/opt/ml/processing"


def refuse_contradictions(request: Request) -> None:
    """Raise ApiError for the first rule that a request breaks."""
    for rule in RULES:
        for refusal in rule(request):
            raise invalid(refusal)


def _instances(request: Request) -> Iterator[str]:
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if "InstancePreferences" in cluster:
        yield "InstancePreferences is not available: the local SageMaker has one kind of capacity, this machine"
    if "InstanceType" not in cluster or "InstanceCount" not in cluster:
        yield "InstanceType and InstanceCount must be specified in ClusterConfig"


def _names(request: Request) -> Iterator[str]:
    twice = repeated(given["InputName"] for given in request.get("ProcessingInputs", []))
    if twice:
        yield f"Input names must be unique in ProcessingInputs: {twice}"
    twice = repeated(output["OutputName"] for output in _outputs(request))
    if twice:
        yield f"Output names must be unique in ProcessingOutputConfig: {twice}"


def _inputs(request: Request) -> Iterator[str]:
    paths = []
    for given in request.get("ProcessingInputs", []):
        name = given["InputName"]
        if "DatasetDefinition" in given:
            yield f"DatasetDefinition of input {name} is not available: the local SageMaker has no Athena or Redshift"
        if "S3Input" not in given:
            yield f"S3Input must be specified for input {name}"
        yield from _place(f"input {name}", given["S3Input"])
        if "S3InputMode" not in given["S3Input"] and not given.get("AppManaged"):
            yield f"S3InputMode must be specified for input {name}"
        paths.append(given["S3Input"].get("LocalPath", "").rstrip("/"))
    twice = repeated(path for path in paths if path)
    if twice:
        yield f"LocalPath must be unique in ProcessingInputs: {twice}"


def _written(request: Request) -> Iterator[str]:
    for output in _outputs(request):
        name = output["OutputName"]
        if "FeatureStoreOutput" in output:
            yield f"FeatureStoreOutput of output {name} is not available: the local SageMaker has no Feature Store"
        if "S3Output" not in output:
            yield f"S3Output must be specified for output {name}"
        yield from _place(f"output {name}", output["S3Output"])


def _place(where: str, entry: Request) -> Iterator[str]:
    wrong = wrong_s3_uri(entry["S3Uri"])
    if wrong is not None:
        yield f"Invalid S3 URI '{entry['S3Uri']}' in {where}: {wrong}"
    path = entry.get("LocalPath")
    if path is not None and (not f"{path}/".startswith(f"{ROOT}/") or ".." in path.split("/")):
        yield f"Invalid LocalPath '{path}' in {where}: it must be below {ROOT}"


def _outputs(request: Request) -> list[Request]:
    outputs: list[Request] = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return outputs


RULES: tuple[Callable[[Request], Iterator[str]], ...] = (_instances, _names, _inputs, _written)
