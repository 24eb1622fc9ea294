"""Whether a command line that a document or a docstring shows exists: its program, command, options, target or file.

check_command("launcher train --local --file jobs/local.toml")      # raises FalseCommandError, or returns
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from launcher.cli.main import launcher

REPOSITORY = Path(__file__).parents[2]
COMMANDS = {"docker", "launcher", "make", "python"}
"""Programs whose commands are known here; others are believed."""
_TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
_IMAGE_COMMANDS = set(
    re.findall(
        r"^  ([a-z]+) {2,}",
        (REPOSITORY / "container" / "entrypoint.py").read_text(encoding="utf-8").partition("\nexamples")[0],
        re.MULTILINE,
    )
)


class FalseCommandError(AssertionError):
    """A command line that a reader would paste in vain."""


def command_lines(text: str) -> Iterator[str]:
    """Yield the commands of a shell block, continued lines as one, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*|^\s*([A-Z_]+=\S+\s+)+", "", line).strip()
        for part in re.split(r"\s+(?:&&|\||>)\s+", bare):
            inner = re.search(r"\$\(([^()]+)\)", part)
            if inner:
                yield inner[1]
            if part:
                yield part


def check_command(line: str, modules: Collection[str] = ()) -> None:
    """Raise FalseCommandError if a command line names what there is not; `modules` are those of `python -m`."""
    for command in command_lines(line):
        program, *rest = shlex.split(command)
        if program == "launcher":
            _check_launcher(rest, line)
        elif program == "make":
            targets = [word for word in rest if "=" not in word and not word.startswith("-")]
            _demand(set(targets) <= _TARGETS, line, f"the Makefile has no {targets}")
        elif program == "python":
            _check_python(rest, line, modules)
        elif program == "docker" and rest[:1] == ["run"]:
            _check_docker_run(rest, line)
        elif program.startswith(("scripts/", ".ci/")):
            _check_script(program, rest, line)


def _check_python(words: list[str], line: str, modules: Collection[str]) -> None:
    target = next((word for word in words if not word.startswith("-")), "")
    if "-m" in words:
        _demand(not modules or target in modules or target in {"venv", "pstats"}, line, f"there is no module {target}")
    elif target:
        # `python x.py` stands beside x.py, or in the exported model's folder.
        name = target.removeprefix("code/")
        folders = ("src", "container", "scripts", "benchmarks", "data")
        exists = any(
            path.as_posix().endswith(f"/{name}") for folder in folders for path in REPOSITORY.glob(f"{folder}/**/*.py")
        )
        _demand(exists, line, f"there is no {target}")


def _check_docker_run(words: list[str], line: str) -> None:
    position = next((index for index, word in enumerate(words) if re.match(r"IMAGE$|distilbert-trainer:", word)), None)
    if position is not None and position + 1 < len(words) and "--entrypoint" not in words:
        command = words[position + 1]
        _demand(command in _IMAGE_COMMANDS or command == "--help", line, f"the image has no command {command}")


def _check_script(program: str, words: list[str], line: str) -> None:
    script = REPOSITORY / program
    _demand(script.exists(), line, f"there is no {program}")
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        _demand(option in script.read_text(encoding="utf-8"), line, f"{program} has no option {option}")


def _check_launcher(words: list[str], line: str) -> None:
    command: click.Command = launcher
    for word in words:
        if word.startswith("-"):
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            _demand(
                word.partition("=")[0] in options | {"--help", "-h"}, line, f"launcher {command.name} has no {word}"
            )
        elif isinstance(command, click.Group):
            for name in word.split("|"):  # launcher status|logs latest
                _demand(name in command.commands, line, f"launcher has no command {name}")
            command = command.commands[word.split("|")[0]]


def _demand(condition: bool, line: str, problem: str) -> None:  # noqa: FBT001
    if not condition:
        raise FalseCommandError(f"`{line.strip()}`: {problem}")
