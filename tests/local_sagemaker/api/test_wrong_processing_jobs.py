"""Wrong CreateProcessingJob requests: each is answered with the real service's error code and constraint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.local_server import PROCESSING, ApiServer, changed, serving
from tests.helpers.wrong_requests import VALIDATION, Changes, at, missing, refused

WRONG_PROCESSING: dict[str, tuple[Changes, str, str]] = {
    "no resources": ({"ProcessingResources": None}, VALIDATION, missing("processingResources")),
    "no image": ({"AppSpecification.ImageUri": None}, VALIDATION, missing("appSpecification.imageUri")),
    "no hosts": (
        {"ProcessingResources.ClusterConfig.InstanceCount": 0},
        VALIDATION,
        at(
            "processingResources.clusterConfig.instanceCount",
            "'0'",
            "Member must have value greater than or equal to 1",
        ),
    ),
    "101 hosts": (
        {"ProcessingResources.ClusterConfig.InstanceCount": 101},
        VALIDATION,
        "Member must have value less than or equal to 100",
    ),
    "a type of spot": (
        {"ProcessingResources.ClusterConfig.InstanceType": "ml.none"},
        VALIDATION,
        "Value 'ml.none' at 'processingResources.clusterConfig.instanceType' failed to satisfy constraint: Member must",
    ),
    "an upload mode": (
        {"ProcessingOutputConfig.Outputs.0.S3Output.S3UploadMode": "Never"},
        VALIDATION,
        "Member must satisfy enum value set: [Continuous, EndOfJob]",
    ),
    "six days over": (
        {"StoppingCondition.MaxRuntimeInSeconds": 777_601},
        VALIDATION,
        at("stoppingCondition.maxRuntimeInSeconds", "'777601'", "Member must have value less than or equal to 777600"),
    ),
    "an input twice": (
        {"ProcessingInputs": [PROCESSING["ProcessingInputs"][0]] * 2},
        VALIDATION,
        "Input names must be unique in ProcessingInputs: [reviews]",
    ),
    "a folder for two inputs": (
        {"ProcessingInputs": [{**PROCESSING["ProcessingInputs"][0], "InputName": name} for name in ("a", "b")]},
        VALIDATION,
        "LocalPath must be unique in ProcessingInputs: [/opt/ml/processing/input]",
    ),
    "an output twice": (
        {"ProcessingOutputConfig.Outputs": [PROCESSING["ProcessingOutputConfig"]["Outputs"][0]] * 2},
        VALIDATION,
        "Output names must be unique in ProcessingOutputConfig: [channels]",
    ),
    "an input elsewhere": (
        {"ProcessingInputs.0.S3Input.LocalPath": "/etc"},
        VALIDATION,
        "Invalid LocalPath '/etc' in input reviews: it must be below /opt/ml/processing",
    ),
    "an output that climbs": (
        {"ProcessingOutputConfig.Outputs.0.S3Output.LocalPath": "/opt/ml/processing/../../../etc"},
        VALIDATION,
        "in output channels: it must be below /opt/ml/processing",
    ),
    "an input that is nothing": ({"ProcessingInputs": [{"InputName": "a"}]}, VALIDATION, "S3Input must be specified"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.mark.parametrize("name", WRONG_PROCESSING)
def test_a_wrong_processing_job_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    changes, code, constraint = WRONG_PROCESSING[name]
    got, message = refused(server, "CreateProcessingJob", changed(PROCESSING, changes))
    assert (got, constraint in message) == (code, True), message
    assert server.jobs.list("processing") == []
