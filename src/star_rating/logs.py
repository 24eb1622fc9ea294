"""The format of the log lines, written down once, and the MetricDefinitions that read it.

    python -m star_rating.logs        # prints SageMaker's MetricDefinitions as JSON

A measurement is `<channel>:<name>=<number>`; no metric's pattern matches inside another's. SageMaker applies each
regular expression to each line, and takes the group's text as a number: `9.5e-05` and `nan` are read whole.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

METRICS = (
    "train:loss",
    "train:accuracy",
    "train:learning_rate",
    "train:examples_per_second",
    "validation:loss",
    "validation:accuracy",
    "test:loss",
    "test:accuracy",
    "test:within_one_star",
    "test:macro_f1",
)

PACKAGES = ("star_rating", "observability")
"""Those of this image whose INFO lines are written."""

MEASURING = "training.progress"
"""The module of this package that logs measurements while training runs."""

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|inf|nan)"


@dataclass
class History:
    """What the training curves are drawn from, and run.json keeps."""

    steps: list[int] = field(default_factory=list)
    """Global step of each entry of `train`."""
    train: list[dict[str, float]] = field(default_factory=list)
    """Mean loss and accuracy since the entry before."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """One entry an epoch: step, loss, accuracy; if validation ran, validation_loss, _accuracy, _macro_f1 and others."""
    first_step_seconds: float | None = None
    """From the start of fit to the end of the first step: tracing, compiling, and the step."""

    def as_dict(self) -> dict[str, Any]:
        """Return what run.json and checkpoints keep."""
        return {"steps": self.steps, "train": self.train, "epochs": self.epochs}


def metric_definitions() -> list[dict[str, str]]:
    """Return CreateTrainingJob's MetricDefinitions for the lines that `measurements` writes."""
    # The leading boundary keeps a longer word that ends alike, say `pretrain:loss`, from matching.
    return [{"Name": name, "Regex": rf"(?:^|\s){name}=({_NUMBER})(?:\s|$)"} for name in METRICS]


def measurements(**values: float) -> str:
    """Write name=number pairs; `train_loss=0.5` becomes `train:loss=0.5`."""
    parts = []
    for keyword, value in values.items():
        channel, _, name = keyword.partition("_")
        metric = f"{channel}:{name}"
        if metric not in METRICS:
            raise ValueError(f"{metric} is not in METRICS; its MetricDefinition would be missing")
        parts.append(f"{metric}={value:.5g}")
    return " ".join(parts)


def configure(*, writes_measurements: bool = True) -> None:
    """Send our packages' log to stdout, a line a record, with UTC times; other packages' warnings too.

    Of several hosts the first one writes the measurements: they are the same on all, and CloudWatch would count each.
    """
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger(f"star_rating.{MEASURING}").setLevel(logging.NOTSET if writes_measurements else logging.WARNING)


if __name__ == "__main__":
    print(json.dumps(metric_definitions(), indent=2))  # noqa: T201 - this command's output
