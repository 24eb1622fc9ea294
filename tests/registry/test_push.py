"""build_and_push.sh against ECR's API and a real registry: what it makes, what it leaves alone, what it refuses."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import decode

from scripts.image.errors import ImageError
from scripts.image.identity import published_image, tag_of_published
from scripts.image.registry import Repository, log_in
from scripts.image.transfer import soci_index
from tests.helpers.ecr_stand_in import LOGIN, EcrStandIn
from tests.helpers.iam import listed, statements
from tests.helpers.pushing import COMMIT, PASSWORD, REPOSITORY, CutOff, Images, Push, Result, inspect

pytestmark = [pytest.mark.image, pytest.mark.usefixtures("cut_off")]

TAG = f"1.2.3-{COMMIT[:12]}"
JOB = """
region = "us-east-1"
account = "123456789012"
role = "arn:aws:iam::{account}:role/Local"
training_image = "none"
base_job_name = "pushed"
bucket = "star-rating"

[compute]
instance_type = "ml.c7i.2xlarge"

[hyperparameters]
run_validation = false
run_test = false

[input_data_config.train]
s3_uri = "s3://{bucket}/channels/train/"

[output_data_config]
s3_output_path = "s3://{bucket}/jobs/"
"""
SHARED = "team/star-rating"
UPLOADS = {"POST uploads", "PATCH uploads", "PUT uploads", "PUT manifests"}


@dataclass(frozen=True)
class Pushed:
    """What a push has done."""

    image: str
    push: Push
    result: Result


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """Return a repository's name that no other test has."""
    return str(request.node.name).removeprefix("test_").replace("_", "-")[:60].strip("-")


def manifest(ecr: EcrStandIn, repository: str, reference: str) -> dict[str, Any]:
    content = ecr.registry_get(f"{repository}/manifests/{reference}")
    assert content is not None, reference
    found: dict[str, Any] = json.loads(content)
    return found


def assert_refused(result: Result, exit_code: int, *sentences: str) -> None:
    assert result.exit_code == exit_code, result.stderr
    assert result.stdout == ""
    for sentence in sentences:
        assert sentence in result.stderr


def assert_nothing_is_left(ecr: EcrStandIn, repository: str, push: Push, image: str) -> None:
    assert ecr.registry_get(f"{repository}/manifests/{TAG}") is None
    assert list(push.temporary.iterdir()) == []
    assert not (push.output / "digest").exists()
    assert f"/{repository}:" not in str(inspect(image)["RepoTags"])


