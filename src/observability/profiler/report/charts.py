"""The report's charts as inline SVG: drawn in a box of 1000 by 100 that the page stretches to its width.

    framed(svg("cpu", "CPU", "mean 97 %", grid(y) + line(times, values, x, y, "train", filled=True)), x, y)

Lines and dots keep their width when the box is stretched (vector-effect); texts would not, and are HTML around it.
Every chart has its title and a sentence of what it shows for those who do not see it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from observability.profiler.profile_reader import Values

WIDTH, HEIGHT = 1000, 100
POINTS = 300
"""Of a line, at the most: more than a phone has pixels."""


@dataclass(frozen=True)
class Axis:
    """A range of values, and where it is labelled."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def scaled(self, unit: float) -> Axis:
        """Return the axis for values in a smaller unit, of which `unit` make one of this axis's."""
        return Axis(self.low * unit, self.high * unit, [(value * unit, text) for value, text in self.ticks])


def svg(identity: str, title: str, description: str, marks: str) -> str:
    """Return a chart with its text alternative."""
    return (
        f'<svg class="marks" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{identity}-title {identity}-text"><title id="{identity}-title">{escape(title)}</title>'
        f'<desc id="{identity}-text">{escape(description)}</desc>{marks}</svg>'
    )


def framed(chart: str, x: Axis, y: Axis) -> str:
    """Return a chart between its labels, with a line across it at each of the vertical axis's."""
    rows = "".join(
        f'<span class="tick" style="bottom:{100 * y.share(value):.2f}%">{escape(text)}</span>'
        for value, text in y.ticks
    )
    columns = "".join(
        f'<span class="tick" style="left:{100 * x.share(value):.2f}%">{escape(text)}</span>' for value, text in x.ticks
    )
    return (
        f'<div class="plot"><div class="y" aria-hidden="true">{rows}</div>{chart}'
        f'<div class="x" aria-hidden="true">{columns}</div></div>'
    )


def grid(y: Axis) -> str:
    """Return the lines at the vertical axis's labels."""
    heights = (HEIGHT * (1 - y.share(value)) for value, _ in y.ticks)
    return "".join(f'<path class="grid" d="M0 {height:.1f}H{WIDTH}"/>' for height in heights)


def line(times: Values, values: Values, x: Axis, y: Axis, style: str, *, filled: bool) -> str:
    """Return a line, and what is below it; a gap where there is no value."""
    points = [
        (WIDTH * x.share(time), HEIGHT * (1 - min(max(y.share(value), 0), 1)))
        for time, value in thinned(times, values)
        if math.isfinite(value)
    ]
    if not points:
        return ""
    path = "L".join(f"{across:.1f} {down:.1f}" for across, down in points)
    below = f'<path class="area {style}" d="M{points[0][0]:.1f} {HEIGHT}L{path}L{points[-1][0]:.1f} {HEIGHT}Z"/>'
    return (below if filled else "") + f'<path class="line {style}" d="M{path}"/>'


def thinned(times: Values, values: Values) -> list[tuple[float, float]]:
    """Return at most POINTS points: means of neighbours."""
    if len(times) <= POINTS:
        return list(zip(times.tolist(), values.tolist(), strict=True))
    edges = np.linspace(0, len(times), POINTS + 1).astype(int)
    return [(float(times[low:high].mean()), _mean(values[low:high])) for low, high in itertools.pairwise(edges)]


def _mean(values: Values) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else math.nan


def dots(points: Sequence[tuple[float, float]], x: Axis, y: Axis, style: str) -> str:
    """Return round dots, as one mark."""
    return f'<path class="dot {style}" d="{"".join(_place(*point, x, y) for point in points)}"/>' if points else ""


def named_dots(points: Sequence[tuple[float, float, str]], x: Axis, y: Axis, style: str) -> str:
    """Return round dots that say what they are to a pointer over them."""
    return "".join(
        f'<path class="dot {style}" d="{_place(across, up, x, y)}"><title>{escape(text)}</title></path>'
        for across, up, text in points
    )


def _place(across: float, up: float, x: Axis, y: Axis) -> str:
    # A line of no length with round ends: a circle would become an ellipse where the box is stretched.
    return f"M{WIDTH * x.share(across):.1f} {HEIGHT * (1 - min(max(y.share(up), 0), 1)):.1f}h0"


def level(value: float, y: Axis, style: str) -> str:
    """Return a line across the chart."""
    return f'<path class="line {style}" d="M0 {HEIGHT * (1 - y.share(value)):.1f}H{WIDTH}"/>'


def bands(spans: Sequence[tuple[float, float]], x: Axis, style: str) -> str:
    """Return grounds behind a chart, from one value of the horizontal axis to another."""
    return "".join(
        f'<rect class="{style}" x="{WIDTH * x.share(low):.1f}" y="0" '
        f'width="{max(WIDTH * (x.share(high) - x.share(low)), 0.5):.1f}" height="{HEIGHT}"/>'
        for low, high in spans
    )


def stacked(parts: Sequence[tuple[str, float]]) -> str:
    """Return one bar of several parts: style and share."""
    marks, left = [], 0.0
    for style, share in parts:
        marks.append(f'<rect class="part {style}" x="{left:.2f}" y="0" width="{WIDTH * share:.2f}" height="{HEIGHT}"/>')
        left += WIDTH * share
    return "".join(marks)


def axis(low: float, high: float, labels: int, text: str = "{:g}") -> Axis:
    """Return an axis from `low` to a round number from `high` on, with about so many round labels."""
    if not high > low:
        high = low + 1
    raw = (high - low) / labels
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first, last = math.ceil(low / step), math.ceil(high / step - 1e-9)
    return Axis(low, last * step, [(number * step, text.format(number * step)) for number in range(first, last + 1)])


def step_axis(first: int, last: int) -> Axis:
    """Return an axis from one step to another, labelled within."""
    ticks = [(value, text) for value, text in axis(first, last, 6, "{:,.0f}").ticks if value <= last]
    return Axis(first, max(last, first + 1), ticks)


def time_axis(seconds: float) -> Axis:
    """Return an axis over a run's time, labelled in its unit; it ends with the run."""
    unit, name = next(
        (size, name) for size, name in ((3600, "h"), (60, "min"), (1, "s")) if seconds >= 2 * size or size == 1
    )
    whole = axis(0, seconds / unit, 5)
    ticks = [
        (value * unit, f"{value:g} {name}" if value else "0") for value, _ in whole.ticks if value * unit <= seconds
    ]
    return Axis(0, max(seconds, 1e-3), ticks)
