"""A job's results to S3: model.tar.gz and output.tar.gz, or the files as they are.

upload(life, attempt, with_model=True)      # {"model_uri": "s3://.../output/model.tar.gz", "output_uri": ...}
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from local_sagemaker.container_contract.paths import Layout
from local_sagemaker.container_contract.s3_uri import join, split
from local_sagemaker.files import FULL, StorageError, storage_error
from local_sagemaker.runner.job_life import JobLife
from local_sagemaker.services.objects import NoSuchObjectError
from local_sagemaker.volumes import tree
from local_sagemaker.volumes.outputs import ClashError, merged, write_archive


class UploadError(Exception):
    """The results cannot be brought to S3."""


class Hosts(Protocol):
    """Whose disks hold the results."""

    layouts: dict[str, Layout]


def upload(life: JobLife, hosts: Hosts, *, with_model: bool) -> dict[str, object]:
    """Return where the model (always, unless left out) and the output (if there is any) are; raise UploadError."""
    output = life.job.request["OutputDataConfig"]
    uri = join(output["S3OutputPath"], life.name, "output")
    send = _send_files if output.get("CompressionType") == "NONE" else _send_archive
    try:
        uris: dict[str, object] = {}
        if with_model:
            uris["model_uri"] = send(life, _folders(hosts, "model"), uri, "model", if_empty=True)
        uris["output_uri"] = send(life, _folders(hosts, "output/data"), uri, "output", if_empty=False)
    except (ClashError, NoSuchObjectError, StorageError) as error:
        raise UploadError(str(error)) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UploadError(str(storage_error(life.folder, error))) from None
    return uris


def _folders(hosts: Hosts, path: str) -> list[tuple[str, Path]]:
    return [(host, layout.inside(path)) for host, layout in hosts.layouts.items()]


def _send_archive(life: JobLife, folders: list[tuple[str, Path]], uri: str, name: str, *, if_empty: bool) -> str | None:
    results = merged(folders, life.selection)
    if not results.files and not if_empty:
        return None
    archive = life.folder / f"{name}.tar.gz"
    bucket, key = split(join(uri, archive.name))
    life.world.objects.require(bucket)
    try:
        write_archive(results, archive)
        life.world.objects.move_file(bucket, key, archive)
    finally:
        archive.unlink(missing_ok=True)
    return join(uri, archive.name)


def _send_files(life: JobLife, folders: list[tuple[str, Path]], uri: str, name: str, *, if_empty: bool) -> str | None:
    results = merged(folders, life.selection)
    if not results.files and not if_empty:
        return None
    bucket, prefix = split(join(uri, "data" if name == "output" else name))
    for host, folder in results.folders:
        selection = results.selection_of(host)
        for file in tree.files(folder, selection):
            try:
                content = file.open()
            except OSError as error:
                selection.left_out(file.path, f"cannot be read: {error.strerror or error}")
                continue
            with content:
                life.world.objects.put_file(bucket, f"{prefix}/{file.path}", content)
    return f"s3://{bucket}/{prefix}/"
