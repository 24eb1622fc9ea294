"""The report as one HTML file: no script, nothing from elsewhere, readable on a phone, in the dark and on paper.

html = page(contents)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from observability.profiler.report.contents import Contents, headline, statistics, while_training
from observability.profiler.report.costs import inside_a_step
from observability.profiler.report.machine import machine
from observability.profiler.report.steps import training_steps
from observability.profiler.report.time_spent import time_spent
from observability.profiler.report.verdicts import rules
from observability.profiler.report.words import duration, size

FOLDER = Path(__file__).parent


def page(contents: Contents) -> str:
    """Return the whole file."""
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    sections = (
        time_spent(contents),
        training_steps(contents),
        machine(contents),
        inside_a_step(contents),
        rules(contents.verdicts),
    )
    return template.substitute(
        title=escape(contents.title),
        host=escape(contents.host),
        start=time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(contents.start)),
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        headline=escape(headline(contents)),
        figures="".join(_figures(contents)),
        sections="\n".join(sections),
        footer=_footer(contents),
    )


def _figures(contents: Contents) -> Iterator[str]:
    times, readings = statistics(contents), contents.node.readings
    if times:
        yield _figure("median step", duration(times["median"]), f"95 % within {duration(times['p95'])}")
    column = "container_cpu" if readings.has("container_cpu") else "cpu"
    if readings.has(column):
        cores = "1 core" if readings.cores == 1 else f"{readings.cores} cores"
        yield _figure("CPU while training", f"{while_training(contents, column).mean():.0f} %", f"of {cores}")
    if readings.has("container_memory"):
        yield _figure("most memory", size(float(np.nanmax(readings["container_memory"]))), "without pages of files")
    elif readings.has("memory"):
        yield _figure("most memory", f"{np.nanmax(readings['memory']):.0f} %", "of the machine's")
    training, validation = (len(contents.node.steps[mode]) for mode in ("TRAIN", "EVAL"))
    yield _figure("training steps", f"{training:,}", f"and {validation:,} of validation")


def _figure(name: str, value: str, remark: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"


def _footer(contents: Contents) -> str:
    lines = ["<p>Drawn by distilbert-trainer from files in the format of SageMaker's profiler.</p>"]
    if contents.trace:
        folder = escape(str(contents.trace.parents[3]))
        lines.insert(
            0, f"<p>The trace, thread by thread: <code>tensorboard --logdir {folder}</code>, page Profile.</p>"
        )
    return "".join(lines)
