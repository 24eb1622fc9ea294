"""The section on how long the training steps took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from observability.profiler.report import charts
from observability.profiler.report.contents import Contents
from observability.profiler.report.html import figure, section
from observability.profiler.report.words import duration
from observability.profiler.rules.steps import StepOutlier, ordinary, outliers
from observability.profiler.timeline import Step

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
        + charts.named_dots([(step.number, step.seconds, in_words(step)) for step in slow], x, y, "outlier")
    )
    text = (
        f"{len(steps):,} steps after the first, median {duration(median)}. {len(slow) or 'None'} took more than three "
        "standard deviations longer than the mean."
    )
    chart = charts.framed(charts.svg("steps", "Duration of each training step", text, marks), x, y)
    slowest = f'<p class="note">The slowest: {_slowest(slow or steps, median)}.</p>'
    return section("Training steps", text, figure("Duration by step", KEYS, chart, "tall") + slowest)


def in_words(step: Step) -> str:
    """Return a step and its duration."""
    return f"step {step.number:,}, {duration(step.seconds)}"


def _slowest(steps: Sequence[Step], median: float) -> str:
    worst, *others = sorted(steps, key=lambda step: step.seconds, reverse=True)[:SLOWEST]
    first = f"{in_words(worst)} ({worst.seconds / median:.1f} times the median)"
    return "; ".join([first, *map(in_words, others)])
