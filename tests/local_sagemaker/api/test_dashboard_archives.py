"""Archives that a job has left to be read for ever: the page shows the job without its evaluation."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from local_sagemaker.dashboard.results import _in_archive

EVALUATION = {"metrics": {"accuracy": 0.5}}

Write = Callable[[gzip.GzipFile], object]


def evaluation(file: gzip.GzipFile, content: bytes = json.dumps(EVALUATION).encode()) -> None:
    with tarfile.open(fileobj=file, mode="w|") as tar:
        member = tarfile.TarInfo("./metrics/evaluation.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def header(kind: bytes) -> Write:
    """Return what writes a header of a type and 256 MB of zeros as its content."""

    def write(file: gzip.GzipFile) -> None:
        member = tarfile.TarInfo("bomb")
        member.type, member.size = kind, 256 << 20
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.writelines(bytes(1 << 20) for _ in range(256))
        evaluation(file)

    return write


def members(file: gzip.GzipFile) -> None:
    block = tarfile.TarInfo("x").tobuf() * 1000
    file.writelines(block for _ in range(20))
    evaluation(file)


@pytest.mark.parametrize(
    "write",
    [
        header(tarfile.XHDTYPE),
        header(tarfile.XGLTYPE),
        header(tarfile.GNUTYPE_LONGNAME),
        header(tarfile.GNUTYPE_LONGLINK),
        members,
        lambda file: evaluation(file, b"[" * (1 << 19)),
        lambda file: evaluation(file, b"[1, 2]"),
        lambda file: file.write(b"no archive"),
    ],
    ids=["pax", "global pax", "long name", "long link", "20,000 members", "deep JSON", "a list", "no archive"],
)
def test_an_archive_that_is_a_bomb_has_no_evaluation(write: Write, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with gzip.open(archive, "wb", 1) as file:
        write(file)
    tracemalloc.start()
    try:
        assert _in_archive(archive) is None
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_that_is_none_has_one(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "model.tar.gz", "wb") as file:
        evaluation(file)
    assert _in_archive(tmp_path / "model.tar.gz") == EVALUATION
