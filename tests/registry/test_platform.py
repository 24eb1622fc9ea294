"""The platform team's way: from an empty account to a completed job by README's commands, and promotion by digest.

The account is the local SageMaker, with CloudFormation, IAM and ECR by moto and a real registry behind ECR. Images are
small ones that stand for the trainer; IMAGE itself takes the way in the long tier.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from scripts.image.registry import Repository, log_in
from tests.helpers.platform_account import REGION, account
from tests.helpers.pushing import COMMIT, PASSWORD, REPOSITORY, Images, forget_registry

pytestmark = pytest.mark.image

TAG = f"1.2.3-{COMMIT[:12]}"
CYCLONEDX, IN_TOTO = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"
PREPARE = (
    "for channel in train validation test; do mkdir -p /opt/ml/processing/output/$channel;"
    " cp /opt/ml/processing/input/*.tsv /opt/ml/processing/output/$channel/part-algo-1-0.tfrecord; done"
)
TRAIN = "cat /opt/ml/input/data/train/part-* > /opt/ml/model/weights && echo train:loss=0.25"


def program(name: str, script: str) -> str:
    """Return what puts a program into an image."""
    return f"printf '#!/bin/sh\\nset -e\\n{script}\\n' > /usr/bin/{name} && chmod 755 /usr/bin/{name}"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield an account that has nothing yet."""
    registry = [REPOSITORY / "scripts" / "docker_registry.sh"]
    found = subprocess.run(registry, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    with account(tmp_path_factory.mktemp("account"), found) as environment:
        yield environment
        forget_registry(f"{environment['REGISTRY']}/")


@pytest.fixture(scope="module")
def client(empty: dict[str, str]) -> Callable[[str], Any]:
    keys = {"aws_access_key_id": empty["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": empty["AWS_SECRET_ACCESS_KEY"]}
    return lambda service: boto3.client(service, REGION, endpoint_url=empty["AWS_ENDPOINT_URL"], **keys)


@pytest.fixture(scope="module")
def trainer(images: Images) -> str:
    """Return an image that prepares, trains, and passes a smoke test."""
    return images.add(images.build("platform"), program("prepare", PREPARE), program("train", TRAIN))


@pytest.fixture(scope="module")
def shell(empty: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return what runs commands in a clone of this repository, with nothing but the account; stderr goes to ours."""
    folder = tmp_path_factory.mktemp("newcomer")
    clone, launcher = folder / "clone", folder / "bin" / "launcher"
    subprocess.run(["git", "clone", "--quiet", "--shared", REPOSITORY, clone], check=True)
    for changed in ("README.md", "infrastructure", "launcher", "scripts"):  # as they are here, committed or not
        subprocess.run(["cp", "-r", REPOSITORY / changed, clone], check=True)
    (clone / ".venv").symlink_to(REPOSITORY / ".venv")
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {REPOSITORY}/.venv/bin/python -m launcher "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    environment = empty | {
        "PATH": f"{launcher.parent}:{REPOSITORY}/.venv/bin:{os.environ['PATH']}",
        "HOME": str(folder),
        "DOCKER_CONFIG": str(folder / "docker"),
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    if "DOCKER_HOST" in os.environ:
        environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=clone, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    run("git add --all && git commit --quiet --allow-empty --message here")
    return run


def door(image: str, *more: str) -> str:
    """Return the commands of README's door, with an image in the place of the build."""
    section = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("\n## I push images to ECR\n")[2]
    block = re.split(r"^```.*\n", section, maxsplit=2, flags=re.MULTILINE)[1]
    assert "pip install ." in block.splitlines()[0]
    commands = block.partition("\n")[2]
    return commands.replace("build_and_push.sh)", f"build_and_push.sh --image {image} {' '.join(more)})")


@pytest.fixture(scope="module")
def walked(shell: Callable[[str], str], trainer: str) -> str:
    """Walk README's door and return the URI of the image that was pushed."""
    return shell(door(trainer) + '\necho "$LAUNCHER_TRAINING_IMAGE"').splitlines()[-1]


def test_from_an_empty_account_to_a_completed_job(
    walked: str, shell: Callable[[str], str], client: Callable[[str], Any]
) -> None:
    """With the roles that the stack has made, and what `launcher setup` wrote into job.toml."""
    job = tomllib.loads(shell("cat job.toml"))
    stack = client("cloudformation").describe_stacks(StackName="star-rating")["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert (job["role"], job["bucket"]) == (outputs["Role"], outputs["Bucket"])
    sagemaker = client("sagemaker")
    (summary,) = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    ended = sagemaker.describe_training_job(TrainingJobName=summary["TrainingJobName"])
    assert ended["TrainingJobStatus"] == "Completed"
    assert (ended["RoleArn"], ended["AlgorithmSpecification"]["TrainingImage"]) == (outputs["Role"], walked)
    model = ended["ModelArtifacts"]["S3ModelArtifacts"]
    assert model.startswith(f"s3://{outputs['Bucket']}/star-rating/jobs/")
    (processed,) = sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
    assert processed["ProcessingJobStatus"] == "Completed"


@pytest.mark.long  # the real image's smoke test, push, Processing and training job: five minutes
def test_the_real_image_takes_the_same_way(
    walked: str, shell: Callable[[str], str], client: Callable[[str], Any]
) -> None:
    image = os.environ.get("IMAGE", "distilbert-trainer:local")
    commands = door(image, "--dirty", "mark").partition("git commit")[2].partition("\n")[2]
    uri = shell(f'{commands}\necho "$LAUNCHER_TRAINING_IMAGE"').splitlines()[-1]
    assert uri != walked
    jobs = client("sagemaker").list_training_jobs(SortBy="CreationTime", SortOrder="Descending")
    assert jobs["TrainingJobSummaries"][0]["TrainingJobStatus"] == "Completed"


@pytest.fixture(scope="module")
def production(client: Callable[[str], Any]) -> str:
    name = "production/distilbert-trainer"
    client("ecr").create_repository(repositoryName=name)
    return name


@pytest.fixture(scope="module")
def repository(empty: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Repository]:
    login = tmp_path_factory.mktemp("login")
    log_in([empty["REGISTRY"]], login, PASSWORD)
    return lambda name: Repository(f"{empty['REGISTRY']}/{name}", login)


def promote(shell: Callable[[str], str], uri: str, production: str, *options: str, exits: int = 0) -> tuple[str, str]:
    """Promote an image and return what was said on stdout and stderr."""
    role = '$(python -c \'import tomllib; print(tomllib.load(open("job.toml", "rb"))["role"])\')'
    command = f'scripts/promote.sh --to {production} --role "{role}" {" ".join(options)} "{uri}"'
    said = shell(f"status=0; {command} 2> said || status=$?; cat said >&2; echo; echo $status; cat said; rm said")
    stdout, code, stderr = re.split(r"^(\d+)\n", said, maxsplit=1, flags=re.MULTILINE)
    assert int(code) == exits, stderr
    return stdout.strip(), stderr


def test_an_image_is_promoted_by_digest_with_what_refers_to_it(
    walked: str,
    shell: Callable[[str], str],
    production: str,
    repository: Callable[[str], Repository],
    client: Callable[[str], Any],
) -> None:
    digest = walked.partition("@")[2]
    staging, target = repository("distilbert-trainer"), repository(production)
    # As cosign signs: an image of its own under a tag made of the digest.
    signature = staging.manifest(next(iter(staging.referrers(digest)))["digest"])
    assert signature is not None
    signed = f"{digest.replace(':', '-')}.sig"
    staging.put_manifest(signature.content, signature.headers.get_content_type(), signed)

    for _ in range(2):  # the second time nothing is left to be done
        uri, _ = promote(shell, walked, production)
        assert uri == f"{walked.partition('/')[0]}/{production}@{digest}"
    for reference in (digest, TAG, signed):
        here, there = staging.manifest(reference), target.manifest(reference)
        assert here is not None
        assert there is not None
        assert there.content == here.content
    assert {entry["artifactType"] for entry in target.referrers(digest)} == {CYCLONEDX, IN_TOTO}
    for entry in target.referrers(digest):
        artifact = target.manifest(entry["digest"])
        assert artifact is not None
        layer = json.loads(artifact.content)["layers"][0]["digest"]
        assert target.blob(layer) == staging.blob(layer)
    jobs = client("sagemaker").list_processing_jobs(NameContains="smoke")["ProcessingJobSummaries"]
    assert {job["ProcessingJobStatus"] for job in jobs} == {"Completed"}


def test_a_promotion_is_refused_if_the_smoke_job_failed_or_ran_another_image(
    walked: str,
    shell: Callable[[str], str],
    production: str,
    images: Images,
    repository: Callable[[str], Repository],
    client: Callable[[str], Any],
) -> None:
    # Its smoke test passes where it is built, and fails in the job: there is no /opt/ml/processing before.
    failing = images.add(
        images.build("failing", revision="f" * 40),
        program("smoke", "test ! -e /opt/ml/config/processingjobconfig.json"),
    )
    uri = shell(f"scripts/build_and_push.sh --image {failing} --output out/failing").strip()
    digest = uri.partition("@")[2]
    _, said = promote(shell, uri, production, exits=6)
    assert "ended as Failed" in said
    (job,) = client("sagemaker").list_processing_jobs(StatusEquals="Failed")["ProcessingJobSummaries"]
    _, said = promote(shell, walked, production, "--job", job["ProcessingJobName"], exits=8)
    assert f"not the smoke test of {walked}" in said
    assert repository(production).manifest(digest) is None
    assert repository(production).manifest("1.2.3-ffffffffffff") is None


def test_a_promotion_is_refused_if_the_tag_or_the_digest_is_anothers(
    walked: str,
    shell: Callable[[str], str],
    images: Images,
    repository: Callable[[str], Repository],
    client: Callable[[str], Any],
) -> None:
    jobs = client("sagemaker").list_processing_jobs(NameContains="smoke", StatusEquals="Completed")
    passed = jobs["ProcessingJobSummaries"][0]["ProcessingJobName"]
    other = images.build("another content")
    client("ecr").create_repository(repositoryName="taken")
    taken = shell(f"scripts/build_and_push.sh --image {other} --repository taken --output out/taken").strip()
    before = repository("taken").manifest(TAG)
    _, said = promote(shell, walked, "taken", "--job", passed, exits=8)
    assert f"{TAG} is in the target with another content, {taken.partition('@')[2]}" in said
    after = repository("taken").manifest(TAG)
    assert before is not None
    assert after is not None
    assert after.content == before.content
    missing = f"{walked.partition('@')[0]}@sha256:{'0' * 64}"
    _, said = promote(shell, missing, "taken", "--job", passed, exits=9)
    assert "is not in the registry" in said
    _, said = promote(shell, f"{walked.partition('@')[0]}:{TAG}", "taken", exits=2)
    assert "is no image by digest" in said
