"""Which files a channel is made of, however the folder came about."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from star_rating.data.files import visible_files
from star_rating.failures import DataError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in visible_files(folder, "*.tfrecord")]


def test_nested_folders_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b.tfrecord", "a/deep/c.tfrecord", ".hidden.tfrecord", ".trash/d.tfrecord", "notes.txt", "A.TFRECORD"):
        touch(tmp_path / name)
    assert names(tmp_path) == ["a/deep/c.tfrecord", "b.tfrecord"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere" / "a.tfrecord").parent
    channel = tmp_path / "train"
    channel.mkdir()
    (channel / "folder").symlink_to(elsewhere)
    (channel / "b.tfrecord").symlink_to(elsewhere / "a.tfrecord")
    assert names(channel) == ["b.tfrecord", "folder/a.tfrecord"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path / "nested" / "a.tfrecord")
    (tmp_path / "nested" / "up").symlink_to(tmp_path)
    assert names(tmp_path) == ["nested/a.tfrecord"]


def test_a_link_that_leads_out_of_the_container_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").symlink_to("/data/elsewhere/a.tfrecord")
    with pytest.raises(DataError, match=r"a\.tfrecord is a link to /data/elsewhere/a\.tfrecord, which is not there"):
        names(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tfrecord")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        names(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.tfrecord")).touch()
    with pytest.raises(DataError, match=r"\\xff.*not UTF-8"):
        names(tmp_path)


AS_NOBODY = """
import os, sys
from pathlib import Path
from star_rating.data.files import visible_files
from star_rating.failures import DataError
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    visible_files(Path(sys.argv[1]), "*.tfrecord")
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(("locked", "said"), [("a", "cannot list"), ("a/b.tfrecord", "may not read")])
def test_what_the_user_may_not_read_is_not_left_out_in_silence(locked: str, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's: only its owner may enter that one
        folder = Path(name)
        folder.chmod(0o755)
        touch(folder / "a" / "b.tfrecord")
        (folder / locked).chmod(0)
        result = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, name],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src")},
        )
        (folder / locked).chmod(0o755)
    assert said in result.stdout
