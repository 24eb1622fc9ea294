"""The report as one HTML file: no script, nothing from elsewhere, readable on a phone, in the dark and on paper.

html = page(contents)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from observability.profiler.operations import Cost
from observability.profiler.profile_reader import Readings, Values
from observability.profiler.report import charts
from observability.profiler.report.charts import Axis
from observability.profiler.report.contents import (
    ISSUES,
    NO_ISSUES,
    NOT_JUDGED,
    Contents,
    RuleResult,
    byte_unit,
    duration,
    headline,
    percent,
    size,
    statistics,
    while_training,
)
from observability.profiler.rules import StepOutlier, ordinary, outliers
from observability.profiler.timeline import Step


def section(title: str, note_text: str, body: str) -> str:
    """Return a section of the page."""
    note = f'<p class="note">{escape(note_text)}</p>' if note_text else ""
    return f"<section><h2>{escape(title)}</h2>{note}{body}</section>"


def figure(title: str, keys: Sequence[tuple[str, str]], chart: str, style: str = "") -> str:
    """Return a chart below its title and its keys: style and text of each."""
    shown = "".join(f'<span class="key {key}">{escape(text)}</span>' for key, text in keys)
    caption = f"<figcaption><b>{escape(title)}</b><span>{shown}</span></figcaption>" if title else ""
    return f'<figure class="{style}">{caption}{chart}</figure>'


def row(*cells: str) -> str:
    """Return a table's row."""
    return f"<tr>{''.join(cells)}</tr>"


def time_spent(contents: Contents) -> str:
    """Return a bar of the parts, and a table of them."""
    total = max(sum(part.seconds for part in contents.parts), 1e-9)
    words = ", ".join(f"{part.name} {percent(part.seconds / total)}" for part in contents.parts)
    marks = charts.stacked([(part.key, part.seconds / total) for part in contents.parts])
    bar = charts.svg("time", "Where the time went", f"Of {duration(total)}: {words}.", marks)
    rows = "".join(
        row(
            f'<th scope="row"><span class="key {part.key}">{escape(part.name)}</span></th>',
            f'<td class="soft">{escape(part.meaning)}</td>',
            f'<td class="number">{duration(part.seconds)}</td>',
            f'<td class="number">{percent(part.seconds / total, 1)}</td>',
        )
        for part in contents.parts
    )
    table = f'<table class="parts"><tbody>{rows}</tbody></table>'
    return section("Where the time went", "", figure("", [], bar, "bar") + table)


SLOWEST = 5
DOTS = 1500
"""At the most; outliers are always drawn."""
KEYS = [("train", "a step"), ("outlier", "an outlier"), ("typical", "median")]


