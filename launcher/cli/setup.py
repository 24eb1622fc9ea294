"""`launcher setup`: from an empty AWS account to a job file that names what its jobs need."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import options
from launcher.errors import JobFileError, UsageError, os_error_text
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session


@click.command()
@click.option("--stack", default="star-rating", show_default=True, help="Name of the CloudFormation stack.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="One of the template's; several times."
)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=Path("job.toml"),
    show_default=True,
    help="Job file that gets region, account, role, bucket and training_image.",
)
@click.option("--region", help="AWS region; by default AWS_REGION, then the profile's.")
@click.option("--print", "only_print", is_flag=True, help="Print the template; ask no AWS service.")
@options.local
@options.output
def setup(
    session: Session,
    *,
    stack: str,
    parameters: tuple[str, ...],
    path: Path,
    region: str | None,
    only_print: bool,
    output: Output,
) -> None:
    """Make repository, bucket and roles by CloudFormation, and write them into the job file."""
    template = resources.files("launcher.data").joinpath("template.yaml").read_text(encoding="utf-8")
    terminal = Terminal(output)
    if only_print:
        click.echo(template, nl=False)
        return
    values = dict(_parameter(one) for one in parameters)
    text = _read(path)  # before anything is made
    from launcher.aws.stack import deploy

    outputs = deploy(stack, template, values, session.for_region(region), say=terminal.say)
    kept = re.search(r'(?m)^training_image\s*=\s*"[^"]*?([:@][^:@"/{}]+(?::[0-9a-f]{64})?)"', text)
    changed = with_values(
        text,
        {
            "region": outputs["Region"],
            "account": outputs["Account"],
            "role": outputs["Role"],
            "training_image": outputs["Repository"] + (kept[1] if kept else ":v1"),
            "bucket": outputs["Bucket"],
        },
        str(path),
    )
    _write(path, changed)
    terminal.record(outputs)
    terminal.say(f"wrote region, account, role, bucket and training_image into {path}")
    terminal.say(f"next: git commit {path} (an image is of a commit)")
    terminal.say('then: export LAUNCHER_TRAINING_IMAGE="$(scripts/build_and_push.sh)" and launcher check')


def with_values(text: str, values: Mapping[str, str], name: str) -> str:
    """Return a TOML text with other values for keys at its top; comments, order and everything else stay.

    Raise JobFileError for a text that is no TOML, or whose value is not written as one string on one line.
    """
    head = re.split(r"(?m)^(?=\[)", text, maxsplit=1)[0]  # what stands before the first table
    rest = text[len(head) :]
    for key, value in values.items():
        written = f"{key} = {json.dumps(value)}"
        line = re.compile(rf"""(?m)^{key}[ \t]*=[ \t]*(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')""")
        head, number = line.subn(lambda _, written=written: written, head, count=1)
        if not number:
            head = f"{head.rstrip()}\n{written}\n\n".lstrip()
    changed = head + rest
    try:
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except tomllib.TOMLDecodeError as error:
        raise JobFileError.of(name, f"cannot be changed: {error}; write {', '.join(values)} by hand") from None
    if after != before | dict(values):
        raise JobFileError.of(
            name, f"is written in a way that cannot be changed here; write {', '.join(values)} by hand"
        )
    return changed


def _parameter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise UsageError(f"--parameter {text!r} is no NAME=VALUE; `launcher setup --print` lists the names")
    return name, value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = os_error_text(error) if isinstance(error, OSError) else "is not UTF-8"
        raise JobFileError.of(str(path), f"cannot be read: {reason}; --file names another") from None


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise JobFileError.of(str(path), f"cannot be written: {os_error_text(error)}") from None
