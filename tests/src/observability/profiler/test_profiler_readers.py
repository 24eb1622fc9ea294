"""smdebug's own readers read what the profiler writes."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import pytest

from observability.profiler.files import Files
from observability.profiler.layout import ProfileLayout
from observability.profiler.profile_reader import Profile
from observability.profiler.python_profile import PythonProfiler
from observability.profiler.recorder import lines
from observability.profiler.settings import PythonProfile, Rotation, Window
from observability.profiler.timeline import Step, Timeline
from observability.profiler.usage import Metric

NOW = 1_600_000_030.25


@pytest.fixture(scope="module", autouse=True)
def smdebug() -> None:
    """Its protobuf modules, made for the protobuf that is installed."""
    from observability.debugger import smdebug_messages

    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
    smdebug_messages.install()


def made_by_smdebug(module: str, name: str, *arguments: str) -> Any:
    return getattr(importlib.import_module(f"smdebug.profiler.{module}"), name)(*arguments)


def test_system_metrics(tmp_path: Path) -> None:
    layout, files = ProfileLayout(tmp_path, "algo-1"), Files(50)
    metrics = [Metric("cpu", "cpu0", "CPUUtilization", 97.5), Metric("memory", "MemoryUsedPercent", "", 12.5)]
    for now in (NOW, NOW + 60):
        files.append(layout.system_metrics(now), lines(metrics, layout, now))
    names = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.json"))]
    assert names == [f"system/incremental/2020091312/{minute}.algo-1.json" for minute in (1600000020, 1600000080)]
    reader = made_by_smdebug("system_metrics_reader", "LocalSystemMetricsReader", str(tmp_path))
    events = reader.get_events((NOW - 1) * 1e6, (NOW + 70) * 1e6)
    seen = [(event.type, event.name, event.dimension, event.value, event.node_id, event.timestamp) for event in events]
    assert seen == [
        ("cpu", "cpu0", "CPUUtilization", 97.5, "algo-1", NOW),
        ("memory", "MemoryUsedPercent", "", 12.5, "algo-1", NOW),
        ("cpu", "cpu0", "CPUUtilization", 97.5, "algo-1", NOW + 60),
        ("memory", "MemoryUsedPercent", "", 12.5, "algo-1", NOW + 60),
    ]
    assert len(reader.get_events((NOW + 1) * 1e6, (NOW + 70) * 1e6)) == 2


def test_step_durations(tmp_path: Path) -> None:
    timeline = Timeline(ProfileLayout(tmp_path, "algo-1"), Files(50), Rotation())
    steps = [Step("TRAIN", 7, NOW, 0.25, first=True), Step("EVAL", 0, NOW + 1, 0.125), Step("TRAIN", 8, NOW + 2, 0.5)]
    for step in steps:
        timeline.add(step)
    timeline.write()
    timeline.add(Step("TRAIN", 9, NOW + 80, 1.5))
    timeline.write()
    reader = made_by_smdebug("algorithm_metrics_reader", "LocalAlgorithmMetricsReader", str(tmp_path))
    events = sorted(reader.get_events(NOW * 1e6, (NOW + 90) * 1e6), key=lambda event: event.start_time)
    assert [(event.event_name, event.event_args["step_num"], event.start_time, event.duration) for event in events] == [
        ("Step:ModeKeys.TRAIN", "7", NOW * 1e6, 250_000),
        ("Step:ModeKeys.EVAL", "0", (NOW + 1) * 1e6, 125_000),
        ("Step:ModeKeys.TRAIN", "8", (NOW + 2) * 1e6, 500_000),
        ("Step:ModeKeys.TRAIN", "9", (NOW + 80) * 1e6, 1_500_000),
    ]
    assert {event.event_phase for event in events} == {"Step:ModeKeys.TRAIN", "Step:ModeKeys.EVAL"}
    assert reader._get_time_interval_for_step(8, 9) == ((NOW + 2) * 1e6, (NOW + 80) * 1e6 - 1)
    # And so does ours.
    profile = Profile(tmp_path)
    profile.refresh()
    assert profile.nodes["algo-1"].steps == {
        "TRAIN": [steps[0], steps[2], Step("TRAIN", 9, NOW + 80, 1.5)],
        "EVAL": [steps[1]],
    }


@pytest.mark.parametrize(
    ("profiler", "timer", "file"),
    [("cprofile", "off_cpu_time", "python_stats"), ("pyinstrument", "total_time", "python_stats.json")],
)
def test_profiles_of_python_code(tmp_path: Path, profiler: str, timer: str, file: str) -> None:
    profile = PythonProfiler(ProfileLayout(tmp_path, "algo-1"), PythonProfile(Window(5, 2), profiler, timer))
    for step in range(4, 9):
        profile.switch_phase("stepstart", step)
        sum(range(1000))
        profile.switch_phase("stepend", step)
    profile.stop()
    assert profile.error is None
    folder = str(tmp_path / "framework" / "tensorflow" / profiler)
    found = made_by_smdebug("analysis.python_stats_reader", "LocalPythonStatsReader", folder)
    stats = [entry for entry in found.load_python_profile_stats() if entry.stats_path.endswith(file)]
    assert [(entry.start_step, entry.start_phase.value, entry.end_step, entry.end_phase.value) for entry in stats] == [
        (5, "stepstart", 5, "stepend"),
        (5, "stepend", 6, "stepstart"),
        (6, "stepstart", 6, "stepend"),
        (6, "stepend", 7, "stepstart"),
    ]
    assert {entry.node_id.partition("-")[2] for entry in stats} == {"algo-1"}


def test_a_folder_that_refuses_profiles_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "framework").write_text("")
    profile = PythonProfiler(ProfileLayout(tmp_path, "algo-1"), PythonProfile(Window(0, 9)))
    for step in range(3):
        profile.switch_phase("stepstart", step)
        profile.switch_phase("stepend", step)
    assert profile.error is not None
    assert len(caplog.messages) == 1


def test_what_is_damaged_is_left_out_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout, files = ProfileLayout(tmp_path, "algo-1"), Files(50)
    metrics = lines([Metric("cpu", "cpu0", "CPUUtilization", 50.0)], layout, NOW)
    files.append(layout.system_metrics(NOW), b'{"Type": "cpu"\n' + metrics + b'{"Type": "cpu", "Na')
    files.replace(layout.timeline(NOW), b"[{")
    profile = Profile(tmp_path)
    for _ in range(3):
        profile.refresh()
    assert profile.nodes["algo-1"].readings["cpu"].tolist() == [50.0]
    assert len(caplog.messages) == 2
