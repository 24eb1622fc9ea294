"""SageMaker's config files: an object, no file, or a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_rating.contract import local_path, read_object
from star_rating.failures import ConfigurationError


def test_an_object_is_returned_and_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"LocalPath": "/opt/ml/x"}')
    assert read_object(tmp_path / "config.json") == {"LocalPath": "/opt/ml/x"}
    assert read_object(tmp_path / "other.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.json (is not JSON|holds no JSON object)"):
        read_object(tmp_path / "config.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"config\.json cannot be read: Is a directory\. Make it"):
        read_object(tmp_path / "config.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    with pytest.raises(ConfigurationError, match=r"loop\.json cannot be read: Too many levels"):
        read_object(tmp_path / "loop.json")


@pytest.mark.parametrize(
    ("config", "folder"),
    [({}, None), ({"LocalPath": None}, None), ({"LocalPath": ""}, None), ({"LocalPath": "/a b"}, Path("/a b"))],
)
def test_a_local_path_may_be_left_out(config: dict[str, object], folder: Path | None) -> None:
    assert local_path(config, Path("config.json")) == folder


@pytest.mark.parametrize(
    "value", [3, [], False, "relative", "s3://bucket/x", "/opt/\0", "/opt/\ud800", "/" + "x" * 255]
)
def test_a_local_path_that_is_none_is_named(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.json: LocalPath is .*; a folder of the container is needed"):
        local_path({"LocalPath": value}, Path("config.json"))
