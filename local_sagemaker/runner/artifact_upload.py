"""A job's results to S3: model.tar.gz and output.tar.gz, or the files as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from local_sagemaker.container_contract.paths import Layout, join, split
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.services.s3_store import NoSuchObjectError
from local_sagemaker.state_files import FULL, StorageError, storage_error
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.archive import ClashError, merged, write_archive


class UploadError(Exception):
    """The results cannot be brought to S3."""


class Hosts(Protocol):
    """Whose disks hold the results."""

    layouts: dict[str, Layout]


def upload(runner: JobRunner, hosts: Hosts, *, with_model: bool) -> dict[str, object]:
    """Return where the model (always, unless left out) and the output (if there is any) are; raise UploadError."""
    output = runner.job.request["OutputDataConfig"]
    uri = join(output["S3OutputPath"], runner.name, "output")
    send = _send_files if output.get("CompressionType") == "NONE" else _send_archive
    try:
        uris: dict[str, object] = {}
        if with_model:
            uris["model_uri"] = send(runner, _folders(hosts, "model"), uri, "model", if_empty=True)
        uris["output_uri"] = send(runner, _folders(hosts, "output/data"), uri, "output", if_empty=False)
    except (ClashError, NoSuchObjectError, StorageError) as error:
        raise UploadError(str(error)) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UploadError(str(storage_error(runner.folder, error))) from None
    return uris


def _folders(hosts: Hosts, path: str) -> list[tuple[str, Path]]:
    return [(host, layout.inside(path)) for host, layout in hosts.layouts.items()]


def _send_archive(
    runner: JobRunner, folders: list[tuple[str, Path]], uri: str, name: str, *, if_empty: bool
) -> str | None:
    results = merged(folders, runner.selection)
    if not results.files and not if_empty:
        return None
    archive = runner.folder / f"{name}.tar.gz"
    bucket, key = split(join(uri, archive.name))
    runner.context.objects.require(bucket)
    try:
        write_archive(results, archive)
        runner.context.objects.move_file(bucket, key, archive)
    finally:
        archive.unlink(missing_ok=True)
    return join(uri, archive.name)


def _send_files(
    runner: JobRunner, folders: list[tuple[str, Path]], uri: str, name: str, *, if_empty: bool
) -> str | None:
    results = merged(folders, runner.selection)
    if not results.files and not if_empty:
        return None
    bucket, prefix = split(join(uri, "data" if name == "output" else name))
    for host, folder in results.folders:
        selection = results.selection_of(host)
        for file in safe_files.files(folder, selection):
            try:
                content = file.open()
            except OSError as error:
                selection.left_out(file.path, f"cannot be read: {error.strerror or error}")
                continue
            with content:
                runner.context.objects.put_file(bucket, f"{prefix}/{file.path}", content)
    return f"s3://{bucket}/{prefix}/"
