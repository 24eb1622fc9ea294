"""Wrong job files: each ends with exit code 2 and a message that says where and what to change; none reaches AWS."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.main import main
from tests.helpers.job_files import write

Changes = dict[str, str | None]

LOSSES = "debug_rule_configurations.LossNotDecreasing"

WRONG: dict[str, tuple[Changes, str]] = {
    # Keys and types
    "unknown key": ({"bucked": '"b"'}, "bucked does not exist; did you mean bucket?"),
    "unknown table": ({"computer.instance_count": "1"}, "computer does not exist; did you mean compute?"),
    "unknown key in a table": (
        {"compute.instance_typ": '"x"'},
        "compute.instance_typ does not exist; did you mean instance_type?",
    ),
    "unknown key in a channel": (
        {"input_data_config.train.s3_url": '"x"'},
        "input_data_config.train.s3_url does not exist; did you mean s3_uri?",
    ),
    "unknown key in a rule": (
        {"profiler_rule_configurations.BatchSize.parameters.window": "5"},
        "profiler_rule_configurations.BatchSize.parameters does not exist; did you mean rule_parameters?",
    ),
    "an API name": ({"compute.InstanceType": '"x"'}, "compute.InstanceType does not exist; "),
    "a number as text": (
        {"compute.volume_size_in_gb": '"30"'},
        "compute.volume_size_in_gb is '30'; a whole number is needed",
    ),
    "a boolean as number": (
        {"compute.instance_count": "true"},
        "compute.instance_count is true; a whole number is needed",
    ),
    "a fraction": (
        {"compute.volume_size_in_gb": "30.5"},
        "compute.volume_size_in_gb is 30.5; a whole number is needed",
    ),
    "a text as boolean": (
        {"compute.enable_managed_spot_training": '"yes"'},
        "compute.enable_managed_spot_training is 'yes'; true or false is needed",
    ),
    "a number as name": ({"base_job_name": "7"}, "base_job_name is 7; text in quotes is needed"),
    "a text as list": (
        {"networking.subnets": '"subnet-1"'},
        "networking.subnets is 'subnet-1'; a list, [...], is needed",
    ),
    "a value as table": ({"stopping_condition": "3600"}, "stopping_condition is 3600; a table is needed"),
    "a list as hyperparameter": (
        {"hyperparameters.epochs": "[1]"},
        "hyperparameters.epochs is a list; text, a number, true or false is needed",
    ),
    "no role": ({"role": None}, "role is missing (ARN of the role that the job runs as)"),
    "no image": ({"training_image": None}, "training_image is missing (registry/repository@sha256:digest, or :tag)"),
    "no region": ({"region": None}, "region is missing (Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's)"),
    "no account, but needed": ({"account": None}, "account is missing, and '"),
    "a placeholder that does not exist": (
        {"output_data_config.s3_output_path": '"s3://{bukket}/"'},
        "s3_output_path is 's3://{bukket}/', where {bukket} stands for nothing; did you mean bucket?",
    ),
    "a bucket that is itself": (
        {"bucket": '"{bucket}"'},
        "bucket is '{bucket}', which stands for itself; write it out",
    ),
    # Enumerations, patterns and limits
    "input mode": (
        {"training_input_mode": '"file"'},
        "training_input_mode is 'file'; allowed are File, FastFile, Pipe; did you mean File?",
    ),
    "distribution": (
        {"input_data_config.train.s3_data_distribution_type": '"Sharded"'},
        "s3_data_distribution_type is 'Sharded'; allowed are FullyReplicated, ShardedByS3Key",
    ),
    "instance type": (
        {"compute.instance_type": '"ml.c7i.3xlarge"'},
        "compute.instance_type is 'ml.c7i.3xlarge'; did you mean ml.c7i.",
    ),
    "instance type of EC2": (
        {"compute.instance_type": '"c7i.2xlarge"'},
        "is 'c7i.2xlarge'; did you mean ml.c7i.2xlarge?",
    ),
    "no hosts": ({"compute.instance_count": "0"}, "compute.instance_count is 0; at least 1 is needed"),
    "account": ({"account": '"1234"'}, "account is '1234'; twelve digits are needed, in quotes"),
    "role name for an ARN": ({"role": '"Exec"'}, "role is 'Exec', 4 characters; at least 20 characters are needed"),
    "ARN of a user": (
        {"role": '"arn:aws:iam::123456789012:user/me"'},
        "role is 'arn:aws:iam::123456789012:user/me', which does not have the form arn:aws",
    ),
    "channel without a scheme": (
        {"input_data_config.train.s3_uri": '"my-bucket/train"'},
        "input_data_config.train.s3_uri is 'my-bucket/train', which does not have the form (https|s3)://",
    ),
    "channel's name": (
        {'input_data_config."my data".s3_uri': '"s3://b/x"'},
        "input_data_config.my data is 'my data', which does not have the form [A-Za-z0-9",
    ),
    "warm pool too long": (
        {"compute.keep_alive_period_in_seconds": "90000"},
        "compute.keep_alive_period_in_seconds is 90000; at most 21600 are allowed",
    ),
    "too many retries": (
        {"retry_strategy.maximum_retry_attempts": "31"},
        "retry_strategy.maximum_retry_attempts is 31; at most 30 are allowed",
    ),
    "job longer than 28 days": (
        {"stopping_condition.max_runtime_in_seconds": "2500000"},
        "max_runtime_in_seconds is 2500000; at most 2419200 (28 days) are allowed",
    ),
    "hyperparameter too long": (
        {"hyperparameters.model": f'"/{"m" * 2500}"'},
        "2501 characters; at most 2500 characters are allowed",
    ),
    "environment variable's name": (
        {'environment."MY-NAME"': '"x"'},
        "environment.MY-NAME as a name is 'MY-NAME', which does not have the form [a-zA-Z_]",
    ),
    "environment variable too long": (
        {"environment.LONG": f'"{"x" * 513}"'},
        "environment.LONG is a value, 513 characters; at most 512 characters are allowed",
    ),
    "tag's character": ({'tags."a!"': '"x"'}, "tags.a! is 'a!', which does not have the form "),
    "reserved tag": ({'tags."aws:owner"': '"x"'}, "tags.aws:owner begins with aws:, which is reserved for AWS"),
    "experiment's name": (
        {"experiment_config.experiment_name": '"my_experiment"'},
        "experiment_config.experiment_name is 'my_experiment', which does not have the form",
    ),
    "profiling interval": (
        {"profiler_config.profiling_interval_in_milliseconds": "300"},
        "profiling_interval_in_milliseconds is 300; allowed are 100, 200, 500, 1000, 5000, 60000",
    ),
    "output compression": (
        {"output_data_config.compression_type": '"gzip"'},
        "compression_type is 'gzip'; allowed are GZIP, NONE; did you mean GZIP?",
    ),
    "subnets without security groups": (
        {"networking.subnets": '["subnet-1"]'},
        "networking.security_group_ids is missing",
    ),
    "MLflow's ARN": (
        {"mlflow_config.mlflow_resource_arn": '"arn:aws:s3:::bucket"'},
        "mlflow_config.mlflow_resource_arn is 'arn:aws:s3:::bucket', which does not have the form",
    ),
    "MLflow's address": (
        {"environment.MLFLOW_TRACKING_URI": '"server:5000"'},
        "environment.MLFLOW_TRACKING_URI is 'server:5000'; an http or https address, or the ARN",
    ),
    # Spot, warm pool, machines
    "spot without a wait": (
        {"compute.enable_managed_spot_training": "true"},
        "max_wait_time_in_seconds is missing: spot training needs it; at least max_runtime_in_seconds, which is 86400",
    ),
    "spot that waits less than it runs": (
        {"compute.enable_managed_spot_training": "true", "stopping_condition.max_wait_time_in_seconds": "3600"},
        "max_wait_time_in_seconds is 3600, less than max_runtime_in_seconds, which is 86400",
    ),
    "a wait without spot": (
        {"stopping_condition.max_wait_time_in_seconds": "90000"},
        "max_wait_time_in_seconds is for spot training only",
    ),
    "spot with a warm pool": (
        {
            "compute.enable_managed_spot_training": "true",
            "stopping_condition.max_wait_time_in_seconds": "90000",
            "compute.keep_alive_period_in_seconds": "600",
        },
        "compute.keep_alive_period_in_seconds excludes spot training",
    ),
    "instance type and groups": (
        {
            "compute.instance_groups": '[{instance_group_name="a", instance_type="ml.c7i.large", instance_count=1}]',
        },
        "compute.instance_groups excludes compute.instance_type; keep one of them",
    ),
    "preferences with and without a count": (
        {
            "compute.instance_type": None,
            "compute.instance_preferences": '[{instance_type="ml.c7i.large"}, {instance_type="x", instance_count=1}]',
        },
        "compute.instance_preferences have instance_count on all of them",
    ),
    "a channel for a group that is not there": (
        {"input_data_config.train.instance_group_names": '["gpu"]'},
        "instance_group_names names 'gpu'; there are no compute.instance_groups",
    ),
    # Channels
    "a channel without a source": (
        {"input_data_config.train.s3_uri": None, "input_data_config.train.content_type": '"x"'},
        "input_data_config.train has neither s3_uri nor file_system_id",
    ),
    "a channel with two sources": (
        {"input_data_config.train.file_system_id": '"fs-0123456789abcdef0"'},
        "input_data_config.train has both s3_uri and file_system_id",
    ),
    "a file system without a VPC": (
        {
            "input_data_config.train.s3_uri": None,
            "input_data_config.train.file_system_id": '"fs-0123456789abcdef0"',
            "input_data_config.train.file_system_type": '"EFS"',
            "input_data_config.train.file_system_access_mode": '"ro"',
            "input_data_config.train.directory_path": '"/data"',
        },
        "input_data_config.train.file_system_id needs a VPC",
    ),
    "a file system without its type": (
        {
            "input_data_config.train.s3_uri": None,
            "input_data_config.train.file_system_id": '"fs-0123456789abcdef0"',
            "input_data_config.train.file_system_access_mode": '"ro"',
            "input_data_config.train.directory_path": '"/data"',
        },
        "input_data_config.train.file_system_type is missing",
    ),
    "FastFile with a manifest": (
        {
            "input_data_config.train.input_mode": '"FastFile"',
            "input_data_config.train.s3_data_type": '"ManifestFile"',
        },
        "s3_data_type is 'ManifestFile'; input mode FastFile takes S3Prefix only",
    ),
    "an augmented manifest as files": (
        {
            "input_data_config.train.s3_data_type": '"AugmentedManifestFile"',
            "input_data_config.train.attribute_names": '["review"]',
        },
        "s3_data_type is 'AugmentedManifestFile', which needs input mode Pipe, not File",
    ),
    "attribute names without a manifest": (
        {"input_data_config.train.attribute_names": '["review"]'},
        "attribute_names is for s3_data_type AugmentedManifestFile only",
    ),
    "Gzip as files": (
        {"input_data_config.train.compression_type": '"Gzip"'},
        "compression_type is 'Gzip', which only input mode Pipe unpacks",
    ),
    "pipe mode": ({"training_input_mode": '"Pipe"'}, "training_input_mode is 'Pipe'; the image reads files"),
    "no train channel": (
        {"input_data_config.train.s3_uri": None},
        "input_data_config.train is missing: the image trains",
    ),
    "no test channel": (
        {"input_data_config.test.s3_uri": None},
        "input_data_config.test is missing: add it, or set hyperparameters.run_test = false",
    ),
    # Network
    "isolation and a hub's model": (
        {"networking.enable_network_isolation": "true", "hyperparameters.model": '"distilbert-base-uncased"'},
        "hyperparameters.model is 'distilbert-base-uncased', a hub's name, but networking.enable_network_isolation",
    ),
    "isolation and remote debugging": (
        {"networking.enable_network_isolation": "true", "enable_remote_debug": "true"},
        "enable_remote_debug needs a network",
    ),
    "a VPC registry without a VPC": (
        {"training_image_config.training_repository_access_mode": '"Vpc"'},
        "training_repository_access_mode is 'Vpc' without a VPC",
    ),
    # Hyperparameters and metrics
    "the best epoch without validation": (
        {"hyperparameters.export_epoch": '"best"', "hyperparameters.run_validation": "false"},
        "hyperparameters.run_validation is false, and export_epoch=best",
    ),
    "early stopping without validation": (
        {"hyperparameters.early_stopping_patience": "2", "hyperparameters.run_validation": "false"},
        "hyperparameters.run_validation is false, and export_epoch=best",
    ),
    "unknown hyperparameter": (
        {"hyperparameters.epoch": "3"},
        "hyperparameters.epoch is unknown to the image; did you mean epochs?",
    ),
    "hyperparameter out of range": (
        {"hyperparameters.epochs": "0"},
        "hyperparameters.epochs is 0; a whole number from 1 to 1000 is needed",
    ),
    "hyperparameter of another kind": (
        {"hyperparameters.learning_rate": '"fast"'},
        "hyperparameters.learning_rate is 'fast'; a number from 0 to 10000000 is needed",
    ),
    "hyperparameter's choice": (
        {"hyperparameters.use_amp": '"bfloat16"'},
        "hyperparameters.use_amp is 'bfloat16'; allowed are True, False, auto",
    ),
    "a pattern that does not compile": (
        {"metric_definitions.loss": "'loss=([0-9.]+'"},
        "metric_definitions.loss is 'loss=([0-9.]+', which is no regular expression",
    ),
    "a pattern without a group": (
        {"metric_definitions.loss": "'loss=[0-9.]+'"},
        "metric_definitions.loss is 'loss=[0-9.]+', which has no group",
    ),
    "the notebook's patterns": (
        {
            'metric_definitions."train:loss"': r"'loss: ([0-9\.]+)'",
            'metric_definitions."validation:loss"': r"'val_loss: ([0-9\.]+)'",
        },
        "metric_definitions.train:loss also matches 'val_loss: 0.25', a line of validation:loss",
    ),
    # Image
    "no image name": ({"training_image": '"my image"'}, "training_image is 'my image'; write registry/repository:tag"),
    "a digest that is cut": (
        {"training_image": '"123456789012.dkr.ecr.us-east-1.amazonaws.com/x@sha256:abc"'},
        "write registry/repository:tag or registry/repository@sha256:...",
    ),
    "an image of another region": (
        {"training_image": '"123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:v1"'},
        "training_image is in eu-west-1, the job in us-east-1",
    ),
    # Debugger and Profiler
    "rules without a hook": ({f"{LOSSES}.enabled": "true"}, "debug_rule_configurations need debug_hook_config"),
    "profiler rules without a profiler": (
        {"profiler_rule_configurations.ProfilerReport.enabled": "true"},
        "profiler_rule_configurations need profiler_config",
    ),
    "rules where AWS has none": (
        {
            "region": '"eu-south-2"',
            "debug_hook_config.enabled": "true",
            f"{LOSSES}.enabled": "true",
        },
        f"{LOSSES}.rule_evaluator_image is missing: AWS names no rule image for region 'eu-south-2'",
    ),
    "rules without tensors": (
        {
            "debug_hook_config.enabled": "true",
            f"{LOSSES}.enabled": "true",
            "hyperparameters.enable_sagemaker_debugger": "false",
        },
        "hyperparameters.enable_sagemaker_debugger is false, so the image saves no tensors",
    ),
    "rules on several hosts": (
        {"debug_hook_config.enabled": "true", f"{LOSSES}.enabled": "true", "compute.instance_count": "2"},
        "compute.instance_count is 2, and the image saves tensors on one host only; the rules would wait for them",
    ),
    "a collection in two ways": (
        {
            "debug_hook_config.collection_configurations.losses.save_interval": "5",
            f"{LOSSES}.collections_to_save.losses.save_interval": "10",
        },
        f"differs from {LOSSES}.collections_to_save.losses; a collection is saved in one way",
    ),
    "an e-mail address": (
        {"debug_hook_config.enabled": "true", f"{LOSSES}.actions.email": '"me"'},
        f"{LOSSES}.actions.email is 'me', which is no e-mail address",
    ),
    "a telephone number": (
        {"debug_hook_config.enabled": "true", f"{LOSSES}.actions.sms": '"555"'},
        f"{LOSSES}.actions.sms is '555'; write the number with its country",
    ),
    "a rule parameter that is too long": (
        {"debug_hook_config.enabled": "true", f"{LOSSES}.rule_parameters.tensor_regex": f'"{"x" * 257}"'},
        f"{LOSSES}.rule_parameters.tensor_regex is 'xxx",
    ),
}


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[str, list[str]]]:
    """An endpoint that keeps a list of who calls."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.append(self.path)
            self.send_error(500)

        def do_GET(self) -> None:
            self.do_POST()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", calls
    server.shutdown()
    thread.join()
    server.server_close()


