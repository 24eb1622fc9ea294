"""What a trial measured, and what follows from it: the fastest mode that agrees, the settings that cost time; pure.

measured = summarize(modes, events, ending)       # events: what worker.py prints
mode, why = fastest(allowed, measured, steps)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"

MARGIN = 0.1
"""Share of the time that another mode must save to be taken: less is noise, and would differ from run to run."""
LOSS_TOLERANCE = 0.02
"""Largest relative difference of the trial's mean loss from the reference's: the same start, batches and dropout seeds.
Rounding to bfloat16 was seen to make 0.0001, the other dropout masks that XLA's shapes draw 0.007."""

XLA_SHAPES = 8
"""First steps that a run under XLA may have, one for each shape of batch (model/xla.py)."""


@dataclass(frozen=True)
class Mode:
    """What `use_xla` and `use_amp` come down to."""

    xla: bool
    """Whether XLA compiles the step; batches then come in few shapes."""
    compute_dtype: str
    """Of the matrix products: float32, bfloat16 or float16. Variables, loss and logits are float32."""

    @property
    def amp(self) -> bool:
        """Whether the products are computed in another dtype than the variables have."""
        return self.compute_dtype != FLOAT32

    @property
    def policy(self) -> str:
        """Keras's name for the dtypes of the layers."""
        return f"mixed_{self.compute_dtype}" if self.amp else FLOAT32

    def __str__(self) -> str:
        return f"{self.compute_dtype} with{'' if self.xla else 'out'} XLA"


@dataclass(frozen=True)
class Measurement:
    """One mode's line in the table; what was not measured is None, and `reason` says why."""

    xla: bool
    compute_dtype: str
    seconds_per_step: float | None = None
    """Median over the trial's rounds."""
    first_step_seconds: float | None = None
    """Tracing, compiling, and the step."""
    loss: float | None = None
    """Mean over the trial's steps."""
    agrees: bool | None = None
    """Whether the loss is the reference's, within LOSS_TOLERANCE."""
    reason: str | None = None

    @property
    def mode(self) -> Mode:
        """Whose line it is."""
        return Mode(self.xla, self.compute_dtype)

    def record(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return asdict(self)


def summarize(modes: Sequence[Mode], events: Iterable[Mapping[str, Any]], ending: str) -> tuple[Measurement, ...]:
    """Return a measurement a mode, from the trial's events; the first mode that was measured is the reference.

    An event is {"mode": index, "seconds": ..., "loss": mean so far} for a step, or {"mode": index, "reason": ...}.
    `ending` is the reason of a mode that has neither a reason nor two steps.
    """
    steps: list[list[Mapping[str, Any]]] = [[] for _ in modes]
    reasons: dict[int, str] = {}
    for event in events:
        if "reason" in event:
            reasons[event["mode"]] = event["reason"]
        else:
            steps[event["mode"]].append(event)
    # Where time ran out within a round, only steps that all modes have taken can be compared.
    common = min((len(own) for own in steps if len(own) > 1), default=0)
    reference = next((own[common - 1]["loss"] for own in steps if len(own) > 1), math.nan)
    return tuple(
        _measurement(mode, own[:common], reference)
        if len(own) > 1 and index not in reasons
        else unmeasured(mode, reasons.get(index, ending))
        for index, (mode, own) in enumerate(zip(modes, steps, strict=True))
    )


def _measurement(mode: Mode, steps: Sequence[Mapping[str, Any]], reference: float) -> Measurement:
    loss = steps[-1]["loss"]
    return Measurement(
        mode.xla,
        mode.compute_dtype,
        seconds_per_step=statistics.median(step["seconds"] for step in steps[1:]),
        first_step_seconds=steps[0]["seconds"],
        loss=loss,
        agrees=abs(loss - reference) <= LOSS_TOLERANCE * abs(reference),  # False for NaN
    )


def unmeasured(mode: Mode, reason: str) -> Measurement:
    """Return the line of a mode that was left out."""
    return Measurement(mode.xla, mode.compute_dtype, reason=reason)


def seconds_per_step(measured: Iterable[Measurement], mode: Mode) -> float | None:
    """Return what a step takes in this mode, if it was measured."""
    return next((line.seconds_per_step for line in measured if line.mode == mode), None)


def fastest(allowed: Sequence[Mode], measured: Iterable[Measurement], steps: int) -> tuple[Mode, str]:
    """Return which of `allowed` trains `steps` steps soonest, and why; the first of them unless it loses clearly."""
    usable = {line.mode: line for line in measured if line.agrees and line.mode in allowed}
    first = usable.get(allowed[0])
    if first is None:
        return allowed[0], f"{allowed[0]} could not be measured"
    best = min(usable.values(), key=lambda line: _run_seconds(line, steps))
    if _run_seconds(best, steps) > (1 - MARGIN) * _run_seconds(first, steps):
        return first.mode, f"{first.seconds_per_step:.3g} s a step, and nothing else clearly faster"
    return best.mode, f"{best.seconds_per_step:.3g} s a step, {first.mode} {first.seconds_per_step:.3g} s"


def _run_seconds(line: Measurement, steps: int) -> float:
    first_steps = XLA_SHAPES if line.xla else 1
    return first_steps * (line.first_step_seconds or 0.0) + steps * (line.seconds_per_step or 0.0)


def slower_setting(setting: str, chosen: float | None, opposite: float | None, *, value: bool) -> str | None:
    """Return the warning about a setting that costs time, from the seconds a step of both values; None if it does not.

    A difference within MARGIN is none, and neither is one from what was not measured.
    """
    if chosen is None or opposite is None or opposite > (1 - MARGIN) * chosen:
        return None
    return (
        f"{setting}={value} makes this run slower: {chosen:.3g} s a step, {opposite:.3g} s with {setting}={not value}"
    )


def table(measured: Iterable[Measurement]) -> str:
    """Return the measurements as lines of text."""
    lines = [f"{'':<21}{'s a step':>9}{'first step':>12}{'loss':>8}"]
    for line in measured:
        name = f"{line.mode!s:<21}"
        if line.reason is not None:
            lines.append(f"{name} not measured: {line.reason}")
            continue
        verdict = "" if line.agrees else "  differs too much"
        numbers = f"{line.seconds_per_step:>9.3f}{line.first_step_seconds:>12.1f}{line.loss:>8.4f}"
        lines.append(f"{name}{numbers}{verdict}")
    return "\n".join(lines)
