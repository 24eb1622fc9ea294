"""Every answer of the local SageMaker is one that AWS's model allows, whatever is asked and however wrongly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from launcher.request import shapes
from launcher.request.shapes import service_model
from local_sagemaker.api import application
from local_sagemaker.api.application import answer
from local_sagemaker.api.request_context import RequestContext
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.errors import ApiError
from tests.helpers.local_server import BUCKET, PROCESSING, TRAINING, ApiServer, changed, serving
from tests.helpers.made_up_jobs import complete, fail, train

OPERATIONS = sorted(
    operation
    for operation in service_model().operation_names
    if any(hasattr(module, xform_name(operation)) for module in application._MODULES)
)

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
COMPONENT = "job-aws-training-job"

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("DescribeTrainingJob", {"TrainingJobName": "job"}),
    ("DescribeTrainingJob", {"TrainingJobName": "failed"}),
    ("DescribeTrainingJob", {"TrainingJobName": "running"}),
    ("ListTrainingJobs", {}),
    ("DescribeProcessingJob", {"ProcessingJobName": "prepare-1"}),
    ("ListProcessingJobs", {}),
    ("DescribeExperiment", {"ExperimentName": "reviews"}),
    ("ListExperiments", {}),
    ("DescribeTrial", {"TrialName": "first"}),
    ("ListTrials", {"ExperimentName": "reviews"}),
    ("DescribeTrialComponent", {"TrialComponentName": COMPONENT}),
    ("ListTrialComponents", {}),
    ("ListAssociations", {}),
    ("ListArtifacts", {}),
    ("QueryLineage", {"StartArns": [f"{ARN}:experiment-trial-component/{COMPONENT}"]}),
    ("ListTags", {"ResourceArn": f"{ARN}:training-job/job"}),
    ("Search", {"Resource": "TrainingJob"}),
    ("Search", {"Resource": "ExperimentTrialComponent"}),
    ("Search", {"Resource": "Experiment"}),
    ("Search", {"Resource": "ExperimentTrial"}),
]

NOT_YET = {("ModelArtifacts",)}
"""Required by the model, and absent in the real service's answers until there is a model."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RequestContext]:
    folder = tmp_path_factory.mktemp("state")
    with serving(folder) as server:
        yield _with_jobs(server, folder)


def _with_jobs(server: ApiServer, folder: Path) -> RequestContext:
    context = RequestContext(server.jobs, EntityStore(folder / "api/other.json"), server.objects, "us-east-1")
    answer(context, "CreateExperiment", {"ExperimentName": "reviews", "Description": "d"})
    answer(context, "CreateTrial", {"TrialName": "first", "ExperimentName": "reviews"})
    for name in ("job", "failed", "running"):
        train(server, name)
    answer(context, "AssociateTrialComponent", {"TrialName": "first", "TrialComponentName": COMPONENT})
    complete(server, "job")
    fail(server, "failed", "AlgorithmError: x")
    answer(context, "CreateProcessingJob", PROCESSING)
    return context


@pytest.mark.parametrize(("operation", "request_"), QUESTIONS, ids=str)
def test_an_answer_has_the_shape_that_aws_s_model_gives(
    context: RequestContext, operation: str, request_: dict[str, Any]
) -> None:
    found = json.loads(json.dumps(answer(context, operation, request_), allow_nan=False))
    output = service_model().operation_model(operation).output_shape
    against = [(violation.path, violation.message) for violation in shapes._walk(output, found, (), "")]
    assert [entry for entry in against if entry[0] not in NOT_YET] == []
    assert found


def test_every_kind_of_operation_is_among_those_that_are_asked() -> None:
    kinds = (
        "TrainingJob",
        "ProcessingJob",
        "TransformJob",
        "HyperParameterTuningJob",
        "Endpoint",
        "EndpointConfig",
        "Model",
    )
    assert {f"{verb}{kind}" for verb in ("Create", "Describe") for kind in kinds} <= set(OPERATIONS)
    assert {"QueryLineage", "Search", "DeleteTags"} <= set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_asked_the_answer_is_one_or_a_refusal(
    tmp_path: Path, operation: str, scaled: Callable[..., int]
) -> None:
    """Requests of the right shape with values that are right, wrong or hostile: never a defect, never half a job."""
    shape = service_model().operation_model(operation).input_shape
    chance = random.Random(operation)
    with serving(tmp_path) as server:
        context = _with_jobs(server, tmp_path)
        for _ in range(scaled(100, in_ci=15)):
            request = made(shape, chance, 0)
            if operation == "CreateTrainingJob":
                request = TRAINING | {field: value for field, value in request.items() if chance.random() < 0.3}
            before = {job.name for job in context.every_job()}
            refused = _refusal(context, operation, request)
            if refused is not None:
                assert 400 <= refused.status < 500
                assert operation.startswith("Delete") or {job.name for job in context.every_job()} == before


def _refusal(context: RequestContext, operation: str, request: Any) -> ApiError | None:
    try:
        json.dumps(answer(context, operation, request), allow_nan=False)
    except ApiError as refusal:
        return refusal
    return None


HOSTILE = (
    "",
    "x",
    "../../etc",
    "a/b",
    "\0",
    "é" * 300,
    "9" * 400,
    "arn:aws:x",
    "{}",
    "NaN",
    "${jndi:x}",
    "job",
    "first",
)


def made(shape: Any, chance: random.Random, depth: int) -> Any:
    """Return something of a shape, or not quite."""
    if chance.random() < 0.03:
        return chance.choice([None, [], {}, "text", 7, True, -1, 1e300, {"a": [1]}])
    maker = _MAKERS.get(shape.type_name)
    return maker(shape, chance, depth) if maker else chance.choice([0, 1, 2, 100, -5, 3600, 10**12])


def _structure(shape: Any, chance: random.Random, depth: int) -> Any:
    if depth > 4:
        return {}
    wanted = [name for name in shape.members if name in shape.required_members or chance.random() < 0.25]
    return {name: made(shape.members[name], chance, depth + 1) for name in wanted}


def _list(shape: Any, chance: random.Random, depth: int) -> Any:
    return [made(shape.member, chance, depth + 1) for _ in range(chance.choice([0, 1, 1, 2]))]


def _map(shape: Any, chance: random.Random, depth: int) -> Any:
    return {str(made(shape.key, chance, depth + 1)): made(shape.value, chance, depth + 1) for _ in range(2)}


def _string(shape: Any, chance: random.Random, _: int) -> Any:
    if shape.enum and chance.random() < 0.9:
        return chance.choice(shape.enum)
    return chance.choice((*HOSTILE, f"s3://{BUCKET}/channels/train/", COMPONENT, f"{ARN}:training-job/job"))


def _boolean(_: Any, chance: random.Random, __: int) -> Any:
    return chance.random() < 0.5


_MAKERS = {"structure": _structure, "list": _list, "map": _map, "string": _string, "boolean": _boolean}


def test_a_job_that_is_almost_right_is_not_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        context = _with_jobs(server, tmp_path)
        wrong = changed(TRAINING, {"TrainingJobName": "new", "ExperimentConfig": {"ExperimentName": "nothing"}})
        with pytest.raises(ApiError):
            answer(context, "CreateTrainingJob", wrong)
        assert server.jobs.store.get("training", "new") is None
        assert not server.jobs.store.folder("training", "new").exists()
