"""Temperature scaling: probabilities that are right as often as they say, without a change to what is predicted.

    calibration = fit_temperature(labels, logits)                       # of the validation channel
    probabilities(logits / calibration.temperature)         # of any other

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599, section 4.2): one number divides all
logits, chosen for the smallest cross-entropy. The order of the classes stays, and so does every prediction.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_rating.results.evaluation import Floats, Integers, cross_entropy, expected_calibration_error, probabilities

log = logging.getLogger(__name__)

LOWEST, HIGHEST = 0.2, 10.0
"""A temperature at one of these comes of a validation channel that is too small or too easy to fit one."""
FEWEST_RECORDS = 50
"""Of the validation channel; of fewer, one odd record would decide."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it has done on some channel."""

    temperature: float = 1.0
    """1 changes nothing."""
    fitted_on: int = 0
    """Records of the validation channel; 0: not fitted."""

    def effect(self, labels: Integers, logits: Floats) -> dict[str, dict[str, float]]:
        """Return cross-entropy and expected calibration error of a channel, before and after."""
        both = {"before": logits, "after": logits / self.temperature}
        return {
            "loss": {name: cross_entropy(labels, scaled) for name, scaled in both.items()},
            "expected_calibration_error": {
                name: expected_calibration_error(labels, probabilities(scaled)) for name, scaled in both.items()
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what calibration.json and run.json keep."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write calibration.json."""
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")


UNCALIBRATED = Calibration()


def fit_temperature(labels: Integers, logits: Floats) -> Calibration:
    """Return the temperature of least cross-entropy for logits [records, classes] and labels [records].

    Without finite logits, or with fewer than FEWEST_RECORDS records, nothing is fitted.
    """
    if len(labels) < FEWEST_RECORDS or not np.isfinite(logits).all():
        log.info("calibration: no temperature is fitted, for which validation needs %d records", FEWEST_RECORDS)
        return UNCALIBRATED
    from scipy import optimize  # a quarter of a second, which the first step does not have to wait for

    # The cross-entropy is convex in 1/temperature, so that the one minimum is found from any bracket.
    found = optimize.minimize_scalar(
        lambda scale: cross_entropy(labels, logits * scale),
        bounds=(1 / HIGHEST, 1 / LOWEST),
        method="bounded",
        options={"xatol": 1e-6},
    )
    calibration = Calibration(float(1 / found.x), len(labels))
    effect = calibration.effect(labels, logits)
    log.info(
        "calibration: temperature %.3f, fitted on %d validation reviews; their loss %.4f -> %.4f, calibration error "
        "%.4f -> %.4f",
        calibration.temperature,
        calibration.fitted_on,
        *effect["loss"].values(),
        *effect["expected_calibration_error"].values(),
    )
    return calibration
