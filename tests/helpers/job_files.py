"""Job files for tests: a good one as dotted keys, and changes to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

GOOD = {
    "region": '"us-east-1"',
    "account": '"123456789012"',
    "role": '"arn:aws:iam::{account}:role/Exec"',
    "training_image": '"{account}.dkr.ecr.{region}.amazonaws.com/star-rating:v1"',
    "compute.instance_type": '"ml.c7i.2xlarge"',
    "input_data_config.train.s3_uri": '"s3://{bucket}/train/"',
    "input_data_config.validation.s3_uri": '"s3://{bucket}/validation/"',
    "input_data_config.test.s3_uri": '"s3://{bucket}/test/"',
}


def write(path: Path, changes: Mapping[str, str | None]) -> Path:
    """Write the good job file with changes (key -> TOML text; None: without the key)."""
    lines = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()), encoding="utf-8")
    return path
