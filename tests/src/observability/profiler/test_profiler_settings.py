"""What the profiler records: profilerconfig.json as SageMaker writes it, the defaults without it, and damaged ones."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from observability.profiler import profiler
from observability.profiler.settings import (
    DEFAULT_TRACE,
    ProfilerSettings,
    PythonProfile,
    Rotation,
    Window,
    read_settings,
)
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from tests.helpers.debugger_files import configure

SDK = json.loads((Path(__file__).parents[3] / "launcher" / "golden" / "byoc_rules.json").read_text())["ProfilerConfig"]
"""The notebook's profiler config, as SageMaker's SDK sends it: texts of JSON with a comma too many."""


def settings_of(contract: Contract, document: Any) -> ProfilerSettings:
    configure(contract, document, "profilerconfig.json")
    settings = read_settings(contract)
    assert settings is not None
    return settings


def parameters(**fields: Any) -> dict[str, Any]:
    return {"ProfilingParameters": fields}


def test_a_bare_run_traces_three_steps_below_the_output_folder(contract: Contract) -> None:
    settings = read_settings(contract)
    assert settings == ProfilerSettings(contract.output_dir / "profiler", trace=DEFAULT_TRACE)
    assert not settings.configured


def test_what_the_sdk_sends_is_read(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    settings = settings_of(contract, SDK)
    assert settings == ProfilerSettings(
        Path("/opt/ml/output/profiler"),
        configured=True,
        interval_seconds=0.5,
        rotation=Rotation(60.0, 10485760, 50),
        trace=Window(5, 10),
        python=PythonProfile(Window(5, 10), "cprofile", "total_time"),
    )
    assert [message.split()[1] for message in caplog.messages] == [
        "DataloaderProfilingConfig",
        "HorovodProfilingConfig",
        "SMDataParallelProfilingConfig",
    ]


def test_the_platform_s_own_switch_is_known(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    assert settings_of(contract, parameters(ProfilerEnabled="true", LocalPath="/opt/ml/output/profiler")).configured
    assert caplog.messages == []
    configure(contract, parameters(ProfilerEnabled=False), "profilerconfig.json")
    assert read_settings(contract) is None


def test_plain_json_is_the_same(contract: Contract) -> None:
    sent = settings_of(contract, SDK)
    plain = {name: str(text).replace(", }", "}") for name, text in SDK["ProfilingParameters"].items()}
    assert settings_of(contract, {**SDK, "ProfilingParameters": plain}) == sent


def test_names_are_read_in_any_case_and_paths_keep_theirs(contract: Contract) -> None:
    document = parameters(
        LOCALPATH="/opt/ml/Profile", pythonprofilingconfig='{"NumSteps": 1, "profilername": "PyInstrument"}'
    )
    settings = settings_of(contract, document)
    assert settings.folder == Path("/opt/ml/Profile")
    assert settings.python == PythonProfile(Window(None, 1), "pyinstrument")


def test_system_metrics_alone(contract: Contract) -> None:
    settings = settings_of(contract, {"ProfilingIntervalInMilliseconds": 100, "S3OutputPath": "s3://bucket/"})
    assert (settings.interval_seconds, settings.trace, settings.python) == (0.1, None, None)


@pytest.mark.parametrize("switch", [True, "true", "True"])
def test_disable_profiler_turns_it_off(contract: Contract, switch: object) -> None:
    configure(contract, {**SDK, "DisableProfiler": switch}, "profilerconfig.json")
    assert read_settings(contract) is None
    with profiler.start(contract) as profile:
        assert profile.finish() == {
            "enabled": False,
            "disabled_reason": "profilerconfig.json says DisableProfiler",
        }
    assert not contract.output_dir.exists()


def test_the_hyperparameter_turns_it_off_whatever_the_file_says(contract: Contract) -> None:
    configure(contract, "{", "profilerconfig.json")
    with profiler.start(contract, enabled=False) as profile:
        assert profile.wrap_callbacks([1, 2], lambda: 0) == [1, 2]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "is not JSON"),
        ({"DisableProfiler": "perhaps"}, "DisableProfiler is 'perhaps'; true or false"),
        ({"ProfilingIntervalInMilliseconds": 50}, "ProfilingIntervalInMilliseconds is 50; a number from 100 to 60000"),
        ({"ProfilingIntervalInMilliseconds": "often"}, "ProfilingIntervalInMilliseconds is 'often'"),
        ({"ProfilingParameters": ["LocalPath"]}, "ProfilingParameters must be an object"),
        (parameters(LocalPath="s3://bucket/profile"), "LocalPath is 's3://bucket/profile'"),
        (parameters(RotateFileCloseIntervalInSeconds="0"), "RotateFileCloseIntervalInSeconds is '0'; a number from 1"),
        (parameters(DetailedProfilingConfig="{StartStep: 5}"), "DetailedProfilingConfig is '{StartStep: 5}'"),
        (parameters(DetailedProfilingConfig="__import__('os').getpid()"), "DetailedProfilingConfig is"),
        (parameters(DetailedProfilingConfig="(" * 3000), "DetailedProfilingConfig is"),
        (parameters(DetailedProfilingConfig='{"StartStep": "five"}'), "DetailedProfilingConfig: StartStep is 'five'"),
        (parameters(DetailedProfilingConfig='{"StartStep": 1, "DurationInSeconds": 2}'), "leave one of the two out"),
        (parameters(DetailedProfilingConfig='{"MetricsRegex": "."}'), "says no steps"),
        (parameters(PythonProfilingConfig='{"NumSteps": 1, "ProfilerName": "gprof"}'), "ProfilerName is 'gprof'"),
        (parameters(PythonProfilingConfig='{"NumSteps": 1, "cProfileTimer": "now"}'), "cProfileTimer is 'now'"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(contract: Contract, document: Any, complaint: str) -> None:
    path = configure(contract, document, "profilerconfig.json")
    with pytest.raises(ConfigurationError) as error:
        read_settings(contract)
    assert str(error.value).startswith(str(path))
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("window", "covered"),
    [
        (Window(5, 3), [5, 6, 7]),
        (Window(5, None), [5]),
        (Window(None, 2), [3, 4]),
        (Window(start_time=104.0, seconds=2.0), [4, 5]),
        (Window(start_time=104.0), [4]),
        (Window(seconds=2.0), [3, 4]),
    ],
)
def test_a_window_by_steps_or_by_the_clock(window: Window, covered: list[int]) -> None:
    """A run that begins with step 3, and has a step a second."""
    begun = window.begun(3, 103.0)
    seen: list[int] = []
    for step in range(3, 20):
        if begun.covers(step, 100.0 + step, len(seen)):
            seen.append(step)
    assert seen == covered


@pytest.mark.parametrize(
    ("environ", "configured", "by_platform"),
    [
        ({}, True, False),
        ({"TRAINING_JOB_NAME": "job"}, True, True),
        ({"TRAINING_JOB_NAME": "job"}, False, False),
        ({"TRAINING_JOB_NAME": "job", "PROFILER_SYSTEM_METRICS": "container"}, True, False),
    ],
)
def test_the_platforms_system_metrics_are_not_written_twice(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], *, configured: bool, by_platform: bool
) -> None:
    for name in ("TRAINING_JOB_NAME", "PROFILER_SYSTEM_METRICS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    folder = contract.output_dir / "profiler"
    settings = replace(ProfilerSettings(folder, configured=configured), interval_seconds=0.1)
    assert profiler.written_by_platform(settings) == by_platform
    assert os.environ.get("TRAINING_JOB_NAME") == environ.get("TRAINING_JOB_NAME")


def test_on_sagemaker_the_report_has_metrics_that_the_profile_leaves_to_the_platform(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_JOB_NAME", "job")
    monkeypatch.delenv("PROFILER_SYSTEM_METRICS", raising=False)
    configure(contract, {"ProfilingIntervalInMilliseconds": 100}, "profilerconfig.json")
    with profiler.start(contract) as profile:
        assert isinstance(profile, profiler.Profiler)
        kept = [folder for folder in profile._folders if folder != contract.output_dir / "profiler"]
        while profile._recorder.readings < 2:
            time.sleep(0.01)
        record = profile.finish()
    assert (record["errors"], len(kept), kept[0].exists()) == ([], 1, False)
    written = [path for path in contract.output_dir.rglob("*") if path.is_file()]
    assert written == [contract.output_dir / "data" / "profiler-report.html"]
    assert "Use of the machine" in written[0].read_text(encoding="utf-8")