@pytest.fixture(scope="module")
def pushed(_ecr: EcrStandIn, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """Push an image into a repository that is not there yet."""
    image, push = images.build("first"), Push(_ecr.endpoint, tmp_path_factory.mktemp("first-push"))
    return Pushed(image, push, push("--image", image, "--repository", SHARED))


def test_the_first_push(ecr: EcrStandIn, pushed: Pushed) -> None:
    result, output = pushed.result, pushed.push.output
    assert result.exit_code == 0, result.stderr
    assert "smoke: checks" in result.stderr

    # The digest is the same four times: printed, in the registry's bytes, in Docker's record, in the file for CI.
    uri, _, digest = result.stdout.removesuffix("\n").partition("@")
    assert uri == f"127.0.0.1:{ecr.port}/{SHARED}"
    content = ecr.registry_get(f"{SHARED}/manifests/{TAG}")
    assert content is not None
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert f"{uri}@{digest}" in inspect(pushed.image)["RepoDigests"]
    assert (output / "digest").read_text(encoding="utf-8") == f"{digest}\n"
    assert json.loads(content)["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"

    found = ecr.client("ecr").describe_repositories(repositoryNames=[SHARED])["repositories"][0]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["encryptionConfiguration"]["encryptionType"] == "AES256"
    policy = ecr.client("ecr").get_lifecycle_policy(repositoryName=SHARED)["lifecyclePolicyText"]
    assert json.loads(policy)["rules"][0]["selection"]["tagPatternList"] == ["*-dirty-*"]

    assert list(pushed.push.temporary.iterdir()) == []


def test_sbom_and_provenance_are_attached_to_the_image(ecr: EcrStandIn, pushed: Pushed) -> None:
    uri, _, digest = pushed.result.stdout.strip().partition("@")
    # This registry keeps no list of referrers: OCI's clients look under a tag made of the digest.
    entries = manifest(ecr, SHARED, digest.replace(":", "-"))["manifests"]
    types = {entry["artifactType"]: entry["digest"] for entry in entries}
    files = {
        "application/vnd.cyclonedx+json": "sbom.cdx.json",
        "application/vnd.in-toto+json": "provenance.intoto.json",
    }
    assert set(types) == set(files)
    for kind, name in files.items():
        artifact = manifest(ecr, SHARED, types[kind])
        assert artifact["subject"]["digest"] == digest
        content = ecr.registry_get(f"{SHARED}/blobs/{artifact['layers'][0]['digest']}")
        assert content == (pushed.push.output / name).read_bytes()
    stated = json.loads((pushed.push.output / "provenance.intoto.json").read_bytes())
    assert stated["subject"] == [{"name": uri, "digest": {"sha256": digest.removeprefix("sha256:")}}]


@pytest.mark.usefixtures("ecr")
def test_the_workflow_gets_the_digest_and_the_image_is_signed_as_it_says(pushed: Pushed, tmp_path: Path) -> None:
    """scripts/publish.sh with a cosign that keeps what it was told: none can be had here."""
    cosign = tmp_path / "cosign"
    cosign.write_text(f'#!/bin/sh\ntest -s "$DOCKER_CONFIG/config.json" && echo "$*" >> {tmp_path}/told\n')
    cosign.chmod(0o755)
    told = {"PATH": f"{tmp_path}:{pushed.push.environment['PATH']}", "COSIGN_SIGN": "keyless"}
    told |= {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    options = ["--output", str(tmp_path / "image"), "--image", pushed.image, "--repository", SHARED]
    for more in ([], ["--sign", "awskms:///alias/images"]):
        subprocess.run(
            [str(REPOSITORY / "scripts" / "publish.sh"), *options, *more],
            env=pushed.push.environment | told,
            check=True,
            capture_output=True,
        )
    uri = pushed.result.stdout.strip()
    lines = (tmp_path / "output").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == [f"image={uri}", f"digest={uri.partition('@')[2]}"]
    assert uri in (tmp_path / "summary").read_text(encoding="utf-8")
    assert (tmp_path / "told").read_text(encoding="utf-8").splitlines() == [
        f"sign --yes {uri}",
        f"sign --yes --key awskms:///alias/images {uri}",
    ]


SOCI = """\
#!{python}
import gzip, hashlib, json, pathlib, shutil, sys

convert, standalone, form, kind, source, target = sys.argv[1:]
assert (convert, standalone, form, kind) == ("convert", "--standalone", "--format", "oci-dir")
shutil.copytree(source, target)
blobs = pathlib.Path(target, "blobs", "sha256")


def put(content, **more):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return dict(digest="sha256:" + digest, size=len(content), **more)


index = json.loads(pathlib.Path(target, "index.json").read_bytes())
(top,) = index["manifests"]
image = json.loads((blobs / top["digest"][7:]).read_bytes())
config = json.loads((blobs / image["config"]["digest"][7:]).read_bytes())
oci, soci = "application/vnd.oci.image", "application/vnd.amazon.soci.index.v2+json"
tables = []
for layer in image["layers"]:
    with gzip.open(blobs / layer["digest"][7:]) as unpacked:  # its table of contents needs all of it
        size = len(unpacked.read())
    about = {{"com.amazon.soci.image-layer-digest": layer["digest"]}}
    tables.append(put(b"zTOC of %d bytes" % size, mediaType="application/octet-stream", annotations=about))
empty = put({{}}, mediaType=soci)
document = dict(schemaVersion=2, mediaType=oci + ".manifest.v1+json", artifactType=soci, config=empty, layers=tables)
platform = {{"os": config["os"], "architecture": config["architecture"]}}
beside = put(document, mediaType=oci + ".manifest.v1+json", artifactType=soci, platform=platform)
image |= {{"mediaType": oci + ".manifest.v1+json", "annotations": {{"com.amazon.soci.index-digest": beside["digest"]}}}}
image["config"]["mediaType"] = oci + ".config.v1+json"
about = put(image, mediaType=image["mediaType"], platform=platform, annotations=image["annotations"])
beside["annotations"] = {{"com.amazon.soci.image-manifest-digest": about["digest"]}}
both = dict(schemaVersion=2, mediaType=oci + ".index.v1+json", manifests=[about, beside])
index["manifests"] = [put(both, mediaType=both["mediaType"])]
pathlib.Path(target, "index.json").write_text(json.dumps(index))
"""
"""What `soci convert --standalone` 0.13 makes of a layout (soci-snapshotter's soci/soci_convert.go), but for the tables
of contents themselves: the program can be had from no package registry here."""


def test_a_soci_index_is_pushed_under_a_second_tag_and_the_image_in_it_is_the_one_that_was_pushed(
    ecr: EcrStandIn, pushed: Pushed, push: Push, tmp_path: Path
) -> None:
    assert_refused(push("--image", pushed.image, "--repository", SHARED, "--soci"), 1, "soci is not in PATH")
    tool = tmp_path / "bin" / "soci"
    tool.parent.mkdir()
    tool.write_text(SOCI.format(python=REPOSITORY / ".venv" / "bin" / "python"), encoding="utf-8")
    tool.chmod(0o755)
    path = f"{tool.parent}:{push.environment['PATH']}"
    results = [push("--image", pushed.image, "--repository", SHARED, "--soci", PATH=path)]
    tool.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")  # the second time it is not needed
    results.append(push("--image", pushed.image, "--repository", SHARED, PATH=path, SOCI="1"))
    assert [(one.exit_code, one.stdout) for one in results] == [(0, pushed.result.stdout)] * 2, results

    index = manifest(ecr, SHARED, f"{TAG}-soci")
    digest = (push.output / "soci-digest").read_text(encoding="utf-8").strip()
    assert manifest(ecr, SHARED, digest) == index
    image, beside = (manifest(ecr, SHARED, entry["digest"]) for entry in index["manifests"])
    assert beside["artifactType"] == "application/vnd.amazon.soci.index.v2+json"
    assert [one["annotations"]["com.amazon.soci.image-layer-digest"] for one in beside["layers"]] == [
        layer["digest"] for layer in image["layers"]
    ]
    original = manifest(ecr, SHARED, TAG)
    assert image["layers"] == original["layers"]

    login = tmp_path / "login"
    login.mkdir()
    log_in([f"127.0.0.1:{ecr.port}"], login, PASSWORD)
    repository = Repository(f"127.0.0.1:{ecr.port}/{SHARED}", login)
    found = published_image(repository, f"{TAG}-soci")
    assert (found.digest, found.is_soci) == (digest, True)
    assert found.record["Id"] == original["config"]["digest"]
    assert tag_of_published(found) == f"{TAG}-soci"
    # It is no tag of another image's index.
    with pytest.raises(ImageError, match="another content"):
        soci_index(repository, TAG, digest)

    attestation = index["manifests"][1] | {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    for entries, sentence in (
        ([index["manifests"][0], attestation], r"docker build --provenance=false --sbom=false"),
        ([*index["manifests"], index["manifests"][0]], "not of one image and its SOCI index"),
    ):
        other = json.dumps(index | {"manifests": entries}).encode()
        reference = f"sha256:{hashlib.sha256(other).hexdigest()}"
        repository.put_manifest(other, index["mediaType"], reference)
        with pytest.raises(ImageError, match=sentence):
            published_image(repository, reference)
    with pytest.raises(ImageError, match="no image"):
        published_image(repository, index["manifests"][1]["digest"])


def test_signing_without_cosign_is_refused_before_anything_is_done(images: Images, push: Push) -> None:
    result = push("--image", images.build("first"), "--sign", "keyless")
    assert (result.exit_code, "cosign is not in PATH" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "scripts"),
    [("publish", ["scripts/publish.sh", 'scripts/promote.sh "$IMAGE"']), ("rebuild", ["scripts/rebuild.sh"])],
)
def test_every_step_of_a_workflow_is_one_script_of_this_repository(name: str, scripts: list[str]) -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ +(?:- )?run: (.*)$", workflow, re.MULTILINE) == scripts


@pytest.mark.parametrize("rebuilt", [False, True], ids=["the image", "the same layers, built at another time"])
def test_a_second_push_changes_nothing(
    ecr: EcrStandIn,
    images: Images,
    push: Push,
    pushed: Pushed,
    rebuilt: bool,  # noqa: FBT001 - parametrized
) -> None:
    image = images.again(pushed.image) if rebuilt else pushed.image
    assert (inspect(image)["Id"] != inspect(pushed.image)["Id"]) == rebuilt
    result = push("--image", image, "--repository", SHARED)
    assert (result.exit_code, result.stdout) == (0, pushed.result.stdout), result.stderr
    assert f"{TAG} is there already" in result.stderr
    assert not {"CreateRepository", *UPLOADS} & set(ecr.calls)
    assert (push.output / "digest").read_text(encoding="utf-8").strip() in result.stdout


@pytest.mark.usefixtures("pushed")
def test_another_content_under_the_same_tag(ecr: EcrStandIn, images: Images, push: Push) -> None:
    before = manifest(ecr, SHARED, TAG)
    result = push("--image", images.build("second"), "--repository", SHARED)
    assert_refused(result, 8, f"{TAG} is in the registry with another content, sha256:", "layers", "commit the change")
    assert manifest(ecr, SHARED, TAG) == before
    assert not UPLOADS & set(ecr.calls)


def test_uncommitted_changes(ecr: EcrStandIn, images: Images, push: Push, repository: str) -> None:
    image = images.build("first", revision=f"{COMMIT}-dirty")
    assert_refused(push("--image", image, "--repository", repository), 3, "uncommitted changes", "--dirty mark")
    result = push("--image", image, "--repository", repository, "--dirty", "mark")
    assert result.exit_code == 0, result.stderr
    assert manifest(ecr, repository, f"{TAG}-dirty-{inspect(image)['Id'].removeprefix('sha256:')[:8]}")


@pytest.mark.parametrize(
    ("environment", "expired", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "stranger"}, False, ("UnrecognizedClientException", "aws sts get-caller-identity")),
        ({}, True, ("ExpiredTokenException", "get new credentials")),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, False, ("Could not connect", "check region and network")),
    ],
    ids=["wrong", "expired", "unreachable"],
)
def test_credentials(
    ecr: EcrStandIn,
    images: Images,
    push: Push,
    environment: dict[str, str],
    expired: bool,  # noqa: FBT001 - parametrized
    said: tuple[str, ...],
) -> None:
    ecr.session_expired = expired
    result = push("--image", images.build("first"), **environment)
    assert_refused(result, 4, "could not ask ECR for the repository distilbert-trainer", *said)