def test_there_are_at_least_sixty() -> None:
    assert len(WRONG) >= 60


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_job_file_says_what_to_change_and_reaches_nobody(
    changes: Changes,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    aws: tuple[str, list[str]],
) -> None:
    endpoint, calls = aws
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert main(["train", "--file", str(write(tmp_path / "job.toml", changes))]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "job.toml" in printed.err
    assert printed.out == ""
    assert calls == []


def test_all_mistakes_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        tmp_path / "job.toml",
        {"compute.instance_type": '"ml.c7i.3xlarge"', "hyperparameters.epoch": "1", "tags.x": '"a!"', "account": '"1"'},
    )
    assert main(["train", "--file", str(path), "--dry-run"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    # The account is in the role's ARN too.
    assert [line.split()[2] for line in errors] == [
        "account",
        "hyperparameters.epoch",
        "role",
        "compute.instance_type",
        "tags.x",
    ]


def test_a_message_has_the_line_of_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.toml"
    path.write_text('region = "r"\n\n[compute]\n# a comment\ninstance_type = 3\n', encoding="utf-8")
    assert main(["train", "--file", str(path), "--dry-run"]) == 2
    assert f"{path}:5: compute.instance_type is 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"region = ", "is not TOML: Invalid value (at end of document)"),
        (b"region = '\xff'", "is not UTF-8 at byte 10; save it as UTF-8"),
        (None, "No such file or directory; name a job file with --file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.toml"
    if content is not None:
        path.write_bytes(content)
    assert main(["train", "--file", str(path), "--dry-run"]) == 2
    assert f"{path}: {message}" in capsys.readouterr().err
