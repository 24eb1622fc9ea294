"""Checkpoints from S3 onto an empty disk, before a job begins."""

from __future__ import annotations

from local_sagemaker.container_contract.channels import Item
from local_sagemaker.container_contract.s3_uri import safe
from local_sagemaker.services.objects import Objects
from local_sagemaker.volumes.download import Transfer
from local_sagemaker.volumes.pace import Pace
from local_sagemaker.volumes.synchronization import Mirror


def restore(mirror: Mirror, objects: Objects, pace: Pace) -> None:
    """Bring a folder what its prefix holds; nothing there is no error, and neither is a missing bucket."""
    if objects.has_bucket(mirror.bucket):
        items = [
            Item(mirror.bucket, entry.key, safe(entry.key.removeprefix(mirror.prefix)))
            for entry in objects.list(mirror.bucket, mirror.prefix)
            if not entry.key.endswith("/")
        ]
        # A fault that is meant for the channels does not touch them.
        Transfer(objects, Pace(pace.cancelled)).copy(items, mirror.folder)
    mirror.restored()
