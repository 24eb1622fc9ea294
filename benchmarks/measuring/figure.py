"""The picture of a training benchmark: examples a second, a panel a length, a bar a contestant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measuring.summary import LABELS, OURS

OURS_COLOUR = "#1f5fa8"
OTHERS_COLOUR = "#b8bec6"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw the cases that more than one contestant ran in; a thin line spans the slowest and the fastest round."""
    cases = [case for case in results["cases"].values() if len(case["medians"]) > 1]
    if not cases:
        return
    with mpl.rc_context(STYLE):
        names = [name for name in LABELS if any(name in case["medians"] for case in cases)]
        figure = Figure(figsize=(4.6 + 2.9 * len(cases), 0.9 + 0.36 * len(names)), layout="constrained")
        panels = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for axes, case in zip(panels, cases, strict=True):
            _draw_case(axes, case, names)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No creation date inside: the same numbers draw the same bytes.
        figure.savefig(path, dpi=144, metadata={"Software": None})


def _draw_case(axes: Axes, case: Mapping[str, Any], names: Sequence[str]) -> None:
    fastest = max(numbers["examples_per_second"] for numbers in case["medians"].values())
    for row, name in enumerate(names):
        if name not in case["medians"]:
            continue
        numbers = case["medians"][name]
        rate, ratio = numbers["examples_per_second"], numbers.get("ours_is_faster")
        ran = [one["contestants"][name] for one in case["rounds"] if name in one["contestants"]]
        rates = [run["examples_per_second"] for run in ran]
        axes.barh(row, rate, color=OURS_COLOUR if name.startswith(OURS) else OTHERS_COLOUR, height=0.7)
        axes.hlines(row, min(rates), max(rates), color="0.25", lw=1)
        note = f"{rate:.1f}" if ratio is None else f"{rate:.1f}  (ours {ratio:.2f} x)"
        axes.text(max(rates) + fastest * 0.02, row, note, va="center")
    axes.set_yticks(range(len(names)), [LABELS[name] for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.invert_yaxis()
    axes.tick_params(left=False)
    axes.set_xlim(0, fastest * 1.55)
    axes.set_xlabel("examples/s; line: range of the rounds")
    axes.set_title(f"max_seq_length {case['max_seq_length']}, batch {case['batch_size']}")


def draw_quality(results: Mapping[str, Any], path: Path, labels: Mapping[str, str]) -> None:
    """Draw accuracy and mean absolute error of benchmarks/quality.py's contestants; lines are two standard errors."""
    contestants = results["contestants"]
    names = list(contestants)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.9 + 0.42 * len(names)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, measure, title in zip(
            panels, ("accuracy", "mean_absolute_error"), ("accuracy", "mean absolute error, stars"), strict=True
        ):
            _draw_measure(axes, [contestants[name]["measures"][measure] for name in names], names)
            axes.set_title(title)
        panels[0].set_yticks(range(len(names)), [labels.get(name, name) for name in names])
        panels[0].invert_yaxis()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=144, metadata={"Software": None})


def _draw_measure(axes: Axes, numbers: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    values = [number["value"] for number in numbers]
    margins = [2 * number["standard_error"] for number in numbers]
    rows = range(len(values))
    axes.barh(
        rows, values, color=[OURS_COLOUR if name.startswith(OURS) else OTHERS_COLOUR for name in names], height=0.7
    )
    axes.hlines(
        rows,
        [value - margin for value, margin in zip(values, margins, strict=True)],
        [value + margin for value, margin in zip(values, margins, strict=True)],
        color="0.25",
        lw=1,
    )
    for row, value, margin in zip(rows, values, margins, strict=True):
        axes.text(value + margin + max(values) * 0.02, row, f"{value:.3f}", va="center")
    axes.tick_params(left=False)
    axes.set_xlim(0, max(values) * 1.25)
    axes.set_xlabel("line: two standard errors to each side")
