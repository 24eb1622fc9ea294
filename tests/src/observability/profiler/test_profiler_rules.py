"""AWS's profiler rules with its default parameters: for each a profile on which it fires, and one on which not."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from observability.profiler.profile_reader import Profile
from observability.profiler.rules import PROFILE_RULES, ProfileRule
from observability.rule import ProfilerRule
from observability.rules.command import read_options, run
from observability.rules.configuration import make_rule
from star_rating.failures import ConfigurationError
from tests.helpers.profile_files import Reading, write_profile

ENOUGH = 1100
"""Readings; the rules want more than 1,000."""

BY_NAME = {rule.__name__: rule for rule in PROFILE_RULES}


def machine(number: int = ENOUGH, **values: list[float]) -> list[Reading]:
    return [values] * number


def judged(name: str, folder: Path, **parameters: Any) -> tuple[ProfileRule, list[str]]:
    profile = Profile(folder)
    profile.refresh()
    rule = BY_NAME[name](**parameters)
    return rule, [finding.sentence for finding in rule.evaluate(profile)]


HALF: list[Reading] = [
    {"gpu": [5.0], "cpu": [95.0, 20.0], "io_wait": [80.0, 0.0]},
    {"gpu": [90.0], "cpu": [50.0, 20.0]},
]
JUMP = machine(gpu_memory=[20.0]) + machine(20, gpu_memory=[90.0])

FIRES: dict[str, tuple[list[Reading], str]] = {
    "BatchSize": (machine(cpu=[30.0, 50.0]), "the CPU of algo-1 has room, 95th percentile 40 %"),
    "BatchSize ": (machine(cpu=[30.0], gpu=[60.0], gpu_memory=[30.0]), "has room"),
    "CPUBottleneck": (machine(cpu=[95.0, 10.0], gpu=[5.0, 99.0]), "in 100 % of the readings of algo-1"),
    "GPUMemoryIncrease": (JUMP, "memory of gpu0 of algo-1 grew by 7.0 % of it at once"),
    "IOBottleneck": (machine(cpu=[30.0], io_wait=[60.0], gpu=[5.0]), "was waiting for I/O"),
    "IOBottleneck ": (machine(cpu=[30.0, 30.0], io_wait=[60.0, 50.0]), "in 100 % of the readings"),
    "LoadBalancing": (machine(gpu=[95.0, 5.0]), "gpu0 and gpu1 of algo-1 are used differently, by 0.83"),
    "LowGPUUtilization": (machine(gpu=[40.0]), "gpu0 of algo-1 is used little: 95th percentile 40 %"),
    "LowGPUUtilization ": ([{"gpu": [1.0]}, {"gpu": [99.0]}] * ENOUGH, "gpu0 of algo-1 comes and goes"),
}
QUIET: dict[str, list[Reading]] = {
    "BatchSize": machine(cpu=[90.0, 60.0]),
    "BatchSize ": machine(cpu=[30.0], gpu=[60.0], gpu_memory=[75.0]),
    "CPUBottleneck": HALF[:1] * 500 + HALF[1:] * 600,
    "GPUMemoryIncrease": [{"gpu_memory": [20.0 + number / 100]} for number in range(ENOUGH)],
    "IOBottleneck": HALF[:1] * 500 + HALF[1:] * 600,
    "IOBottleneck ": machine(cpu=[30.0, 30.0], io_wait=[95.0, 0.0]),
    "LoadBalancing": machine(gpu=[95.0, 95.5]),
    "LowGPUUtilization": machine(gpu=[90.0]),
}


@pytest.mark.parametrize("name", FIRES)
def test_it_fires(tmp_path: Path, name: str) -> None:
    readings, sentence = FIRES[name]
    rule, found = judged(name.strip(), write_profile(tmp_path, readings))
    assert len(found) == 1
    assert sentence in found[0]
    assert (rule.missing(), rule.remark()) == ("", "")
    assert rule.statistics.violations > 0


@pytest.mark.parametrize("name", QUIET)
def test_it_does_not_fire(tmp_path: Path, name: str) -> None:
    rule, found = judged(name.strip(), write_profile(tmp_path, QUIET[name]))
    assert found == []
    assert (rule.missing(), rule.remark()) == ("", "")
    assert rule.measured


@pytest.mark.parametrize("name", ["CPUBottleneck", "GPUMemoryIncrease", "LoadBalancing", "LowGPUUtilization"])
def test_without_a_gpu_it_says_so(tmp_path: Path, name: str) -> None:
    rule, found = judged(name, write_profile(tmp_path, machine(cpu=[99.0, 99.0])))
    assert found == []
    assert (rule.missing(), rule.remark()) == ("", "there is no GPU in the profile")


def test_one_gpu_cannot_be_balanced(tmp_path: Path) -> None:
    rule, found = judged("LoadBalancing", write_profile(tmp_path, machine(gpu=[99.0])))
    assert found == []
    assert rule.remark() == "there are fewer than 2 GPUs"


@pytest.mark.parametrize("name", ["BatchSize", "CPUBottleneck", "IOBottleneck", "LowGPUUtilization"])
def test_with_too_few_readings_it_says_how_many_it_wants(tmp_path: Path, name: str) -> None:
    rule, found = judged(name, write_profile(tmp_path, machine(600, cpu=[9.0], gpu=[5.0], gpu_memory=[5.0])))
    assert found == []
    assert rule.remark() == "it judges from 1,001 readings on, and there are 600"


@pytest.mark.parametrize("rule", PROFILE_RULES, ids=lambda rule: rule.__name__)
def test_without_a_profile_it_says_what_is_missing(tmp_path: Path, rule: type[ProfileRule]) -> None:
    silent = rule()
    assert list(silent.look(tmp_path)) == []
    assert "there are no " in silent.missing()


SLOW = [0.3] * 200 + [1.5] * 12


@pytest.mark.parametrize(
    ("steps", "parameters", "found"),
    [
        (SLOW, {}, ["12 of 211 TRAIN steps of algo-1 took over 3 standard deviations longer"]),
        (SLOW, {"mode": "Step:ModeKeys.TRAIN"}, ["12 of 211"]),
        (SLOW, {"mode": "EVAL"}, []),
        (SLOW, {"n_outliers": 12}, []),
        (SLOW, {"stddev": 5}, []),
        ([0.3] * 200, {}, []),
        (SLOW[-30:], {}, []),
        # A first step that traces does not hide the others.
        ([60.0, *SLOW], {}, ["12 of 212"]),
    ],
)
def test_step_outliers(tmp_path: Path, steps: list[float], parameters: dict[str, Any], found: list[str]) -> None:
    _, sentences = judged("StepOutlier", write_profile(tmp_path, steps=steps), **parameters)
    assert len(sentences) == len(found)
    assert all(sentence.startswith(start) for sentence, start in zip(sentences, found, strict=True))


def test_a_mode_with_too_few_steps_does_not_keep_another_from_being_judged(tmp_path: Path) -> None:
    write_profile(tmp_path, steps=[0.3] * 200)
    write_profile(tmp_path, steps=[0.1] * 5, mode="EVAL", first_step_at=100.0)
    rule, found = judged("StepOutlier", tmp_path)
    assert (found, rule.remark(), rule.measured) == ([], "", "0 of 199 TRAIN steps")


@pytest.mark.parametrize(("first_step_at", "found"), [(1250.0, ["algo-1 was 21 min without a first step"]), (60.0, [])])
def test_a_late_first_step(tmp_path: Path, first_step_at: float, found: list[str]) -> None:
    readings = machine(30, cpu=[50.0])
    folder = write_profile(tmp_path, readings, [0.3] * 5, interval=60, first_step_at=first_step_at)
    assert judged("MaxInitializationTime", folder)[1] == found


def test_overall_system_usage_finds_nothing_and_has_percentiles_for_the_report(tmp_path: Path) -> None:
    rule, found = judged("OverallSystemUsage", write_profile(tmp_path, machine(99, cpu=[20.0, 40.0], memory=[7.0])))
    assert found == []
    assert rule.statistics.details["CPU"]["algo-1"] == {"max": 30.0, "p99": 30.0, "p95": 30.0, "p50": 30.0, "min": 30.0}
    assert rule.measured == "medians: CPU 30 %, CPU memory 7 %"


def test_hosts_are_judged_each_by_itself(tmp_path: Path) -> None:
    write_profile(tmp_path, machine(gpu=[40.0]), node="algo-1")
    write_profile(tmp_path, machine(gpu=[95.0]), node="algo-2")
    assert judged("LowGPUUtilization", tmp_path)[1] == ["gpu0 of algo-1 is used little: 95th percentile 40 %"]


def test_what_a_running_job_adds_is_read_too(tmp_path: Path) -> None:
    rule = BY_NAME["LowGPUUtilization"]()
    write_profile(tmp_path, machine(600, gpu=[40.0]))
    assert list(rule.look(tmp_path)) == []
    write_profile(tmp_path, machine(gpu=[40.0]))
    assert len(list(rule.look(tmp_path))) == 1
    assert rule.statistics.datapoints == ENOUGH


GOLDEN = Path(__file__).parents[3] / "launcher" / "golden" / "byoc_rules.json"


def test_the_command_evaluates_what_the_sdk_sends_and_writes_the_report(tmp_path: Path) -> None:
    """As a platform runs it beside a job: every profiler rule of the notebook, on a job whose CPU has room."""
    profile = write_profile(tmp_path / "profiler", machine(cpu=[30.0, 30.0], memory=[20.0]), [5.0, *SLOW])
    configurations = json.loads(GOLDEN.read_text())["ProfilerRuleConfigurations"]
    config, output, files = tmp_path / "config.json", tmp_path / "statuses.json", tmp_path / "rule-output"
    (tmp_path / "tensors").mkdir()
    config.write_text(json.dumps(configurations))
    words = ["--profiler", profile, "--config", config, "--output", output, "--rule-output", files]
    run(read_options([str(tmp_path / "tensors"), *map(str, words)]), threading.Event())
    statuses = {entry["RuleConfigurationName"]: entry for entry in json.loads(output.read_text())}
    assert {name for name, entry in statuses.items() if entry["RuleEvaluationStatus"] == "IssuesFound"} == {
        *("ProfilerReport", "BatchSize", "StepOutlier")
    }
    assert "BatchSize and StepOutlier found an issue" in statuses["ProfilerReport"]["StatusDetails"]
    assert statuses["LowGPUUtilization"]["RuleEvaluationStatus"] == "NoIssuesFound"
    assert statuses["LowGPUUtilization"]["StatusDetails"] == "Not evaluated: there is no GPU in the profile."
    report = files / "ProfilerReport" / "profiler-output"
    assert "StepOutlier" in (report / "profiler-report.html").read_text()
    seen = json.loads((report / "profiler-reports" / "BatchSize.json").read_text())
    assert (seen["RuleTriggered"], seen["Datapoints"], seen["Details"]) == (1, 1100, {"algo-1": {"cpu_p95": 30.0}})
    assert seen["RuleParameters"].splitlines()[0] == "cpu_threshold_p95:70"
    assert len(list((report / "profiler-reports").iterdir())) == len(PROFILE_RULES)


def test_the_reports_parameters_are_those_of_its_rules(tmp_path: Path) -> None:
    profile = write_profile(tmp_path, machine(cpu=[60.0]))
    for parameters, found in (({"BatchSize_cpu_threshold_p95": "50"}, 0), ({}, 1)):
        rule = make_rule("ProfilerReport", {"rule_to_invoke": "ProfilerReport", **parameters}, "here")
        assert isinstance(rule, ProfilerRule)
        assert len(list(rule.look(profile))) == found
    with pytest.raises(ConfigurationError, match="Did you mean BatchSize_cpu_threshold_p95"):
        make_rule("ProfilerReport", {"BatchSize_cpu_threshold": "50"}, "here")
