"""`launcher process` and the checks that ask AWS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.aws.network import check_subnets
from launcher.aws.preflight import _image, _principal, _row
from launcher.aws.session import Session
from launcher.cli.main import main
from launcher.errors import JobFileError
from tests.helpers.job_files import write
from tests.helpers.prepare_fixtures import make_weights, write_tsv
from tests.helpers.sagemaker_stand_in import ALLOWS_EVERYTHING, BUCKET, ROLE, SCRIPTS, ApiError, Fault, StandIn

CHANNELS = ("train", "validation", "test")


@pytest.fixture
def processing_file(tmp_path: Path) -> str:
    return str(write(tmp_path / "job.toml", {"processing.s3_input": '"s3://{bucket}/reviews/"'}))


def test_process_runs_the_images_prepare(
    aws: StandIn, processing_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["process", "--file", processing_file, "--job-name", "reviews-to-channels", "--poll-interval", "0.05"]
    assert main([*command, "--set", 'processing.arguments=["--max-seq-length", "64"]']) == 0
    request = aws.processing["reviews-to-channels"]
    assert request["AppSpecification"]["ContainerArguments"] == ["prepare", "--max-seq-length", "64"]
    assert request["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/input"
    assert "3336 train reviews" in capsys.readouterr().err


def keys(aws: StandIn, prefix: str) -> list[str]:
    found = aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"].removeprefix(prefix) for entry in found.get("Contents", [])]


OF_PREPARE = ("part-algo-1-old.tfrecord", "manifest-algo-2.json", "texts-algo-1.u64")


@pytest.fixture
def written_before(aws: StandIn, processing_file: str) -> list[str]:
    """Return the command that writes where an earlier run of prepare has written, and others too."""
    mine = ("train/notes.txt", "train/nested/part-a.tfrecord", "model/part-a.tfrecord", "reviews.tsv")
    for name in (*(f"{channel}/{name}" for channel in CHANNELS for name in OF_PREPARE), *mine):
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"mixed/{name}", Body=b"x")
    output = 'processing.s3_output="s3://{bucket}/mixed"'
    return ["process", "--file", processing_file, "--set", output, "--poll-interval", "0.05", "--job-name"]


def test_a_run_replaces_the_records_of_earlier_runs_and_nothing_else(
    aws: StandIn, written_before: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*written_before, "dry", "--dry-run"]) == 0
    assert len(keys(aws, "mixed/")) == 13
    assert main([*written_before, "replaces"]) == 0
    left = ["model/part-a.tfrecord", "reviews.tsv", "train/nested/part-a.tfrecord", "train/notes.txt"]
    assert keys(aws, "mixed/") == left
    assert "removed 9 object(s) of earlier runs below s3://" in capsys.readouterr().err


def test_a_run_that_is_refused_removes_nothing(aws: StandIn, written_before: list[str]) -> None:
    aws.faults = [Fault("CreateProcessingJob", ApiError("ResourceLimitExceeded", "no quota"), 1)]
    assert main([*written_before, "refused"]) != 0
    assert len(keys(aws, "mixed/")) == 13


def test_a_processing_job_that_fails_says_what_the_image_said(
    aws: StandIn, processing_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.script = SCRIPTS["failed"]
    assert main(["process", "--file", processing_file, "--job-name", "unprepared", "--poll-interval", "0.05"]) == 3
    assert "unprepared failed: The column review_body is missing." in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_a_wait_that_is_given_up_says_how_to_come_back(
    processing_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["process", "--file", processing_file, "--job-name", "slow", "--poll-interval", "0.05"]
    assert main([*command, "--timeout", "0"]) == 124
    way_back = "aws sagemaker describe-processing-job --processing-job-name slow --region us-east-1"
    assert f"slow has not ended after 0 s, and continues: {way_back}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processing.s3_input": None}, "processing is missing: a table with s3_input"),
        ({"processing.s3_input": '"reviews"'}, "processing.s3_input is 'reviews', which does not have the form"),
        ({"processing.instance_type": '"ml.c5.3xlarge"'}, "processing.instance_type is 'ml.c5.3xlarge'; did you mean"),
    ],
)
def test_a_wrong_processing_section_says_what_to_change(
    changes: dict[str, str | None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there: dict[str, str | None] = {"processing.s3_input": '"s3://{bucket}/reviews/"'}
    path = write(tmp_path / "job.toml", there | changes)
    assert main(["process", "--file", str(path), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def everything_there(aws: StandIn) -> StandIn:
    """Image, role and channels that the good job file names."""
    s3, ecr, iam = aws.client("s3"), aws.client("ecr"), aws.client("iam")
    for channel in CHANNELS:
        s3.put_object(Bucket=BUCKET, Key=f"{channel}/part.tfrecord", Body=b"record")
    if not any(found["repositoryName"] == "star-rating" for found in ecr.describe_repositories()["repositories"]):
        ecr.create_repository(repositoryName="star-rating")
        ecr.put_image(repositoryName="star-rating", imageTag="v1", imageManifest=json.dumps(manifest()))
        trusted = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [trusted]}
        iam.create_role(RoleName="Exec", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="Exec", PolicyName="job", PolicyDocument=json.dumps(ALLOWS_EVERYTHING))
    return aws


def manifest() -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 1,
            "digest": "sha256:" + "0" * 64,
        },
        "layers": [],
    }


def checked(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    capsys.readouterr()
    code = main(["check", "--file", str(path), "--output", "json", *options])
    rows = json.loads(capsys.readouterr().out)
    return code, {row["check"]: (row["result"], row["detail"]) for row in rows}


COSTS = ("cost", "endpoint cost", "serverless cost", "transform cost")


def test_a_price_that_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, rows = checked(write(tmp_path / "job.toml", {"region": '"eu-south-2"'}), capsys, "--offline")
    assert [rows[name][1].startswith("unknown: no price for") for name in COSTS] == [True] * 4


@pytest.mark.usefixtures("everything_there")
def test_check_finds_that_everything_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = checked(write(tmp_path / "job.toml", {}), capsys)
    assert code == 0
    assert rows["credentials"][0] == "ok"
    assert rows["image"][0] == "ok"
    assert rows["image"][1].startswith("sha256:")
    assert rows["image"][1].endswith(", linux/amd64, starts from distilbert-base-uncased@12040acc")
    assert rows["channel train"] == ("ok", "1 objects, 6 bytes")
    assert rows["output"] == ("ok", BUCKET)
    assert rows["cost"] == ("ok", "at most $10.28: 1 x ml.c7i.2xlarge for 24 h (prices of 2026-11-22)")
    assert rows["endpoint cost"][1].startswith("about $0.21 per hour of ml.c7i.xlarge")
    assert "$0.000060 per second of a request with 3072 MB ($0.000020 per GB-second" in rows["serverless cost"][1]
    assert rows["transform cost"][1].startswith("about $0.20 per hour of ml.c5.xlarge")
    assert rows["role"] == ("ok", "Exec trusts SageMaker and can be passed")
    assert rows["quota"] == ("ok", "4 of ml.c7i.2xlarge allowed")
    assert rows["training time"][0] == "unknown", "there is no manifest in the channel"


@pytest.fixture
def prepared(everything_there: StandIn, tmp_path: Path) -> StandIn:
    """Channels that `prepare` has written, of 40 reviews, with max_seq_length 16."""
    weights = make_weights(tmp_path / "weights")
    reviews = write_tsv(tmp_path / "reviews.tsv", [(f"R{n}", 1 + n % 5, f"good camera {n}") for n in range(40)])
    command: list[str | Path] = [
        sys.executable,
        "src/prepare.py",
        "--input",
        reviews,
        "--output",
        tmp_path / "channels",
    ]
    command += ["--weights", weights, "--max-seq-length", "16"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    for path in (tmp_path / "channels").rglob("*"):
        if path.is_file():
            key = path.relative_to(tmp_path).as_posix()
            everything_there.client("s3").put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    return everything_there


def test_check_predicts_time_and_cost_from_what_prepare_has_counted(
    prepared: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads(next((tmp_path / "channels" / "train").glob("manifest-*.json")).read_text(encoding="utf-8"))
    assert 20 < listed["records"] < 40
    channels = {f"input_data_config.{name}.s3_uri": f'"s3://{{bucket}}/channels/{name}"' for name in CHANNELS}
    job = write(tmp_path / "job.toml", {"hyperparameters.epochs": "2", **channels})
    result, detail = checked(job, capsys)[1]["training time"]
    assert result == "ok"
    assert f"; {2 * listed['records']} records to train on and " in detail
    assert " at max_seq_length 16, DistilBERT-base in float32" in detail
    # One pass of so many steps, whatever the channel holds: 2 x 1,000,000 x 32 records.
    _, detail = checked(job, capsys, "--set", "hyperparameters.train_steps_per_epoch=1000000")[1]["training time"]
    assert "; 64,000,000 records to train on and " in detail
    # Not enough is known for a machine that nobody has measured, for several, and of a broken manifest.
    for change in ('compute.instance_type="ml.g4dn.xlarge"', "compute.instance_count=2"):
        assert checked(job, capsys, "--set", change)[1]["training time"][0] == "unknown"
    for broken in (b"{", b'{"records": true, "max_seq_length": 16}', b"[]"):
        prepared.client("s3").put_object(Bucket=BUCKET, Key="channels/train/manifest-algo-2.json", Body=broken)
        code, rows = checked(job, capsys)
        assert (code, rows["training time"][0]) == (0, "unknown")
        assert "train/manifest-algo-2.json" in rows["training time"][1]


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({}, set()),
        ({"debug_hook_config.enabled": "true"}, {"debugger"}),
        ({"debug_hook_config.enabled": "true", "profiler_config.enabled": "true"}, {"debugger", "profiler"}),
        ({"debug_hook_config.enabled": "false", "profiler_config.enabled": "false"}, set()),
    ],
)
def test_what_new_accounts_may_not_use_is_said_beforehand(
    aws: StandIn, tmp_path: Path, changes: dict[str, str], features: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path / "job.toml", changes))
    assert main(["check", "--offline", "--file", path, "--output", "json"]) == 0  # an old account may have all of it
    printed = capsys.readouterr()
    rows = {row["check"]: row for row in json.loads(printed.out)}
    assert set(rows) == {"offline", *COSTS, *features}
    assert {(rows[name]["result"], "2026-07-30" in rows[name]["detail"]) for name in features} <= {("unknown", True)}
    for name in features:
        assert f"--without {name} leaves it out" in printed.err
    assert printed.err.count("2026-07-30") == len(features)
    assert aws.calls == []


@pytest.mark.parametrize(
    ("changes", "check", "detail"),
    [
        ({"account": '"210987654321"', "bucket": f'"{BUCKET}"'}, "credentials", "they belong to account 123456789012"),
        ({"training_image": '"{account}.dkr.ecr.{region}.amazonaws.com/star-rating:v9"'}, "image", "is not in ECR"),
        ({"input_data_config.train.s3_uri": '"s3://{bucket}/nothing/"'}, "channel train", "nothing is at s3://"),
        ({"output_data_config.s3_output_path": '"s3://no-such-bucket-anywhere/"'}, "output", "aws s3 mb"),
        ({"role": '"arn:aws:iam::123456789012:role/Nobody"'}, "role", "Nobody"),
        ({"output_data_config.kms_key_id": '"00000000-0000-0000-0000-000000000000"'}, "key 0000", "key"),
        (
            {
                "check_image_contract": "false",
                "compute.instance_count": "2",
                "input_data_config.train.s3_data_distribution_type": '"ShardedByS3Key"',
            },
            "channel train",
            "1 objects cannot be dealt out to 2 hosts",
        ),
    ],
)
@pytest.mark.usefixtures("everything_there")
def test_check_finds_what_is_missing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    check: str,
    detail: str,
) -> None:
    code, rows = checked(write(tmp_path / "job.toml", changes), capsys)
    assert code == 2
    found = {name: row for name, row in rows.items() if row[0] == "failed"}
    name = next(name for name in found if name.startswith(check))
    assert detail in found[name][1]


def test_an_index_of_images_is_refused(
    everything_there: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "m",
                "digest": "sha256:" + "1" * 64,
                "size": 1,
                "platform": {"os": "linux", "architecture": "arm64"},
            }
        ],
    }
    everything_there.client("ecr").put_image(
        repositoryName="star-rating",
        imageTag="arm",
        imageManifest=json.dumps(index),
        imageManifestMediaType=index["mediaType"],
    )
    image = '"{account}.dkr.ecr.{region}.amazonaws.com/star-rating:arm"'
    code, rows = checked(write(tmp_path / "job.toml", {"training_image": image}), capsys)
    assert code == 2
    assert rows["image"] == ("failed", "it is for linux/arm64; build it with --platform linux/amd64")


AMD64 = {"os": "linux", "architecture": "amd64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}
ATTESTATION = {"platform": UNKNOWN, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
SOCI = {"artifactType": "application/vnd.amazon.soci.index.v2+json"}


@pytest.mark.parametrize(
    ("tag", "entries", "result", "said"),
    [
        ("soci", [{"platform": AMD64}, SOCI], "ok", ", linux/amd64, with a SOCI index"),
        (
            "soci-readable",
            [{"platform": AMD64, "digest": "the one that is there"}, SOCI],
            "ok",
            ", linux/amd64, starts from distilbert-base-uncased@12040acc, with a SOCI index",
        ),
        ("soci-platform", [{"platform": AMD64}, SOCI | {"platform": UNKNOWN}], "ok", "with a SOCI index"),
        ("soci-arm", [{"platform": {"os": "linux", "architecture": "arm64"}}, SOCI], "failed", "it is for linux/arm64"),
        ("attested", [{"platform": AMD64}, ATTESTATION], "failed", "docker build --provenance=false --sbom=false"),
        ("soci-attested", [{"platform": AMD64}, SOCI, ATTESTATION], "failed", "--provenance=false"),
        ("two", [{"platform": AMD64}, {"platform": AMD64}], "failed", "an index of several images"),
        ("soci-two", [{"platform": AMD64}, {"platform": AMD64}, SOCI], "failed", "an index of several images"),
    ],
)
def test_an_index_of_one_image_and_its_soci_index_is_that_image(
    everything_there: StandIn, tag: str, entries: list[dict[str, Any]], result: str, said: str
) -> None:
    (there,) = everything_there.client("ecr").batch_get_image(
        repositoryName="star-rating", imageIds=[{"imageTag": "v1"}]
    )["images"]
    entries = [entry | ({"digest": there["imageId"]["imageDigest"]} if "digest" in entry else {}) for entry in entries]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": f"sha256:{number}{tag:0>63.63}",
                "size": 1,
                **entry,
            }
            for number, entry in enumerate(entries)
        ],
    }
    everything_there.client("ecr").put_image(
        repositoryName="star-rating",
        imageTag=tag,
        imageManifest=json.dumps(index),
        imageManifestMediaType=index["mediaType"],
    )
    name = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/star-rating:{tag}"
    row = _row("image", lambda: _image(name, Session(region="us-east-1")))
    assert row["result"] == result, row
    assert said in row["detail"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--max-cost", "5"],
            "allows at most $10.28: 1 x ml.c7i.2xlarge for 24 h (prices of 2026-11-22); --max-cost is $5",
        ),
        (
            ["--max-cost", "5", "--set", "compute.instance_type=ml.r7i.large"],
            "--max-cost cannot be held: unknown: no price for 1 x ml.r7i.large in us-east-1",
        ),
    ],
)
def test_a_ceiling_is_held_before_submission(
    aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["train", "--file", str(write(tmp_path / "job.toml", {})), *options]) == 2
    assert message in capsys.readouterr().err
    assert aws.calls == []


@pytest.mark.parametrize(
    ("knob", "check", "detail"),
    [
        ({"architecture": "arm64"}, "image", "it is for linux/arm64; build it with --platform linux/amd64"),
        ({"callers_policy": {"Statement": []}}, "role", "may not pass Exec on; it needs iam:PassRole"),
        ({"quota": 0.0}, "quota", "0 of ml.c7i.2xlarge allowed, 1 asked for; ask AWS for more"),
    ],
)
def test_check_finds_what_aws_would_refuse_later(
    everything_there: StandIn,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    knob: dict[str, object],
    check: str,
    detail: str,
) -> None:
    vars(everything_there).update(knob)
    code, rows = checked(write(tmp_path / "job.toml", {}), capsys)
    assert code == 2
    assert rows[check][0] == "failed"
    assert detail in rows[check][1]


GROUPS = """[
 {instance_group_name = "a", instance_type = "ml.c7i.2xlarge", instance_count = 1},
 {instance_group_name = "b", instance_type = "ml.c7i.4xlarge", instance_count = 2},
 {instance_group_name = "c", instance_type = "ml.c7i.2xlarge", instance_count = 3},
]""".replace("\n", "")
PREFERENCES = (
    '[{instance_type = "ml.c7i.2xlarge"}, {instance_type = "ml.c7i.4xlarge"}, {instance_type = "ml.r7i.large"}]'
)
PRICED = (
    '[{instance_type = "ml.c7i.2xlarge", instance_count = 2}, {instance_type = "ml.c7i.4xlarge", instance_count = 1}]'
)


@pytest.mark.parametrize(
    ("changes", "cost", "quota"),
    [
        (
            {"compute.instance_groups": GROUPS},
            "at most $82.25: 1 x ml.c7i.2xlarge ($10.28) + 2 x ml.c7i.4xlarge ($41.13) + 3 x ml.c7i.2xlarge ($30.84)",
            ("failed", "4 of ml.c7i.2xlarge allowed; 1 of ml.c7i.4xlarge allowed, 2 asked for; ask AWS for more"),
        ),
        (
            {"compute.instance_preferences": PRICED},
            "at most $20.56: 2 x ml.c7i.2xlarge ($20.56) or 1 x ml.c7i.4xlarge ($20.56) for 24 h",
            ("ok", "4 of ml.c7i.2xlarge allowed; 1 of ml.c7i.4xlarge allowed"),
        ),
        (
            {"compute.instance_preferences": PREFERENCES, "compute.instance_count": "3"},
            "unknown: no price for 3 x ml.r7i.large in us-east-1",
            (
                "ok",
                "4 of ml.c7i.2xlarge allowed; 1 of ml.c7i.4xlarge allowed, 3 asked for; none listed for ml.r7i.large",
            ),
        ),
        (
            {
                "compute.instance_preferences": PRICED.replace("count = 2", "count = 5").replace(
                    "count = 1", "count = 2"
                )
            },
            "at most",
            (
                "failed",
                "4 of ml.c7i.2xlarge allowed, 5 asked for; 1 of ml.c7i.4xlarge allowed, 2 asked for; ask AWS for more",
            ),
        ),
    ],
)
@pytest.mark.usefixtures("everything_there")
def test_every_listed_type_has_its_quota_and_its_price(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    cost: str,
    quota: tuple[str, str],
) -> None:
    code, rows = checked(write(tmp_path / "job.toml", {"compute.instance_type": None, **changes}), capsys)
    assert rows["cost"][1].startswith(cost)
    assert rows["quota"] == quota
    assert code == (2 if quota[0] == "failed" else 0)


def test_processing_takes_preferences_an_entrypoint_keys_and_variables(tmp_path: Path) -> None:
    changes = {
        "processing.s3_input": '"s3://{bucket}/reviews/"',
        "processing.container_entrypoint": '["python", "own.py"]',
        "processing.arguments": '["--fast"]',
        "processing.instance_preferences": '[{instance_type = "ml.c7i.2xlarge"}, {instance_type = "ml.c5.2xlarge"}]',
        "processing.instance_count": "2",
        "processing.kms_key_id": '"output-key"',
        "processing.volume_kms_key_id": '"disk-key"',
        "processing.environment.MODE": '"quick"',
    }
    request = launcher.build_processing_request(launcher.load_job(write(tmp_path / "job.toml", changes)), "prepare")
    assert request["AppSpecification"]["ContainerEntrypoint"] == ["python", "own.py"]
    assert request["AppSpecification"]["ContainerArguments"] == ["--fast"]
    assert request["ProcessingOutputConfig"]["KmsKeyId"] == "output-key"
    assert request["Environment"] == {"MODE": "quick"}
    assert request["ProcessingResources"]["ClusterConfig"] == {
        "InstanceCount": 2,
        "VolumeSizeInGB": 30,
        "VolumeKmsKeyId": "disk-key",
        "InstancePreferences": [{"InstanceType": "ml.c7i.2xlarge"}, {"InstanceType": "ml.c5.2xlarge"}],
    }
    both = write(tmp_path / "job.toml", changes | {"processing.instance_type": '"ml.c5.xlarge"'})
    with pytest.raises(JobFileError, match=r"excludes processing\.instance_type"):
        launcher.build_processing_request(launcher.load_job(both))


def test_what_the_credentials_may_not_ask_is_unknown_and_no_failure(
    everything_there: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = ApiError("AccessDeniedException", "not authorized to perform servicequotas:ListServiceQuotas")
    everything_there.faults.append(Fault("ListServiceQuotas", denied, 1))
    code, rows = checked(write(tmp_path / "job.toml", {}), capsys)
    assert code == 0
    assert rows["quota"][0] == "unknown"


def test_a_role_that_cannot_be_simulated_is_unknown(
    everything_there: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything_there.callers_policy = None  # not what IAM answers: the simulator is out of order
    code, rows = checked(write(tmp_path / "job.toml", {}), capsys)
    assert code == 0
    assert rows["role"][0] == "unknown"
    assert rows["role"][1].startswith("it trusts SageMaker; ")


def test_a_caller_that_lacks_a_right_a_denial_and_a_condition_are_told_apart(
    everything_there: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "job.toml", {})
    _, rows = checked(path, capsys)
    assert rows["role rights"][0] == rows["caller rights"][0] == "ok"

    pass_role = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": ROLE,
        "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    }
    read = {
        "Effect": "Allow",
        "Action": "logs:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceVpc": "v"}},
    }
    describe = {"Effect": "Allow", "Action": "sagemaker:Describe*", "Resource": "*"}
    everything_there.callers_policy = {"Statement": [pass_role, read, describe]}
    code, rows = checked(path, capsys)
    assert code == 2
    assert rows["role"][0] == "ok"  # the condition's value is sent along
    assert rows["caller rights: follow the log"][0] == "unknown"
    assert rows["caller rights: follow the log"][1].endswith("depends on aws:SourceVpc")
    result, detail = rows["caller rights: submit"]
    assert result == "failed"
    assert json.loads(detail.partition("; add ")[2]) == {
        "Effect": "Allow",
        "Action": ["sagemaker:CreateTrainingJob", "sagemaker:StopTrainingJob"],
        "Resource": "arn:aws:sagemaker:us-east-1:123456789012:training-job/*",
    }

    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    statements = [*ALLOWS_EVERYTHING["Statement"], deny]
    everything_there.client("iam").put_role_policy(
        RoleName="Exec", PolicyName="job", PolicyDocument=json.dumps({**ALLOWS_EVERYTHING, "Statement": statements})
    )
    _, rows = checked(path, capsys)
    assert rows["role rights: output"][0] == "failed"
    assert rows["role rights: output"][1].startswith("a statement denies s3:PutObject on arn:aws:s3:::")


def test_isolated_subnets_need_a_way_to_s3(
    everything_there: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2 = everything_there.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in range(2)
    ]
    changes: dict[str, str | None] = {
        "networking.subnets": json.dumps(subnets),
        "networking.security_group_ids": '["sg-12345678"]',
    }
    path = write(tmp_path / "job.toml", changes)
    code, rows = checked(path, capsys)
    assert (code, rows["subnets"][0]) == (2, "failed")
    assert rows["subnets"][1].startswith(f"{', '.join(subnets)} has no way to S3")
    assert f"--vpc-id {vpc} --service-name com.amazonaws.us-east-1.s3" in rows["subnets"][1]
    assert "ec2:CreateNetworkInterface" not in str(rows)  # the role may do everything
    session = Session(region="us-east-1")

    # An internet gateway helps nobody without a public address; a NAT does.
    routed = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=routed, SubnetId=subnets[0])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.create_route(RouteTableId=routed, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    assert check_subnets(subnets, session)[1]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnets[0], AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.delete_route(RouteTableId=routed, DestinationCidrBlock="0.0.0.0/0")
    ec2.create_route(RouteTableId=routed, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    said, isolated = check_subnets(subnets, session)
    assert (said.partition("; ")[0], isolated) == (f"{subnets[0]} reaches S3 by {nat}", True)

    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    main_table = next(table["RouteTableId"] for table in tables if table["RouteTableId"] != routed)
    service = "com.amazonaws.us-east-1.s3"
    made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=service, RouteTableIds=[main_table])["VpcEndpoint"]
    ways = f"{subnets[0]} reaches S3 by {nat}; {subnets[1]} reaches S3 by {made['VpcEndpointId']}"
    assert check_subnets(subnets, session) == (ways, False)


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/Developer/me", "arn:aws:iam::123456789012:role/Developer"),
        ("arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/me"),
    ],
)
def test_a_sessions_rights_are_its_roles(arn: str, principal: str) -> None:
    assert _principal(arn) == principal


def test_an_offline_check_asks_nobody(aws: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = checked(write(tmp_path / "job.toml", {}), capsys, "--offline")
    assert code == 0
    assert list(rows) == ["offline", *COSTS]
    assert aws.calls == []