@pytest.mark.parametrize(
    ("action", "exit_code", "what"),
    [
        ("ecr:CreateRepository", 4, "could not make the repository"),
        ("ecr:PutLifecyclePolicy", 4, "its lifecycle policy"),
        ("ecr:InitiateLayerUpload", 9, "could not push the image"),
        ("ecr:PutImage", 9, "could not push the image"),
    ],
)
def test_a_missing_permission(
    ecr: EcrStandIn, images: Images, push: Push, action: str, exit_code: int, what: str
) -> None:
    repository = action.lower().replace(":", "-")
    ecr.denied = {action}
    image = images.build("first")
    result = push("--image", image, "--repository", repository)
    assert_refused(result, exit_code, what, f"not authorized to perform: {action}", "docs/publishing.md lists")
    assert_nothing_is_left(ecr, repository, push, image)

    if action == "ecr:PutLifecyclePolicy":  # again, with the permission: the policy is not forgotten
        ecr.denied = set()
        assert push("--image", image, "--repository", repository).exit_code == 0
        assert ecr.client("ecr").get_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"]


ACTIONS = {
    "DescribeRepositories": "ecr:DescribeRepositories",
    "GetAuthorizationToken": "ecr:GetAuthorizationToken",
    "GET manifests": "ecr:BatchGetImage",
    "HEAD manifests": "ecr:BatchGetImage",
    "GET blobs": "ecr:GetDownloadUrlForLayer",
    "HEAD blobs": "ecr:BatchCheckLayerAvailability",
    "POST uploads": "ecr:InitiateLayerUpload",
    "PATCH uploads": "ecr:UploadLayerPart",
    "PUT uploads": "ecr:CompleteLayerUpload",
    "PUT manifests": "ecr:PutImage",
}
"""What of its API ECR asks IAM for when a registry's client comes: "Private repository policies" in its guide."""


