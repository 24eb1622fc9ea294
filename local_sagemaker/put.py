"""Files into the local S3, over its API, as any client would do it.

count, size = put(Path("data/reviews.tsv"), "s3://my-bucket/reviews/", state)
"""

from __future__ import annotations

from pathlib import Path

from launcher.aws.session import client, explained
from launcher.errors import UsageError
from local_sagemaker.client import using_local
from local_sagemaker.container_contract.s3_uri import split
from local_sagemaker.state import REGION, State


def put(source: Path, target: str, state: State) -> tuple[int, int]:
    """Put a file, or what is in a folder, below a URI; return how many files and bytes."""
    try:
        bucket, key = split(target)
    except ValueError:
        raise UsageError(f"{target} is no S3 URI: write s3://bucket/folder/") from None
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    with using_local(state), explained(f"put {source}"):
        s3 = client("s3", REGION)
        if bucket not in {entry["Name"] for entry in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket)
        for path in files:
            s3.upload_file(str(path), bucket, _key(path, source, key))
    return len(files), sum(path.stat().st_size for path in files)


def _key(path: Path, source: Path, key: str) -> str:
    if source.is_dir():
        prefix = f"{key.rstrip('/')}/" if key else ""
        return f"{prefix}{path.relative_to(source).as_posix()}"
    return f"{key}{path.name}" if not key or key.endswith("/") else key
