"""The pictures that a run leaves: confusion matrix and training curves, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from star_rating.logs import History
from star_rating.results.evaluation import Evaluation

TRAIN_COLOUR = "#1f5fa8"
VALIDATION_COLOUR = "#d1602b"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def draw_confusion_matrix(evaluation: Evaluation, path: Path, title: str) -> None:
    """Draw true stars as rows, predicted stars as columns; each cell has its count and its share of the row."""
    counts = np.array(evaluation.confusion_matrix)
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, np.newaxis]
    stars = [str(index + 1) for index in range(len(counts))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            # White on dark cells, black on light ones.
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{counts[row, column]:,}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(stars)), stars)
        axes.set_yticks(
            range(len(stars)), [f"{star}\n(n={count:,})" for star, count in zip(stars, support, strict=True)]
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted stars")
        axes.set_ylabel("true stars")
        axes.set_title(f"{title}\naccuracy {evaluation.accuracy:.3f}, within one star {evaluation.within_one_star:.3f}")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        _save(figure, path)


def draw_training_curves(history: History, path: Path) -> None:
    """Draw loss and accuracy over steps: train between log lines, validation at each epoch's end."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            _draw_curve(axes, history, name)
        _save(figure, path)


def _draw_curve(axes: Axes, history: History, name: str) -> None:
    axes.plot(
        history.steps, [entry[name] for entry in history.train], color=TRAIN_COLOUR, lw=1.2, alpha=0.7, label="train"
    )
    validated = [entry for entry in history.epochs if f"validation_{name}" in entry]
    if validated:
        values = [entry[f"validation_{name}"] for entry in validated]
        steps = [entry["step"] for entry in validated]
        axes.plot(steps, values, "o-", color=VALIDATION_COLOUR, lw=1.8, ms=5, label="validation")
        axes.annotate(f"{values[-1]:.3f}", (steps[-1], values[-1]), (6, 0), textcoords="offset points", va="center")
    for entry in history.epochs[:-1]:
        axes.axvline(entry["step"], color="0.85", lw=0.8, zorder=0)
    if name == "accuracy":
        axes.set_ylim(0, 1)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("step (grey: an epoch's end)" if len(history.epochs) > 1 else "step")
    axes.set_title(name)
    axes.legend()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No creation date inside: the same run draws the same bytes.
    figure.savefig(path, dpi=144, metadata={"Software": None})
