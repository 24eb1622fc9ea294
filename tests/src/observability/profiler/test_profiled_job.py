"""A training job that is profiled as the notebook's profiler config asks: its files, and who can read them."""

from __future__ import annotations

import importlib
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.training_job import Outcome, TrainingJob

pytestmark = pytest.mark.slow

STEPS, FIRST, PROFILED = 10, 2, 3


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    job = TrainingJob(tmp_path_factory.mktemp("profiled"))
    window = f'{{"StartStep": {FIRST}, "NumSteps": {PROFILED}, }}'
    config = {
        "ProfilingIntervalInMilliseconds": 100,
        "DisableProfiler": False,
        "ProfilingParameters": {
            "LocalPath": str(job.root / "output" / "Profile"),
            "DetailedProfilingConfig": window,
            "PythonProfilingConfig": window.replace(
                ", }", ', "ProfilerName": "cprofile", "cProfileTimer": "total_time", }'
            ),
        },
    }
    path = job.root / "input" / "config" / "profilerconfig.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config))
    outcome = job.run(epochs="2", train_steps_per_epoch="5", log_every_steps="1", run_sample_predictions="False")
    assert outcome.exit_code == 0, outcome.log
    return outcome


@pytest.fixture(scope="module")
def folder(profiled: Outcome) -> Path:
    return profiled.root / "output" / "Profile"


def read_by_smdebug(folder: Path, module: str, reader: str) -> list[Any]:
    from observability.debugger import smdebug_messages

    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
    smdebug_messages.install()
    made = getattr(importlib.import_module(f"smdebug.profiler.{module}"), reader)(str(folder))
    events: list[Any] = made.get_events(0, 4e15)
    return events


def test_run_json_says_what_was_recorded_and_what_it_took(profiled: Outcome, folder: Path) -> None:
    record = profiled.run["profiler"]
    assert (record["enabled"], record["folder"], record["errors"]) == (True, str(folder), [])
    assert record["rules"]["MaxInitializationTime"] == "NoIssuesFound"
    assert set(record["seconds"]) == {"system_metrics", "trace", "report"}
    assert "Traceback" not in profiled.log + profiled.stderr


def test_every_step_has_its_duration(folder: Path) -> None:
    events = read_by_smdebug(folder, "algorithm_metrics_reader", "LocalAlgorithmMetricsReader")
    steps: dict[str, list[int]] = {"TRAIN": [], "EVAL": []}
    for event in sorted(events, key=lambda event: event.start_time):
        mode = event.event_name.partition("Step:ModeKeys.")[2]
        if mode:
            steps[mode].append(int(event.event_args["step_num"]))
    assert steps == {"TRAIN": list(range(STEPS)), "EVAL": list(range(2))}


def test_the_systems_metrics_are_read_at_the_interval(folder: Path) -> None:
    events = read_by_smdebug(folder, "system_metrics_reader", "LocalSystemMetricsReader")
    times = sorted({event.timestamp for event in events})
    assert len(times) > 10
    assert min(after - before for before, after in itertools.pairwise(times)) > 0.05
    assert {(event.type, event.dimension) for event in events} >= {("cpu", "CPUUtilization"), ("network", "Algorithm")}


def test_tensorflows_trace_has_the_steps_that_were_asked_for(profiled: Outcome) -> None:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    trace = Path(profiled.run["profiler"]["trace"])
    assert trace.name == f"{FIRST:09}"
    (file,) = trace.glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    (host,) = [plane for plane in space.planes if plane.name == "/host:CPU"]
    names = {number: metadata.name for number, metadata in host.event_metadata.items()}
    steps = [event for line in host.lines for event in line.events if names[event.metadata_id] == "train"]
    assert len(steps) == PROFILED
    assert any(name.endswith(":ResourceApplyAdam") for name in names.values())


def test_smdebug_reads_the_trace_too(folder: Path) -> None:
    events = read_by_smdebug(folder, "algorithm_metrics_reader", "LocalAlgorithmMetricsReader")
    traced = [event for event in events if event.event_name == "train"]
    steps = sorted(
        (e.start_time, e.end_time) for e in events if e.event_args and e.event_args.get("step_num") == str(FIRST)
    )
    assert len(traced) == PROFILED
    # Its times are the clock's: the first traced step holds the one that was timed.
    first = min(traced, key=lambda event: event.start_time)
    assert first.start_time <= steps[0][0] <= steps[0][1] <= first.end_time
    assert any(event.event_name.endswith(":ResourceApplyAdam") for event in events)


def test_python_is_profiled_in_the_same_steps(folder: Path) -> None:
    found = sorted(path.parent.name for path in folder.glob("framework/tensorflow/cprofile/*/*/python_stats"))
    begun = sorted({tuple(name.split("-")[1:3]) for name in found})
    assert begun == [
        (str(step), phase) for step in range(FIRST, FIRST + PROFILED) for phase in ("stepend", "stepstart")
    ]


def test_the_report_is_left_where_sagemaker_uploads_it(profiled: Outcome) -> None:
    report = profiled.root / "output" / "data" / "profiler-report.html"
    assert str(report) == profiled.run["profiler"]["report"]
    html = report.read_text(encoding="utf-8")
    assert "Inside a step" in html
    assert "Python function" in html
    assert "ResourceApplyAdam" in html
