"""The picture of a training benchmark: examples a second, a panel a length, a bar a contestant."""

from __future__ import annotations

from collections.abc import Mapping
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
        figure = Figure(figsize=(4.2 + 2.9 * len(cases), 0.9 + 0.42 * len(cases[0]["medians"])), layout="constrained")
        panels = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for axes, case in zip(panels, cases, strict=True):
            _draw_case(axes, case)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No creation date inside: the same numbers draw the same bytes.
        figure.savefig(path, dpi=144, metadata={"Software": None})


def _draw_case(axes: Axes, case: Mapping[str, Any]) -> None:
    names = list(case["medians"])
    rates = [case["medians"][name]["examples_per_second"] for name in names]
    rounds = [[one["contestants"][name]["examples_per_second"] for one in case["rounds"]] for name in names]
    colours = [OURS_COLOUR if name.startswith(OURS) else OTHERS_COLOUR for name in names]
    rows = range(len(names))
    axes.barh(rows, rates, color=colours, height=0.7)
    axes.hlines(rows, [min(values) for values in rounds], [max(values) for values in rounds], color="0.25", lw=1)
    for row, name in enumerate(names):
        ratio = case["medians"][name].get("ours_is_faster", 1.0)
        note = f"{rates[row]:.1f}" if name.startswith(OURS) else f"{rates[row]:.1f}  (ours {ratio:.2f} x)"
        axes.text(max(rounds[row]) + max(rates) * 0.02, row, note, va="center")
    axes.set_yticks(rows, [LABELS[name] for name in names])
    axes.invert_yaxis()
    axes.tick_params(left=False)
    axes.set_xlim(0, max(rates) * 1.55)
    axes.set_xlabel("examples/s; line: range of the rounds")
    axes.set_title(f"max_seq_length {case['max_seq_length']}, batch {case['batch_size']}")
