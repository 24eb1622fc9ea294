"""`launcher train --dry-run --format sdk-v3`: the program has every field, or says that it cannot send it.

That the program sends the request is shown with SDK v3 itself, in tests/conformance/test_sdk_v3_request.py.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.cli.main import main
from launcher.request.keys import snake_case
from launcher.request.sdk_v3 import not_sent, sdk_v3_program
from launcher.request.training import training_request

REPOSITORY = Path(__file__).parents[2]
EVERYTHING = Path(__file__).with_name("everything.toml")
WRAPPERS = {"algorithm_specification", "resource_config", "vpc_config", "input_data_config", "hyper_parameters"}
"""Levels of the request that ModelTrainer has other names for."""


def fields(value: Any) -> Iterator[str]:
    """Yield every field's name in snake_case, without the keys of maps."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield snake_case(name)
            if name not in ("HyperParameters", "Environment"):
                yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from values(inner)
    else:
        yield value


@pytest.mark.parametrize("path", ["job.toml", "jobs/notebook.toml", "jobs/local.toml", str(EVERYTHING)])
def test_the_program_names_every_field(path: str) -> None:
    job = launcher.load_job(REPOSITORY / path)
    request = training_request(job, "job-name")
    program = sdk_v3_program(request, job.base_job_name, job.region)
    tree = ast.parse(program)
    named = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    left_out = not_sent(request)
    sent = {name: value for name, value in request.items() if name not in {*left_out, "TrainingJobName"}}
    algorithm = request["AlgorithmSpecification"].items()
    sent["AlgorithmSpecification"] = {
        name: value for name, value in algorithm if f"AlgorithmSpecification.{name}" not in left_out
    }
    methods = {node.attr.removeprefix("with_") for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    renamed = {"role_arn": "role", "hyper_parameters": "hyperparameters", "tensor_board_output_config": ""}
    missing = {renamed.get(name, name) for name in fields(sent)} - WRAPPERS - named - methods - {""}
    assert missing == set()
    assert set(values(sent)) <= constants
    comments = [line for line in program.splitlines() if line.startswith("# ")]
    for part, value in left_out.items():
        assert all(f"# {line}" in comments for line in json.dumps({part: value}, indent=1).splitlines())
    assert any("job-name" in line for line in comments)


def test_the_documents_program_is_that_of_the_notebooks_job(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs" / "sdk.md").read_text(encoding="utf-8")
    shown = page.partition("```python\n")[2].partition("```")[0]
    command = ["train", "--file", str(REPOSITORY / "jobs" / "notebook.toml"), "--job-name", "NAME"]
    assert main([*command, "--dry-run", "--format", "sdk-v3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in shown.splitlines() if line.strip(" ,") != "..." and line not in printed] == []
    assert len(shown.splitlines()) > 50


def test_the_command_prints_it_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--file", str(REPOSITORY / "job.toml"), "--format", "sdk-v3"]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    formatted = subprocess.run(
        [Path(sys.executable).with_name("ruff"), "format", "--line-length", "120", "-"],
        input=printed,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert formatted == printed
    assert main(command) == 2
    assert "--format sdk-v3 needs --dry-run" in capsys.readouterr().err
