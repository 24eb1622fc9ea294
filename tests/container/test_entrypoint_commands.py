"""The command line of the container's first process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from star_rating import failures

ENTRYPOINT = Path(__file__).parents[2] / "container" / "entrypoint.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ENTRYPOINT), *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_names_every_command_on_stdout(argument: str) -> None:
    result = run(argument)
    assert result.returncode == 0
    for command in ("train", "prepare", "report", "serve", "predict", "rules", "smoke", "metrics"):
        assert f"\n  {command} " in result.stdout


def test_the_examples_of_help_can_be_pasted() -> None:
    lines = run("--help").stdout.splitlines()
    continued = [number for number, line in enumerate(lines) if line.endswith("\\")]
    assert len(continued) >= 3
    assert all(lines[number + 1].startswith("        ") for number in continued)
    assert max(map(len, lines)) <= 100


def test_help_names_every_exit_code() -> None:
    table = run("--help").stdout.split("exit codes\n")[1]
    for code in failures.ExitCode:
        assert re.search(rf"\b{code.value} [a-zD]", table), code


def test_no_command_shows_the_usage_and_is_an_error() -> None:
    result = run()
    assert result.returncode == 2
    assert "usage: docker run" in result.stderr


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = run("trian")
    assert result.returncode == 2
    assert result.stderr == "error: There is no command 'trian'. Did you mean train? --help says what each does.\n"


def test_a_command_unlike_any_is_answered_with_all() -> None:
    result = run("xyzzy")
    assert result.returncode == 2
    assert "Known are train, smoke, serve, prepare, report, predict, rules, metrics." in result.stderr


def test_options_after_train_are_sent_to_the_hyperparameters_file() -> None:
    result = run("train", "--epochs", "3")
    assert result.returncode == 2
    assert "--epochs 3. Hyperparameters belong in /opt/ml/input/config/hyperparameters.json" in result.stderr


def test_options_after_smoke_are_refused() -> None:
    result = run("smoke", "--fast")
    assert result.returncode == 2
    assert "smoke takes no options" in result.stderr


def test_options_after_serve_are_refused() -> None:
    result = run("serve", "--port", "80")
    assert result.returncode == 2
    assert "serve takes no options" in result.stderr


def test_metrics_prints_metric_definitions() -> None:
    result = run("metrics")
    assert result.returncode == 0
    assert '"Name": "train:loss"' in result.stdout


def test_a_programs_exit_code_is_the_containers() -> None:
    result = run("report", "--model-dir", "/nonexistent")
    assert result.returncode == 13
    assert "/nonexistent/metrics/evaluation.json is missing" in result.stderr
