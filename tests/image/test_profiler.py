"""A job with the notebook's profiler config, and the rules container beside it, in the real image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.containers import Containers
from tests.helpers.real_job import RealJob

pytestmark = pytest.mark.image

GOLDEN = json.loads((Path(__file__).parents[1] / "launcher" / "golden" / "byoc_rules.json").read_text())
FIRST, PROFILED, STEPS = 5, 10, 16
"""The config's StartStep and NumSteps, and the job's steps."""


@pytest.fixture(scope="module")
def profiled(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> RealJob:
    job = RealJob(containers, tmp_path_factory.mktemp("profiled"))
    job.configure(epochs="1", train_steps_per_epoch=str(STEPS), use_amp="False", use_xla="False", run_test="False")
    (job.root / "input" / "config" / "profilerconfig.json").write_text(json.dumps(GOLDEN["ProfilerConfig"]))
    result = job.run("--memory", "2g", "--cpus", "1.5", "--network", "none")
    assert result.exit_code == 0, result.log
    (job.root / "log").write_text(result.log)
    return job


@pytest.fixture(scope="module")
def record(profiled: RealJob) -> Any:
    return json.loads((profiled.root / "model" / "run.json").read_text())["profiler"]


def test_it_leaves_what_sagemaker_uploads(profiled: RealJob, record: Any) -> None:
    profile = profiled.root / "output" / "profiler"
    assert record["folder"] == "/opt/ml/output/profiler"
    assert record["errors"] == []
    assert list(profile.glob("system/incremental/*/*.algo-1.json"))
    assert list(profile.glob("framework/pevents/*/*-algo-1_pythontimeline.json"))
    assert len(list(profile.glob(f"framework/tensorflow/detailed_profiling/*/{FIRST:09}/plugins/profile/*/*.pb"))) == 1
    assert len(list(profile.glob("framework/tensorflow/cprofile/*-algo-1/*/python_stats"))) == 2 * PROFILED
    report = (profiled.root / "output" / "data" / "profiler-report.html").read_text()
    assert "MatMul (oneDNN)" in report


def test_the_metrics_are_the_containers(profiled: RealJob) -> None:
    """Its limits are 1.5 cores and 2 GB; it has no network."""
    lines = [
        json.loads(line)
        for file in (profiled.root / "output" / "profiler").glob("system/incremental/*/*.json")
        for line in file.read_text().splitlines()
    ]
    values = {name: [line["Value"] for line in lines if name in (line["Name"], line["Dimension"])] for name in METRICS}
    assert all(values.values()), {name: len(found) for name, found in values.items()}
    assert max(values["ContainerCPUUtilization"]) > 30
    assert 2e8 < max(values["ContainerMemoryUsedInBytes"]) < 2 * 2**30
    assert max(values["MemoryUsedPercent"]) > 10
    assert sum(values["ReceiveBytesPerSecond"]) == 0


METRICS = (
    *("CPUUtilization", "I/OWaitPercentage", "ContainerCPUUtilization", "MemoryUsedPercent"),
    *("ContainerMemoryUsedInBytes", "ReadThroughputInBytesPerSecond", "ReceiveBytesPerSecond"),
)


def test_it_says_once_what_has_no_effect_and_nothing_else_is_noise(profiled: RealJob) -> None:
    said = [line for line in (profiled.root / "log").read_text().splitlines() if " profiler: " in line]
    assert [line.split(" profiler: ")[1].split()[0] for line in said] == [
        *("DataloaderProfilingConfig", "HorovodProfilingConfig", "SMDataParallelProfilingConfig"),
        "/opt/ml/output/data/profiler-report.html",
    ]


def test_the_rules_container_evaluates_every_profiler_rule_of_the_notebook(profiled: RealJob) -> None:
    config = profiled.root / "rules.json"
    config.write_text(json.dumps(GOLDEN["ProfilerRuleConfigurations"]))
    output = "/opt/ml/output"
    result = profiled.containers.run(
        [
            *("rules", f"{output}/tensors", "--profiler", f"{output}/profiler", "--config", "/opt/ml/rules.json"),
            *("--output", f"{output}/statuses.json", "--rule-output", f"{output}/rule-output"),
        ],
        ["--volume", f"{profiled.root}:/opt/ml"],
    )
    assert result.exit_code == 0, result.log
    statuses = json.loads((profiled.root / "output" / "statuses.json").read_text())
    assert {entry["RuleEvaluationStatus"] for entry in statuses} == {"NoIssuesFound"}
    assert "there is no GPU in the profile" in result.log
    report = profiled.root / "output" / "rule-output" / "ProfilerReport" / "profiler-output"
    assert (report / "profiler-report.html").read_text().startswith("<!DOCTYPE html>")
    assert (report / "profiler-reports" / "OverallSystemUsage.json").exists()