def training_steps(contents: Contents) -> str:
    """Return a dot for each step, outliers marked; nothing for a run without steps."""
    steps = ordinary(contents.node.steps["TRAIN"])
    if len(steps) < 2:
        return ""
    slow = outliers(steps, StepOutlier().stddev)
    seconds = np.array([step.seconds for step in steps])
    median, most = float(np.median(seconds)), float(seconds.max())
    unit, name = (1e-3, "ms") if most < 1 else (1.0, "s")
    y = charts.axis(0, most * 1.02 / unit, 4, f"{{:g}} {name}").scaled(unit)
    x = charts.step_axis(steps[0].number, steps[-1].number)
    others = [step for step in steps if step.seconds < min((one.seconds for one in slow), default=np.inf)]
    marks = (
        charts.grid(y)
        + charts.dots([(step.number, step.seconds) for step in others[:: max(len(others) // DOTS, 1)]], x, y, "train")
        + charts.level(median, y, "typical")
        + charts.named_dots([(step.number, step.seconds, step_text(step)) for step in slow], x, y, "outlier")
    )
    text = (
        f"{len(steps):,} steps after the first, median {duration(median)}. {len(slow) or 'None'} took more than three "
        "standard deviations longer than the mean."
    )
    chart = charts.framed(charts.svg("steps", "Duration of each training step", text, marks), x, y)
    slowest = f'<p class="note">The slowest: {_slowest(slow or steps, median)}.</p>'
    return section("Training steps", text, figure("Duration by step", KEYS, chart, "tall") + slowest)


def step_text(step: Step) -> str:
    """Return a step and its duration."""
    return f"step {step.number:,}, {duration(step.seconds)}"


def _slowest(steps: Sequence[Step], median: float) -> str:
    worst, *others = sorted(steps, key=lambda step: step.seconds, reverse=True)[:SLOWEST]
    first = f"{step_text(worst)} ({worst.seconds / median:.1f} times the median)"
    return "; ".join([first, *map(step_text, others)])


Column = tuple[str, str, str]
"""A column of the readings, its style and its name."""

MUCH = 0.2
"""Share of the cores that others may use without a word."""
LEAST_TRAFFIC = 10_000
"""Bytes a second; a chart of less would be an empty one."""
PERCENT = Axis(0, 100, [(0, "0 %"), (50, "50 %"), (100, "100 %")])
CPU: Sequence[Column] = [("cpu", "second", "machine"), ("container_cpu", "train", "this container")]
TRAFFIC: Mapping[str, Sequence[Column]] = {
    "Disk": [("read", "train", "read"), ("written", "between", "written")],
    "Network": [("received", "train", "received"), ("sent", "between", "sent")],
}


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    columns: Sequence[Column]
    axis: Axis


def machine(contents: Contents) -> str:
    """Return the charts; nothing for a profile without system metrics."""
    readings = contents.node.readings
    if len(readings) < 2:
        return ""
    x = charts.time_axis(contents.seconds)
    spans = [
        (step.start - contents.start, step.start + step.seconds - contents.start)
        for step in contents.node.steps["EVAL"]
    ]
    ground = charts.bands(joined(spans, contents.seconds / 200), x, "ground")
    figures = "".join(_panel_figure(panel, x, ground, contents) for panel in panels(readings))
    note = f"Read {len(readings):,} times, every {duration(float(np.median(np.diff(readings.times))))}."
    if spans:
        note += " Tinted: validation."
    if others := used_by_others(contents):
        note += f" Others used {percent(others)} of the machine's cores while this job trained."
    return section("Use of the machine", note, f'<div class="pair">{figures}</div>')


def used_by_others(contents: Contents) -> float:
    """Return what others used of the cores while training ran; 0 if that is little, or not known."""
    if not (contents.node.readings.has("cpu") and contents.node.readings.has("container_cpu")):
        return 0.0
    machine_cpu, own = (while_training(contents, column).mean() / 100 for column in ("cpu", "container_cpu"))
    share = float(machine_cpu - own)
    return share if share > MUCH else 0.0


def panels(readings: Readings) -> Iterator[Panel]:
    """Yield the charts that have something to show."""
    cpu = [column for column in CPU if readings.has(column[0])]
    if cpu:
        yield Panel("CPU", cpu, PERCENT)
    if readings.has("container_memory"):
        axis = _byte_axis(readings["container_memory"])
        yield Panel("Memory", [("container_memory", "train", "this container")], axis)
    elif readings.has("memory"):
        yield Panel("Memory", [("memory", "train", "machine")], PERCENT)
    for title, columns in TRAFFIC.items():
        values = np.concatenate([readings[column] for column, *_ in columns])
        if values[np.isfinite(values)].max(initial=0.0) >= LEAST_TRAFFIC:
            yield Panel(title, columns, _byte_axis(values, "/s"))


def joined(spans: Sequence[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Return spans with those made one that lie no further apart than `gap`."""
    found: list[tuple[float, float]] = []
    for low, high in spans:
        if found and low - found[-1][1] <= gap:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found


def _panel_figure(panel: Panel, x: Axis, ground: str, contents: Contents) -> str:
    readings = contents.node.readings
    times = readings.times - contents.start
    marks, words = charts.grid(panel.axis) + ground, []
    for column, style, name in panel.columns:
        values = readings[column]
        marks += charts.line(times, values, x, panel.axis, style, filled=style == "train")
        there = values[np.isfinite(values)]
        words.append(f"{name}: mean {_value(column, there.mean())}, most {_value(column, there.max())}")
    chart = charts.svg(panel.title.lower(), panel.title, f"{'; '.join(words)}.", marks)
    keys = [(style, name) for _, style, name in panel.columns]
    return figure(panel.title, keys, charts.framed(chart, x, panel.axis))


def _value(column: str, value: float) -> str:
    if column in ("cpu", "container_cpu", "memory"):
        return f"{value:.0f} %"
    return size(value) + ("" if column == "container_memory" else "/s")


def _byte_axis(values: Values, per: str = "") -> Axis:
    most = max(float(np.nanmax(values)), 1.0)
    unit, name = byte_unit(most)
    return charts.axis(0, most / unit, 3, f"{{:g}} {name}{per}").scaled(unit)


SHOWN = 8
"""Rows of a table."""


def inside_a_step(contents: Contents) -> str:
    """Return a table of bars for each kind of profile; nothing without one."""
    costs = {"operation": contents.operations, "Python function": contents.functions}
    tables = "".join(_table(kind, found) for kind, found in costs.items() if found)
    if not tables:
        return ""
    note = "From a trace of a few steps: the time in each kind of work, without what it calls."
    if contents.input_seconds:
        mean = sum(contents.input_seconds) / len(contents.input_seconds)
        note += f" A step waited {duration(mean)} for its batch."
    return section("Inside a step", note, f'<div class="pair">{tables}</div>')


def _table(kind: str, costs: Sequence[Cost]) -> str:
    total = max(sum(cost.seconds for cost in costs), 1e-9)
    longest = max(costs[0].seconds, 1e-9)
    head = row(f"<th>{kind}</th>", "<th></th>", f'<th class="number">of {duration(total)}</th>')
    rows = "".join(
        row(
            f'<th scope="row" class="name">{escape(cost.name)}</th>',
            f'<td class="share"><span class="length" style="width:{100 * cost.seconds / longest:.1f}%"></span></td>',
            f'<td class="number">{percent(cost.seconds / total, 1)}</td>',
        )
        for cost in costs[:SHOWN]
    )
    if costs[SHOWN:]:
        rest = sum(cost.seconds for cost in costs[SHOWN:]) / total
        others = f'<td class="soft">{len(costs) - SHOWN:,} others</td>'
        rows += row(others, "<td></td>", f'<td class="number">{percent(rest, 1)}</td>')
    return f'<table class="costs"><thead>{head}</thead><tbody>{rows}</tbody></table>'


SIGNS = {ISSUES: "!", NO_ISSUES: "\N{CHECK MARK}", NOT_JUDGED: "\N{EN DASH}"}
"""In the order of the list."""


def rules(results: Sequence[RuleResult]) -> str:
    """Return the list, what was found first."""
    order = list(SIGNS)
    ordered = sorted(results, key=lambda result: order.index(result.status))
    items = "".join(_item(result) for result in ordered)
    return section("Rules", "AWS's profiler rules, with its default thresholds.", f'<ul class="rules">{items}</ul>')


def _item(result: RuleResult) -> str:
    said = result.sentence
    if result.status == NOT_JUDGED:
        said = f"not judged: {said}"
    advice = f'<p class="advice">{escape(result.rule.advice)}</p>' if result.status == ISSUES else ""
    return (
        f'<li class="{result.status}"><span class="sign" aria-hidden="true">{SIGNS[result.status]}</span>'
        f"<div><b>{result.name}</b><small>{escape(result.rule.question)}</small></div>"
        f'<div class="said"><p>{escape(said)}</p>{advice}</div></li>'
    )


FOLDER = Path(__file__).parent


def page(contents: Contents) -> str:
    """Return the whole file."""
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    sections = (
        time_spent(contents),
        training_steps(contents),
        machine(contents),
        inside_a_step(contents),
        rules(contents.results),
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
        yield _headline_number("median step", duration(times["median"]), f"95 % within {duration(times['p95'])}")
    column = "container_cpu" if readings.has("container_cpu") else "cpu"
    if readings.has(column):
        cores = "1 core" if readings.cores == 1 else f"{readings.cores} cores"
        yield _headline_number("CPU while training", f"{while_training(contents, column).mean():.0f} %", f"of {cores}")
    if readings.has("container_memory"):
        yield _headline_number(
            "most memory", size(float(np.nanmax(readings["container_memory"]))), "without pages of files"
        )
    elif readings.has("memory"):
        yield _headline_number("most memory", f"{np.nanmax(readings['memory']):.0f} %", "of the machine's")
    training, validation = (len(contents.node.steps[mode]) for mode in ("TRAIN", "EVAL"))
    yield _headline_number("training steps", f"{training:,}", f"and {validation:,} of validation")


def _headline_number(name: str, value: str, remark: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"


def _footer(contents: Contents) -> str:
    lines = ["<p>Drawn by distilbert-trainer from files in the format of SageMaker's profiler.</p>"]
    if contents.trace:
        folder = escape(str(contents.trace.parents[3]))
        lines.insert(
            0, f"<p>The trace, thread by thread: <code>tensorboard --logdir {folder}</code>, page Profile.</p>"
        )
    return "".join(lines)
