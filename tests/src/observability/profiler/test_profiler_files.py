"""The profile's files: a disk that refuses them, whole lines or none, and giving up in time."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from observability.profiler import usage
from observability.profiler.files import Files
from observability.profiler.layout import ProfileLayout
from observability.profiler.recorder import Recorder
from observability.profiler.settings import Rotation
from observability.profiler.timeline import Step, Timeline


class ShortWrites(io.FileIO):
    """A disk that takes four bytes of each write."""

    def write(self, content: Any) -> int:
        return super().write(bytes(content)[:4])


def test_a_line_that_does_not_fit_leaves_no_part_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    files = Files(50)
    files.append(path, b"first line\n")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda self, mode, **_: ShortWrites(self, mode))
        files.append(path, b"second line\n")
    files.append(path, b"third line\n")
    assert path.read_text() == "first line\nthird line\n"
    assert files.error == f"{tmp_path}: {os.strerror(errno.ENOSPC)}"


def test_a_refusing_disk_is_said_once_and_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    files = Files(3)
    for _ in range(5):
        files.replace(blocked / "timeline.json", b"[]")
    assert files.given_up
    assert len(caplog.messages) == 1
    assert "training goes on" in caplog.messages[0]
    files.append(tmp_path / "other.json", b"{}\n")
    assert not (tmp_path / "other.json").exists()


def test_a_success_starts_the_count_anew(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    files = Files(2)
    for _ in range(3):
        files.replace(tmp_path / "a-file" / "timeline.json", b"[]")
        files.append(tmp_path / "metrics.json", b"{}\n")
    assert not files.given_up


def written(folder: Path) -> list[Path]:
    return sorted(folder.glob("framework/pevents/*/*.json"))


def test_steps_are_written_in_time_and_in_size(tmp_path: Path) -> None:
    timeline = Timeline(ProfileLayout(tmp_path, "algo-1"), Files(50), Rotation(seconds=60.0, size=1000))
    timeline.add(Step("TRAIN", 0, 1_600_000_000.0, 0.5))
    timeline.write_when_due(1_600_000_059.0)
    assert written(tmp_path) == []
    timeline.write_when_due(1_600_000_060.0)
    assert len(written(tmp_path)) == 1
    for number in range(1, 10):
        timeline.add(Step("TRAIN", number, 1_600_000_060.0 + number, 0.5))
    timeline.write_when_due(1_600_000_070.0)
    assert len(written(tmp_path)) == 2


def test_the_recorder_ends_when_it_is_told_to_and_does_not_keep_the_process(tmp_path: Path) -> None:
    layout, files = ProfileLayout(tmp_path, "algo-1"), Files(50)
    recorder = Recorder(layout, files, 60.0, Timeline(layout, files, Rotation()))
    recorder.start()
    assert recorder._thread.daemon
    recorder.stop()
    assert not recorder._thread.is_alive()


def test_a_kernel_that_cannot_be_read_ends_the_recorder_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usage, "read", lambda: int("not a number"))
    layout, files = ProfileLayout(tmp_path, "algo-1"), Files(50)
    timeline = Timeline(layout, files, Rotation())
    timeline.add(Step("TRAIN", 0, 1_600_000_000.0, 0.5))
    recorder = Recorder(layout, files, 0.1, timeline)
    recorder.start()
    recorder.stop()
    assert len(caplog.messages) == 1
    assert "no more system metrics, training goes on: ValueError" in caplog.messages[0]
    assert len(written(tmp_path)) == 1