def test_the_publishers_role_has_what_a_push_needs(
    ecr: EcrStandIn, images: Images, push: Push, repository: str
) -> None:
    """The repository is there: the stack that makes the role makes it too."""
    ecr.client("ecr").create_repository(repositoryName=repository)
    ecr.calls.clear()
    image = images.build("first")
    assert push("--image", image, "--repository", repository).exit_code == 0
    # Another build of the same: its settings are compared with what is there.
    assert push("--image", images.again(image), "--repository", repository).exit_code == 0
    needed = {ACTIONS[call] for call in ecr.calls if call not in ("GET login", "HEAD login")}
    template = decode(str(REPOSITORY / "infrastructure" / "template.yaml"))[0]
    document = template["Resources"]["PublisherPolicy"]["Properties"]["PolicyDocument"]
    assert {action for one in statements(document) for action in listed(one["Action"])} == needed


def test_a_login_that_expires_before_the_push(ecr: EcrStandIn, images: Images, push: Push, repository: str) -> None:
    ecr.login_expires = True
    image = images.build("first")
    result = push("--image", image, "--repository", repository)
    assert_refused(result, 9, "authorization token has expired", "run this again")
    assert_nothing_is_left(ecr, repository, push, image)


def test_a_failing_smoke_test_pushes_nothing(ecr: EcrStandIn, images: Images, push: Push, repository: str) -> None:
    image = images.build("first", smoke=1)
    result = push("--image", image, "--repository", repository)
    assert_refused(result, 6, "smoke: checks", "the smoke test failed")
    assert not {"CreateRepository", *UPLOADS} & set(ecr.calls)
    assert_nothing_is_left(ecr, repository, push, image)
    running = ["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]
    assert subprocess.run(running, stdout=subprocess.PIPE, check=True).stdout == b""


def test_known_vulnerabilities(ecr: EcrStandIn, images: Images, push: Push, repository: str, scanners: Path) -> None:
    image = images.build("first")
    path = f"{scanners}:{push.environment['PATH']}"
    result = push("--image", image, "--repository", repository, "--fail-on", "critical", PATH=path)
    assert_refused(result, 7, "vulnerabilities of severity critical or worse")
    assert not {"CreateRepository", *UPLOADS} & set(ecr.calls)
    assert (push.output / "vulnerabilities.json").read_text(encoding="utf-8") == "found\n"


@pytest.fixture
def scanners(tmp_path: Path) -> Path:
    """Return a folder with a grype that finds something; no scanner can be had here."""
    folder = tmp_path / "scanners"
    folder.mkdir()
    program = folder / "grype"
    program.write_text('#!/bin/bash\necho found > "$5"\n[[ " $* " != *" --fail-on "* ]]\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def test_the_password_is_in_no_command_and_no_log_and_a_dry_run_shows_the_commands(
    ecr: EcrStandIn, images: Images, push: Push, repository: str, tmp_path: Path
) -> None:
    for tool in ("aws", "docker", "timeout"):
        spy = tmp_path / "spies" / tool
        spy.parent.mkdir(exist_ok=True)
        spy.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "{tool} $*" >> "{tmp_path}/commands"\nPATH=${{PATH#*:}}\nexec {tool} "$@"\n',
            encoding="utf-8",
        )
        spy.chmod(0o755)
    path = f"{tmp_path}/spies:{push.environment['PATH']}"
    options = ["--image", images.build("first"), "--repository", repository]
    result = push(*options, PATH=path)
    assert result.exit_code == 0, result.stderr
    commands = (tmp_path / "commands").read_text(encoding="utf-8")
    password = LOGIN.partition(":")[2]
    assert "get-login-password" in commands
    assert password not in commands + result.stderr

    shown = push(*options, "--dry-run").stdout
    digest = result.stdout.strip().partition("@")[2]
    for known, variable in {
        f"127.0.0.1:{ecr.port}/{repository}": "$repository_uri",
        f"127.0.0.1:{ecr.port}": "${repository_uri%%/*}",
        inspect(options[1])["Id"]: "$image_id",
        digest: "$digest",
        TAG: "$tag",
    }.items():
        commands = commands.replace(known, variable)
    ours = [
        line for line in commands.splitlines() if line.startswith(("aws", "timeout", "docker tag", "docker --conf"))
    ]
    assert len(ours) > 6
    assert [line for line in map(without_its_own, ours) if line not in without_its_own(shown)] == []


def without_its_own(text: str) -> str:
    """Return commands without what each run calls differently: its folder, its container."""
    return re.sub(r"smoke-\d+", "smoke-N", re.sub(r"--(docker-)?config \S+", "--config $work", text))


def test_a_registry_that_dies_in_the_middle_of_a_layer(ecr: EcrStandIn, cut_off: CutOff) -> None:
    push, repository = cut_off.push, "mortal/star-rating"
    result = push.wait(cut_off.process)
    assert_refused(result, 9, "could not push the image", "502 Bad Gateway", "run this again")
    ecr.mortal.start()
    assert_nothing_is_left(ecr, repository, push, cut_off.image)
    again = push("--image", cut_off.image, "--repository", repository)
    assert again.exit_code == 0, again.stderr
    assert again.stdout.startswith(f"127.0.0.1:{ecr.port}/{repository}@sha256:")


def test_the_launcher_runs_what_was_pushed(images: Images, push: Push, repository: str, tmp_path: Path) -> None:
    """From the registry: the engine has no image of that name when the job begins."""
    image = images.add(
        images.build("first"),
        "printf '#!/bin/sh\\necho train:loss=0.25; echo trained > /opt/ml/model/weights' > /usr/bin/train"
        " && chmod 755 /usr/bin/train",
    )
    uri = push("--image", image, "--repository", repository).stdout.strip()
    push.log_in(uri)
    images.forget(uri)
    job = tmp_path / "job.toml"
    job.write_text(JOB, encoding="utf-8")
    environment = push.environment | {"XDG_STATE_HOME": str(tmp_path / "state")}
    del environment["AWS_ENDPOINT_URL"]

    def launcher(*arguments: str) -> str:
        command = [str(REPOSITORY / ".venv" / "bin" / "python"), "-m", "launcher", *arguments]
        result = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return str(result.stdout)

    try:
        launcher("local", "put", str(job), "s3://star-rating/channels/train/")
        log = launcher("train", "--local", "--file", str(job), "--image", uri)
        assert "train:loss=0.25" in log
        assert json.loads(launcher("status", "--local", "latest", "--output", "json"))["status"] == "Completed"
        launcher("download", "--local", "latest", "--to", str(tmp_path / "model"))
        (weights,) = (tmp_path / "model").rglob("weights")
        assert weights.read_text(encoding="utf-8") == "trained\n"
        images.forget(uri)
    finally:
        launcher("local", "stop", "--force")


def test_the_password_of_a_run_that_was_killed_goes_with_the_next_one(push: Push) -> None:
    dead, alive = (REPOSITORY / ".cache" / f"push.test-{name}-{os.getpid()}" for name in ("dead", "alive"))
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("password")
    lock = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert push("--image", "there-is-none:here").exit_code == 5
        assert (dead.exists(), alive.exists()) == (False, True)
    finally:
        os.close(lock)
    assert push("--image", "there-is-none:here").exit_code == 5
    assert not alive.exists()
