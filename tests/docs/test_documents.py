"""The documents say what is true of the code: tables, commands, links, files.

Commands are checked, not run: CI's image and docker tiers run what they stand for.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from star_rating import failures
from star_rating.failures import ExitCode, Failure
from star_rating.hyperparameters import Hyperparameters
from tests.helpers.documented_commands import FalseCommandError, check_command, command_lines

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    REPOSITORY / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    if (REPOSITORY / name).exists()
)
REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8")
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())


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
def test_a_hyperparameter_is_in_the_reference(row: str) -> None:
    assert row in REFERENCE


@pytest.mark.parametrize("row", exit_code_rows())
def test_an_exit_code_is_in_the_reference(row: str) -> None:
    assert row in REFERENCE


def blocks(document: Path) -> Iterator[str]:
    """Yield the fenced blocks that are not of another language, and the indented ones."""
    text = document.read_text(encoding="utf-8")
    yield from re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    \$ (.*)$", text, re.MULTILINE)


@documents
def test_every_command_that_a_document_shows_exists(document: Path) -> None:
    for block in blocks(document):
        for line in command_lines(block):
            if re.match(r"(launcher|make|docker run|scripts/|python3?(\.11)? )", line):
                try:
                    check_command(line)
                except FalseCommandError as error:
                    pytest.fail(f"{document.relative_to(REPOSITORY)}: {error}", pytrace=False)


@functools.cache
def anchors(document: Path) -> set[str]:
    """Return the addresses of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@documents
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.relative_to(REPOSITORY)} links to {path}, which is not there"
        assert not anchor or anchor in anchors(file), (
            f"{document.relative_to(REPOSITORY)}: no heading {anchor} in {file.name}"
        )


@documents
def test_every_file_of_ours_that_a_document_names_exists(document: Path) -> None:
    names = re.findall(
        r"`((?:src|container|launcher|local_sagemaker|scripts|tests|docs|jobs|benchmarks|data|notebooks)/[\w./-]+)`",
        document.read_text(encoding="utf-8"),
    )
    if document.name != "CHANGELOG.md":
        assert [name for name in names if not (REPOSITORY / name).exists()] == []
