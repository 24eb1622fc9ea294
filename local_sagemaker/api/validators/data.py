"""Whether a training job's channels have any data: SageMaker looks before it takes the job."""

from __future__ import annotations

from typing import Any

from local_sagemaker.errors import invalid
from local_sagemaker.services.objects import NoSuchObjectError, Objects


def refuse_empty_channels(request: dict[str, Any], objects: Objects, region: str) -> None:
    """Raise ApiError, in the service's words, for the first channel with nothing at its S3 URI."""
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        bucket, _, key = source["S3Uri"].removeprefix("s3://").partition("/")
        if not _has_data(objects, bucket, key, is_prefix=source["S3DataType"] == "S3Prefix"):
            raise invalid(
                f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure that '
                f"the bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )


def _has_data(objects: Objects, bucket: str, key: str, *, is_prefix: bool) -> bool:
    try:
        return any(is_prefix or found.key == key for found in objects.list(bucket, key))
    except NoSuchObjectError:
        return False
