"""Values arrive in the request as they were written: in the file, in a flag, in the environment; and so do keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.checks.image import ECR
from launcher.cli.main import main
from launcher.errors import JobFileError, UsageError
from tests.helpers.job_files import write

Request = dict[str, Any]


@pytest.fixture
def dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def request(*settings: str, command: str = "train", **changes: str | None) -> Request:
        path = write(tmp_path / "job.toml", {"processing.s3_input": '"s3://{bucket}/x/"'} | changes)
        options = [option for setting in settings for option in ("--set", setting)]
        assert main([command, "--dry-run", "--file", str(path), *options]) == 0
        made: Request = json.loads(capsys.readouterr().out)
        return made

    return request


TEXTS = [
    "1.10",
    "12345e7",
    "0x1F",
    "5 # five",
    "2024-01-01",
    "1_000",
    "true",
    "inf",
    "007",
    "[1, 2]",
    "{a = 1}",
    " spaces ",
    "a = b",
    "{job_name} s3://x/{date}",
    "s3://bucket/{date}/x",
    "arn:aws:{x}",
    "1" * 200,
    "",
    "it's",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_it_was_written(dry_run: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LAUNCHER_ENVIRONMENT__FROM_THE_SHELL", text)
    request = dry_run(
        f"environment.X={text}", f"debug_hook_config.hook_parameters.x={text}", "debug_hook_config.enabled=true"
    )
    assert request["Environment"] == {"X": text, "FROM_THE_SHELL": text}
    assert request["DebugHookConfig"]["HookParameters"] == {"x": text}


@pytest.mark.parametrize("number", ["1.10", "1e3", "0.00001", "7"])
def test_a_number_of_the_file_is_sent_as_it_stands_there(dry_run: Any, number: str) -> None:
    request = dry_run(**{"environment.X": number, "processing.environment.X": number})
    assert request["Environment"] == {"X": number}
    processing = dry_run(command="process", **{"environment.X": "1", "processing.environment.X": number})
    assert processing["Environment"] == {"X": number}


def test_a_text_of_the_image_is_a_text(dry_run: Any) -> None:
    settings = ["hyperparameters.model=/1.10", "hyperparameters.learning_rate=1e-5", "account=000000000012"]
    request = dry_run(*settings)
    assert request["HyperParameters"] == {"model": "/1.10", "learning_rate": "1e-5"}
    assert ":000000000012:" in request["RoleArn"]


@pytest.mark.parametrize(
    ("setting", "field", "expected"),
    [
        ('tags."cost.center"=x', "Tags", [{"Key": "cost.center", "Value": "x"}]),
        ("tags.'a=b'=x=y", "Tags", [{"Key": "a=b", "Value": "x=y"}]),
        (' tags . "a b" =x', "Tags", [{"Key": "a b", "Value": "x"}]),
        ('tags."x"="in quotes"', "Tags", [{"Key": "x", "Value": "in quotes"}]),
        ("metric_definitions.my:loss='m=(.*)'", None, None),
        ("stopping_condition.max_runtime_in_seconds = 60", "StoppingCondition", {"MaxRuntimeInSeconds": 60}),
    ],
)
def test_a_key_is_written_as_in_toml(dry_run: Any, setting: str, field: str | None, expected: object) -> None:
    request = dry_run(setting)
    if field:
        assert request[field] == expected
    else:
        assert {"Name": "my:loss", "Regex": "m=(.*)"} in request["AlgorithmSpecification"]["MetricDefinitions"]


def test_a_table_of_a_flag_has_its_texts_too(dry_run: Any) -> None:
    assert dry_run("environment={A = 1.10, B = 2}")["Environment"] == {"A": "1.10", "B": "2"}
    assert dry_run("compute={instance_count = 3}")["ResourceConfig"]["InstanceCount"] == 3


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="is not UTF-8"):
        launcher.load_job(write(tmp_path / "job.toml", {}), {"environment.X": os.fsdecode(b"\xff")})


def test_a_channel_may_have_a_dot(dry_run: Any) -> None:
    names = [
        channel["ChannelName"] for channel in dry_run('input_data_config."a.b".s3_uri=s3://b/x')["InputDataConfig"]
    ]
    assert "a.b" in names


def test_a_key_that_is_none_is_usage(tmp_path: Path) -> None:
    path = write(tmp_path / "job.toml", {})
    for key in ('tags."a', "", "."):
        with pytest.raises(UsageError):
            launcher.load_job(path, {key: "x"})


def test_variables_have_the_case_that_their_keys_have(dry_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENVIRONMENT__MY__VAR": "a",
        "ENVIRONMENT__lower": "b",
        "TAGS__PROJECT": "c",
        "INPUT_DATA_CONFIG__TRAIN__S3_URI": "s3://b/d/",
        "HYPERPARAMETERS__EPOCHS": "5",
        "DEBUG_RULE_CONFIGURATIONS__LOSSNOTDECREASING__ENABLED": "false",
    }.items():
        monkeypatch.setenv(f"LAUNCHER_{name}", value)
    rule = {"debug_rule_configurations.LossNotDecreasing.enabled": "true", "debug_hook_config.enabled": "true"}
    request = dry_run(**{"tags.Project": '"x"'} | rule)
    assert request["Environment"] == {"MY__VAR": "a", "lower": "b"}
    assert request["Tags"] == [{"Key": "Project", "Value": "c"}]
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/d/"
    assert request["HyperParameters"] == {"epochs": "5"}
    assert "DebugRuleConfigurations" not in request


def test_a_placeholder_that_is_not_filled_in_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "job.toml", {"environment.WHERE": '"s3://{bucket}/x"'})
    assert main(["train", "--dry-run", "--file", str(path)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["Environment"] == {"WHERE": "s3://{bucket}/x"}
    assert "environment.WHERE has {bucket}, which is sent as it is" in printed.err


def test_process_has_the_keys_of_the_training_job_or_its_own(dry_run: Any) -> None:
    keys = {"output_data_config.kms_key_id": '"alias/out"', "compute.volume_kms_key_id": '"alias/disk"'}
    request = dry_run(command="process", **keys)
    assert request["ProcessingOutputConfig"]["KmsKeyId"] == "alias/out"
    assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "alias/disk"
    own = {"processing.kms_key_id": '"alias/a"', "processing.volume_kms_key_id": '"alias/b"'}
    request = dry_run(command="process", **keys | own)
    assert request["ProcessingOutputConfig"]["KmsKeyId"] == "alias/a"
    assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "alias/b"


def test_the_region_of_the_profile_is_the_last_default(
    dry_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile mine]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    for variable, region in ((None, "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2"), ("AWS_REGION", "eu-west-3")):
        if variable:
            monkeypatch.setenv(variable, region)
        assert f".{region}." in dry_run(region=None)["AlgorithmSpecification"]["TrainingImage"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = " + "9" * 5000, "is not TOML: "),
        ("x = " + "[" * 100_000, "brackets are too deep"),
        ("x = 0x" + "f" * 5000, "x is beyond the whole numbers of 64 bits"),
        ('region = "us-east-1"'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"#" * (1 << 21), "is larger than 1048576 bytes"),
    ],
    ids=["long", "deep", "large", "UTF-16", "huge"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JobFileError) as refused:
        launcher.load_job(path)
    assert message in str(refused.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "job.toml", {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert launcher.load_job(path).region == "us-east-1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"compute.instance_typ": '"ml.c7i.2xlarge"', "hyperparameters.epoch": "3", "tags.x": '"a!"'},
            ["compute.instance_typ", "hyperparameters.epoch", "tags.x"],
        ),
        ({"region": None, "hyperparameters.epoch": "3"}, ["hyperparameters.epoch", "region"]),
        (
            {"role": None, "training_image": "3", "environment.A-B": '"x"'},
            ["environment.A-B", "role", "training_image"],
        ),
        # What hangs on a wrong value is not told: spot may have been meant, and so the wait.
        (
            {"compute.enable_managed_spot_training": '"yes"', "stopping_condition.max_wait_time_in_seconds": "9"},
            ["compute.enable_managed_spot_training"],
        ),
        ({"checkpoint_config.local_path": '"/x"', "account": '"1"'}, ["account", "checkpoint_config.s3_uri", "role"]),
        ({"input_data_config.train": "3", "base_job_name": '"a_b"'}, ["base_job_name", "input_data_config.train"]),
    ],
)
def test_all_mistakes_are_named_beside_a_wrong_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], expected: list[str]
) -> None:
    if "input_data_config.train" in changes:
        changes = {**changes, "input_data_config.train.s3_uri": None}
    path = write(tmp_path / "job.toml", changes)
    assert main(["train", "--dry-run", "--file", str(path)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert sorted(line.split()[2] for line in errors) == expected


def test_process_names_its_own_mistakes_beside_a_wrong_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "job.toml", {"processing.s3_input": '"reviews"', "bucked": '"b"', "hyperparameters.x": "1"})
    assert main(["process", "--dry-run", "--file", str(path)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.split()[2] for line in errors] == ["bucked", "processing.s3_input"]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
        ("dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("dkr-ecr-fips.us-gov-west-1.on.aws", "us-gov-west-1"),
        ("dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1"),
        ("dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        ("dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        ("dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        ("dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ],
)
def test_ecr_is_known_in_every_partition(host: str, region: str) -> None:
    match = ECR.fullmatch(f"123456789012.{host}/team/star-rating:v1")
    assert match is not None
    assert region in (match["region"], match["dual_region"])
    assert (match["account"], match["repository"], match["tag"]) == ("123456789012", "team/star-rating", "v1")


@pytest.mark.parametrize("host", ["dkr.ecr.us-east-1.example.com", "dkr.ecr.us-east-1.amazonaws.com.evil.com"])
def test_another_registry_is_not_taken_for_ecr(host: str) -> None:
    assert ECR.fullmatch(f"123456789012.{host}/star-rating:v1") is None
