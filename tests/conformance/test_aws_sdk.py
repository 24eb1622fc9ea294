"""AWS's own SDKs and CLI, unchanged, against the local SageMaker: from the notebook to tuning and serving.

The server is as a user has it: started by the launcher, in an environment without AWS, with the shipped reviews.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.helpers.emulator import IMAGE as TINY_IMAGE
from tests.helpers.emulator import build_image
from tests.helpers.tuning import tune_while_the_server_is_killed

pytestmark = pytest.mark.conformance

REPOSITORY = Path(__file__).parents[2]
IMAGE = os.environ.get("IMAGE", "distilbert-trainer:local")
BUCKET = "star-rating"


@dataclass(frozen=True)
class Launcher:
    """The launcher in an environment without AWS, with a local SageMaker of its own."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str) -> str:
        """Run a command and return its stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    folder = tmp_path_factory.mktemp("launcher")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAUNCHER_"))}
    return Launcher(environment | {"LOCAL_SAGEMAKER_STATE": str(folder / "state"), "XDG_STATE_HOME": str(folder)})


@pytest.fixture(scope="session")
def exports(launcher: Launcher) -> Iterator[dict[str, str]]:
    """Start a server, make the channels, and return what `launcher local start` tells a user to export."""
    lines = launcher("local", "start", "--jobs", "2").splitlines()
    try:
        launcher("local", "put", "data/reviews.tsv", f"s3://{BUCKET}/reviews/")
        job = ("--file", "jobs/local.toml", "--set", f"training_image={IMAGE}")
        launcher("process", "--local", *job)
        yield dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    finally:
        launcher("local", "stop", "--force")


def run(python: str, script: str, exports: dict[str, str], folder: Path, *more: str) -> dict[str, Any]:
    """Run a script of this folder with an SDK, and return what it has shown."""
    output, settings, calls = folder / "shown.json", folder / "settings.yaml", folder / "calls.json"
    settings.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    done = subprocess.run(
        [REPOSITORY / python / "bin/python", REPOSITORY / "tests/conformance" / script, IMAGE, BUCKET, output, *more],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
            "PYTHONPATH": str(REPOSITORY / "tests" / "conformance" / "calls"),
            "CALLS": str(calls),
            **exports,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(output.read_text())
    print(json.dumps(shown, indent=1))
    counts: dict[str, int] = json.loads(calls.read_text())
    print(f"{sum(counts.values())} calls of {len(counts)} operations:")
    print("\n".join(f"{count:6}  {operation}" for operation, count in counts.items()))
    assert counts[
        "SageMaker: CreateTrainingJob" if "tune" not in script else "SageMaker: CreateHyperParameterTuningJob"
    ]
    return shown


def test_the_notebook_runs_from_fit_to_the_lineage_table(exports: dict[str, str], tmp_path: Path) -> None:
    shown = run(".venv-sagemaker-sdk", "notebook.py", exports, tmp_path)
    assert shown["sdk"].startswith("2.257.")
    assert shown["status"] == "Completed"
    assert shown["metrics"]["train:loss"] >= 1
    assert shown["metrics"]["validation:accuracy"] == shown["metrics"]["test:accuracy"] == 1
    assert {"run.json", "code/inference.py", "metrics/evaluation.json", "metrics/confusion_matrix.png"} <= set(
        shown["model"]
    )
    assert shown["accuracy"] > 0.3
    assert shown["confusion_matrix"] > 1000
    assert set(shown["rules"]) == {"LossNotDecreasing", "Overtraining", "ProfilerReport", "CPUBottleneck"}
    assert set(shown["rules"].values()) <= {"NoIssuesFound", "IssuesFound"}
    assert shown["experiment"]["rows"] == 1
    assert set(shown["experiment"]["columns"]) == {"DisplayName", "epochs", "test:accuracy - Last"}
    assert shown["lineage"] == [
        "Input DataSet ContributedTo",
        "Input DataSet ContributedTo",
        "Input DataSet ContributedTo",
        "Input Image ContributedTo",
        "Output Model Produced",
    ]
    assert shown["running"] == 0


def test_model_trainer_of_v3_and_its_resources(exports: dict[str, str], tmp_path: Path) -> None:
    shown = run(".venv-sagemaker-sdk-v3", "model_trainer.py", exports, tmp_path)
    assert shown["sdk"].startswith("3.27.")
    assert shown["status"] == "Completed"
    assert shown["transitions"] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(shown["ends"])
    assert shown["seconds"][0] == shown["seconds"][1] > 0
    assert shown["job"] in shown["listed"]
    assert shown["tags"] == {"owner": "sdk"}
    assert shown["model"] == "model.tar.gz"
    assert shown["metrics"] == {"loss": 3}
    assert shown["associations"] == 1
    assert (shown["endpoints"], shown["missing"]) == (0, "ValidationException")
    assert shown["pipelines"] == "UnknownOperationException"


TUNING = """
[tuning]
objective_metric_name = "validation:loss"
strategy = "Bayesian"
max_number_of_training_jobs = {jobs}
max_parallel_training_jobs = 2
training_job_early_stopping_type = "Auto"
random_seed = 1

