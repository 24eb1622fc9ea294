"""The README's tables are those of the code."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from star_rating import failures
from star_rating.failures import ExitCode, Failure
from star_rating.hyperparameters import Hyperparameters

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def allowed(field: dataclasses.Field[object]) -> str:
    match field.metadata["kind"]:
        case "choice":
            return ", ".join(field.metadata["choices"])
        case "boolean":
            return "True, False"
        case "text":
            return "text"
        case _:
            return f"{field.metadata['minimum']:.10g} to {field.metadata['maximum']:.10g}"


def hyperparameter_rows() -> list[str]:
    return [
        f"| `{field.name}` | {field.default} | {allowed(field)} | {field.metadata['meaning']} |"
        for field in dataclasses.fields(Hyperparameters)
    ]


def exit_code_rows() -> list[str]:
    classes = {
        failure.exit_code: failure
        for _, failure in inspect.getmembers(failures, inspect.isclass)
        if issubclass(failure, Failure) and failure is not Failure
    }
    meanings = {code: (failure.__doc__ or "").strip() for code, failure in classes.items()}
    meanings |= {
        ExitCode.SUCCESS: "The model is there.",
        ExitCode.BUG: "A defect of the image; the log has the traceback.",
    }
    return [f"| {code:d} | {meanings[code]} |" for code in ExitCode]


@pytest.mark.parametrize("row", hyperparameter_rows())
def test_a_hyperparameter_is_in_the_readme(row: str) -> None:
    assert row in README


@pytest.mark.parametrize("row", exit_code_rows())
def test_an_exit_code_is_in_the_readme(row: str) -> None:
    assert row in README
