"""What AWS's clients see of jobs and images of this machine's engine."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from botocore.exceptions import ClientError

from tests.helpers.emulator import IMAGE, LocalSageMaker, channel, hosts

pytestmark = pytest.mark.docker

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
GROUP = "/aws/sagemaker/TrainingJobs"
REPOSITORY = "local-clients-test/job"


@pytest.fixture
def named_image(sagemaker: LocalSageMaker) -> Iterator[str]:  # noqa: ARG001 - it makes the image
    """An image of the engine with two tags of a repository in ECR, which ECR itself does not have; its Id."""
    engine = docker.from_env()
    names = [f"{REGISTRY}/{REPOSITORY}:{tag}" for tag in ("a", "b")]
    image = engine.images.get(IMAGE)
    for name in names:
        image.tag(name)
    yield str(image.id)
    for name in names:
        engine.images.remove(name)
    engine.close()


def test_ecr_tells_of_the_engine_s_images(sagemaker: LocalSageMaker, named_image: str) -> None:
    ecr = sagemaker.client("ecr")
    (image,) = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert (sorted(image["imageTags"]), image["imageDigest"]) == (["a", "b"], named_image)
    assert image["imageSizeInBytes"] > 1000
    listed = ecr.list_images(repositoryName=REPOSITORY, maxResults=1)
    assert listed["imageIds"] == [{"imageDigest": named_image, "imageTag": "a"}]
    rest = ecr.list_images(repositoryName=REPOSITORY, maxResults=1, nextToken=listed["nextToken"])
    assert rest["imageIds"] == [{"imageDigest": named_image, "imageTag": "b"}]
    (repository,) = ecr.describe_repositories(repositoryNames=[REPOSITORY])["repositories"]
    assert repository["repositoryUri"] == f"{REGISTRY}/{REPOSITORY}"
    ecr.create_repository(repositoryName="of-ecr-itself")
    names = [entry["repositoryName"] for entry in ecr.describe_repositories()["repositories"]]
    assert {REPOSITORY, "of-ecr-itself"} <= set(names)
    ecr.delete_repository(repositoryName="of-ecr-itself")
    got = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}, {"imageTag": "none"}])
    assert [entry["imageId"]["imageDigest"] for entry in got["images"]] == [named_image]
    assert [entry["failureCode"] for entry in got["failures"]] == ["ImageNotFound"]
    for wanted, code in (
        ({"repositoryName": "none"}, "RepositoryNotFoundException"),
        ({"repositoryName": REPOSITORY, "imageIds": [{"imageTag": "none"}]}, "ImageNotFoundException"),
    ):
        with pytest.raises(ClientError) as error:
            ecr.describe_images(**wanted)
        assert error.value.response["Error"]["Code"] == code


def test_cloudwatch_tells_how_busy_a_job_s_hosts_are(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create("trap 'exit 0' TERM; while :; do :; done", ResourceConfig=hosts(2))
    cloudwatch = sagemaker.client("cloudwatch")

    def maxima(host: str) -> dict[str, float]:
        now = dt.datetime.now(dt.UTC)
        metric = {"Namespace": GROUP, "Dimensions": [{"Name": "Host", "Value": f"{name}/{host}"}]}
        names = ("CPUUtilization", "MemoryUtilization", "DiskUtilization")
        queries = [
            {
                "Id": each.lower(),
                "Label": each,
                "MetricStat": {"Metric": metric | {"MetricName": each}, "Period": 86_400, "Stat": "Maximum"},
            }
            for each in names
        ]
        day = dt.timedelta(days=1)
        answer = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=now - day, EndTime=now + day)
        return {row["Label"]: max(row["Values"]) for row in answer["MetricDataResults"] if row["Values"]}

    sagemaker.wait_until(name, lambda _: all(len(maxima(host)) == 3 for host in ("algo-1", "algo-2")))
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    sagemaker.wait(name)
    for found in (maxima("algo-1"), maxima("algo-2")):
        assert found["CPUUtilization"] > 1  # of a core, on a machine that others use as well
        assert 0 < found["MemoryUtilization"] <= 100
        assert 0 < found["DiskUtilization"] <= 100
    listed = cloudwatch.list_metrics(Namespace=GROUP, MetricName="CPUUtilization")["Metrics"]
    assert {f"{name}/algo-1", f"{name}/algo-2"} <= {metric["Dimensions"][0]["Value"] for metric in listed}


JAVASCRIPT = Path(__file__).parent / "javascript"


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AWS's SDK for JavaScript, installed from npm; where that cannot be, the test says why it is left out."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("AWS's SDK for JavaScript is left out: there is no npm on this machine")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(JAVASCRIPT / name, folder)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if any(code in done.stderr for code in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH")):
        pytest.skip(f"AWS's SDK for JavaScript is left out: npm reaches no registry: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_sdk_for_javascript_runs_a_job(sagemaker: LocalSageMaker, javascript: Path) -> None:
    request = sagemaker.request(
        "cat /opt/ml/input/data/train/*; echo loss=0.25; echo weights > /opt/ml/model/weights",
        InputDataConfig=[channel("train", "train/")],
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://js-bucket/train/"
    request["OutputDataConfig"]["S3OutputPath"] = "s3://js-bucket/jobs"
    (javascript / "request.json").write_text(json.dumps(request))
    environment = {
        "AWS_ENDPOINT_URL": sagemaker.address,
        "AWS_ACCESS_KEY_ID": sagemaker.token,
        "AWS_SECRET_ACCESS_KEY": sagemaker.token,
        "AWS_REGION": "us-east-1",
        "PATH": os.environ["PATH"],
        "HOME": str(javascript),
    }
    done = subprocess.run(
        ["node", "client.mjs", "request.json"],
        cwd=javascript,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    name = request["TrainingJobName"]
    assert (said["waited"], said["status"], said["started"], said["metric"]) == ("SUCCESS", "Completed", True, 0.25)
    assert said["arn"].endswith(f":training-job/{name}")
    assert said["listed"] == said["found"] == [name]
    assert said["lines"] == ["a line", "loss=0.25"]
    assert said["model"] == [0x1F, 0x8B]
    assert said["absent"] == ["ValidationException", "Requested resource not found.", 400]
    assert said["pipeline"][0] == "UnknownOperationException"
    assert "CreatePipeline is not available" in said["pipeline"][1]
    assert said["invoked"] == ["ValidationError", "Endpoint none of account 123456789012 not found.", 400]