[tuning.parameter_ranges]
learning_rate = {{ min_value = 1e-6, max_value = 1e-3, scaling_type = "Logarithmic" }}
train_batch_size = {{ values = [8, 16] }}
"""

FEW_STEPS = {
    "epochs": "2",  # early stopping compares what a job has logged after the first one
    "train_steps_per_epoch": "3",
    "validation_steps": "1",
    "validation_batch_size": "32",
    "run_test": "false",
    "run_sample_predictions": "false",
    "enable_checkpointing": "false",
    "enable_sagemaker_debugger": "false",
    "enable_profiler": "false",
    # Two runs are compared to the last bit: what `auto` measures may come out otherwise.
    "use_xla": "false",
    "use_amp": "false",
}

TEXTS = ["It broke.", "Exactly what I needed.", "Not bad, not good. " * 40, "Broke after two days.", "Five stars!"]
"""Of mixed length: one is longer than the model's 64 tokens."""


@dataclass(frozen=True)
class Tuned:
    """A tuning job of the real image, and the training job of its best job file."""

    name: str
    rows: list[dict[str, Any]]
    """Its training jobs, the best first."""
    said: str
    trained: str
    model: str
    """S3 URI of the trained model."""
    expected: list[dict[str, Any]]
    """What the model's SavedModel predicts for TEXTS."""


@pytest.fixture(scope="session")
def tuned(
    launcher: Launcher,
    exports: dict[str, str],
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tuned:
    """`launcher tune --local` on the shipped reviews, whose server is killed: 12 jobs with --full, else 3."""
    folder = tmp_path_factory.mktemp("tuned")
    jobs = 12 if pytestconfig.getoption("--full") else 3
    job_file, best = folder / "job.toml", folder / "best.toml"
    job_file.write_text((REPOSITORY / "jobs/local.toml").read_text() + TUNING.format(jobs=jobs))
    settings = [f"--set=hyperparameters.{name}={value}" for name, value in FEW_STEPS.items()]
    switched_off = ("--without", "debugger", "--without", "profiler")
    rows, said = tune_while_the_server_is_killed(
        "tuned",
        ["--file", str(job_file), "--image", IMAGE, *settings, *switched_off],
        jobs=2,
        completed=jobs // 2,
        environment=launcher.environment,
    )
    best.write_text(launcher("tune", "best", "tuned", "--local", "--file", str(job_file)))
    launcher("train", "--local", "--file", str(best), "--image", IMAGE, "--job-name", "trained", *switched_off)
    launcher("download", "--local", "trained", "--to", str(folder))
    (folder / "reviews.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    launcher("local", "put", str(folder / "reviews.txt"), f"s3://{BUCKET}/conformance/texts/")
    launcher("local", "put", str(folder / "texts.json"), f"s3://{BUCKET}/conformance/")
    described = client("sagemaker", exports).describe_training_job(TrainingJobName="trained")
    model = described["ModelArtifacts"]["S3ModelArtifacts"]
    return Tuned("tuned", rows, said, "trained", model, predictions_of(folder / "model"))


def predictions_of(model: Path) -> list[dict[str, Any]]:
    """Return what code/inference.py of a model's folder predicts with the SavedModel, in the image."""
    script = (
        "import json, sys; sys.path.insert(0, '/model/code'); import inference;"
        f"print(json.dumps(inference.predict({TEXTS!r})))"
    )
    mounts = ["--volume", f"{model}:/model:ro", "--network", "none", "--label", "distilbert-trainer=run"]
    done = subprocess.run(
        ["docker", "run", "--rm", *mounts, "--entrypoint", "python", IMAGE, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predicted: list[dict[str, Any]] = json.loads(done.stdout)
    return predicted


def assert_predicted(predictions: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> None:
    assert [prediction["stars"] for prediction in predictions] == [prediction["stars"] for prediction in expected]
    for prediction, wanted in zip(predictions, expected, strict=True):
        assert prediction["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)


def client(service: str, exports: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=exports["AWS_ENDPOINT_URL"],
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="session")
def tiny_image() -> str:
    base = [str(REPOSITORY / "scripts/base_image.sh")]
    build_image(subprocess.run(base, capture_output=True, text=True, check=True).stdout.strip())
    return TINY_IMAGE


def test_the_launcher_tunes_while_its_server_is_killed(
    tuned: Tuned, exports: dict[str, str], scaled: Callable[..., int]
) -> None:
    print(tuned.said)
    sagemaker = client("sagemaker", exports)
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned.name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert len(tuned.rows) == scaled(12, in_ci=3)
    assert {row["status"] for row in tuned.rows} <= {"Completed", "Stopped"}
    assert job["BestTrainingJob"]["TrainingJobName"] == tuned.rows[0]["job"]
    training = sagemaker.list_training_jobs(NameContains=f"{tuned.name}-", MaxResults=100)["TrainingJobSummaries"]
    assert sorted(each["TrainingJobName"] for each in training) == sorted(row["job"] for row in tuned.rows)

    def at_once(begin: Any) -> int:
        """Return how many training jobs ran at a moment."""
        return sum(each["CreationTime"] <= begin < each["TrainingEndTime"] for each in training)

    assert max(at_once(each["CreationTime"]) for each in training) == 2

    def results(name: str) -> dict[str, float]:
        found = sagemaker.describe_training_job(TrainingJobName=name)["FinalMetricDataList"]
        return {metric["MetricName"]: metric["Value"] for metric in found if "per_second" not in metric["MetricName"]}

    assert results(tuned.trained) == results(tuned.rows[0]["job"])
    assert {"train:loss", "validation:loss", "validation:accuracy"} <= set(results(tuned.trained))


def test_v2_tunes_deploys_and_transforms(
    exports: dict[str, str], tmp_path: Path, tuned: Tuned, tiny_image: str
) -> None:
    shown = run(".venv-sagemaker-sdk", "tune_and_serve.py", exports, tmp_path, tiny_image, tuned.name)
    count, columns = shown["analytics"]
    assert (count, {"FinalObjectiveValue", "TrainingJobName", "rate"} <= set(columns)) == (3, True)
    assert shown["best"] == [True, True]
    assert shown["attached"] == [len(tuned.rows), tuned.rows[0]["job"]]
    assert_predicted(shown["predicted"], tuned.expected)
    assert_predicted(shown["transformed"], tuned.expected)


def test_v3_tunes_deploys_and_transforms(
    exports: dict[str, str], tmp_path: Path, tuned: Tuned, tiny_image: str
) -> None:
    shown = run(".venv-sagemaker-sdk-v3", "v3_tune_and_serve.py", exports, tmp_path, tiny_image, tuned.model)
    count, columns = shown["analytics"]
    assert (count, {"FinalObjectiveValue", "TrainingJobName", "rate"} <= set(columns)) == (3, True)
    assert shown["best"] == [True, True]
    assert shown["tuning"] == ["Completed", 3]
    assert (shown["endpoint"], shown["transform"], shown["left"]) == ("InService", "Completed", 0)
    assert_predicted(shown["predicted"], tuned.expected)
    assert_predicted(shown["transformed"], tuned.expected)


def transformed(exports: Mapping[str, str], uri: str) -> list[dict[str, Any]]:
    """Return the predictions of a transform job's output."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content = client("s3", exports).get_object(Bucket=bucket, Key=f"{key}/reviews.txt.out")["Body"].read()
    return [json.loads(line) for line in content.splitlines()]


def test_boto3_deploys_and_transforms(exports: dict[str, str], tuned: Tuned) -> None:
    sagemaker, runtime = client("sagemaker", exports), client("sagemaker-runtime", exports)
    name, role = "by-boto3", "arn:aws:iam::123456789012:role/Local"
    container = {"Image": IMAGE, "ModelDataUrl": tuned.model}
    sagemaker.create_model(
        ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role, EnableNetworkIsolation=True
    )
    serverless = {"MemorySizeInMB": 3072, "MaxConcurrency": 5}
    variant = {"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": serverless}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    once_a_second = {"Delay": 1, "MaxAttempts": 120}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=once_a_second)
    body = json.dumps({"instances": TEXTS})
    answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="application/json")
    assert_predicted(json.loads(answer["Body"].read())["predictions"], tuned.expected)
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        runtime.invoke_endpoint(EndpointName=name, Body="{", ContentType="application/json")
    assert caught.value.response["OriginalStatusCode"] == 400
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/conformance/texts/"}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        BatchStrategy="SingleRecord",
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/plain",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/conformance/boto3", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=name, WaiterConfig=once_a_second)
    assert_predicted(transformed(exports, f"s3://{BUCKET}/conformance/boto3"), tuned.expected)
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=once_a_second)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)


def test_the_cli_sends_what_the_launcher_prints(
    exports: dict[str, str], launcher: Launcher, tuned: Tuned, tiny_image: str, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_CONFIG_FILE": os.devnull, **exports}

    def aws(*arguments: str) -> Any:
        command = [str(Path(sys.executable).parent / "aws"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def send(requests: Mapping[str, Any]) -> None:
        for operation, request in requests.items():
            command = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in operation)[1:]
            aws("sagemaker", command, "--cli-input-json", json.dumps(request))

    def until_ended(resource: str, name: str, field: str) -> str:
        give_up = time.monotonic() + 240
        while True:
            status: str = aws("sagemaker", f"describe-{resource}", f"--{resource}-name", name)[field]
            if status not in ("Creating", "InProgress"):
                return status
            assert time.monotonic() < give_up
            time.sleep(0.5)

    send(json.loads(launcher("deploy", tuned.trained, "--local", "--dry-run", "--endpoint-name", "by-cli")))
    assert until_ended("endpoint", "by-cli", "EndpointStatus") == "InService"
    (tmp_path / "body.json").write_text(json.dumps({"instances": TEXTS}))
    body = ("--content-type", "application/json", "--body", "fileb://body.json", "answer.json")
    aws("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "by-cli", *body)
    assert_predicted(json.loads((tmp_path / "answer.json").read_text())["predictions"], tuned.expected)
    places = (f"s3://{BUCKET}/conformance/texts/", f"s3://{BUCKET}/conformance/cli")
    send(json.loads(launcher("transform", tuned.trained, *places, "--local", "--dry-run", "--job-name", "by-cli-t")))
    assert until_ended("transform-job", "by-cli-t", "TransformJobStatus") == "Completed"
    assert_predicted(transformed(exports, places[1]), tuned.expected)
    aws("sagemaker", "delete-endpoint", "--endpoint-name", "by-cli")

    (tmp_path / "job.toml").write_text(TINY_JOB.format(image=tiny_image))
    request = json.loads(launcher("tune", "--dry-run", "--file", str(tmp_path / "job.toml"), "--job-name", "cli"))
    send({"CreateHyperParameterTuningJob": request})
    ended = until_ended("hyper-parameter-tuning-job", "cli", "HyperParameterTuningJobStatus")
    assert ended == "Completed"
    listed = aws(
        "sagemaker",
        "list-training-jobs-for-hyper-parameter-tuning-job",
        "--hyper-parameter-tuning-job-name=cli",
        "--sort-by=FinalObjectiveMetricValue",
    )["TrainingJobSummaries"]
    values = [each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in listed]
    assert (len(values), values) == (2, sorted(values))


TINY_JOB = """\
region = "us-east-1"
account = "123456789012"
role = "arn:aws:iam::{{account}}:role/Local"
training_image = "{image}"
check_image_contract = false
bucket = "star-rating"
metric_definitions = {{ loss = "loss=([0-9.]+)" }}
[environment]
SCRIPT = '''echo loss=$(sed -n 's/.*"rate": "\\([^"]*\\)".*/\\1/p' /opt/ml/input/config/hyperparameters.json)'''
[stopping_condition]
max_runtime_in_seconds = 900
[tuning]
objective_metric_name = "loss"
max_number_of_training_jobs = 2
max_parallel_training_jobs = 2
[tuning.parameter_ranges]
rate = {{ min_value = 0.1, max_value = 0.9 }}
"""
