"""What the report says, as numbers and sentences; page.py and charts.py turn it into HTML.

contents = build_contents(profile, "my-job", evaluate(profile))
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from observability.profiler import operations
from observability.profiler.operations import Cost
from observability.profiler.profile_reader import Node, Profile, Values
from observability.profiler.rules import PROFILE_RULES, ProfileRule
from observability.rule import Finding


def duration(seconds: float) -> str:
    """Return a time in its unit."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(number_of_bytes: float) -> str:
    """Return a number of bytes in its unit."""
    unit, name = byte_unit(number_of_bytes)
    return f"{number_of_bytes / unit:.3g} {name}"


def byte_unit(most: float) -> tuple[float, str]:
    """Return the unit for numbers up to `most`: how many bytes it has, and its name."""
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(((unit, name) for unit, name in units if most >= unit), (1.0, "B"))


def percent(share: float, digits: int = 0) -> str:
    """Return a share of one in per cent."""
    return f"{100 * share:.{digits}f} %"


ISSUES, NO_ISSUES, NOT_JUDGED = "IssuesFound", "NoIssuesFound", "NotJudged"


@dataclass(frozen=True)
class RuleResult:
    """What one rule has found."""

    rule: ProfileRule
    findings: Sequence[Finding]

    @property
    def name(self) -> str:
        """Return the rule's name."""
        return type(self.rule).__name__

    @property
    def status(self) -> str:
        """Return whether it has found something, nothing, or could not judge."""
        if self.findings:
            return ISSUES
        return NOT_JUDGED if self.rule.missing() or self.rule.remark() else NO_ISSUES

    @property
    def sentence(self) -> str:
        """Return what was found, or why nothing could be, or what was measured."""
        if self.findings:
            return "; ".join(finding.sentence for finding in self.findings)
        return self.rule.missing() or self.rule.remark() or self.rule.measured


@dataclass(frozen=True)
class Part:
    """A part of the run's time."""

    key: str
    name: str
    meaning: str
    seconds: float


@dataclass(frozen=True)
class Contents:
    """Everything on the page, for one host."""

    title: str
    host: str
    node: Node
    parts: Sequence[Part]
    results: Sequence[RuleResult]
    operations: Sequence[Cost]
    functions: Sequence[Cost]
    input_seconds: Sequence[float]
    """How long each traced step waited for its batch."""
    trace: Path | None

    @property
    def start(self) -> float:
        """Return when the profile begins, in seconds since 1970."""
        return span(self.node)[0]

    @property
    def seconds(self) -> float:
        """Return how long the profile is."""
        start, end = span(self.node)
        return end - start


def evaluate(profile: Profile, rules: Sequence[ProfileRule] | None = None) -> list[RuleResult]:
    """Return each rule's result on a profile, with AWS's default parameters unless rules are given."""
    rules = [rule() for rule in PROFILE_RULES] if rules is None else rules
    return [RuleResult(rule, list(rule.evaluate(profile))) for rule in rules]


def build_contents(profile: Profile, title: str, results: Sequence[RuleResult]) -> Contents:
    """Return the contents for the host with the most steps; raise ValueError if there is nothing to show."""
    if not profile.nodes:
        raise ValueError(f"there is no profile in {', '.join(map(str, profile.folders))}")
    host, node = max(profile.nodes.items(), key=lambda item: sum(map(len, item[1].steps.values())))
    traces = [path for folder in profile.folders for path in traced(folder)]
    costs = itertools.chain.from_iterable(operations.functions(folder) for folder in profile.folders)
    return Contents(
        title=title,
        host=host,
        node=node,
        parts=parts(node),
        results=results,
        operations=operations.operations(traces[-1]) if traces else [],
        functions=list(costs),
        input_seconds=operations.input_seconds(traces[-1]) if traces else [],
        trace=traces[-1] if traces else None,
    )


def traced(folder: Path) -> list[Path]:
    """Return TensorFlow's traces in a profile's folder, the newest last."""
    return sorted(folder.glob("framework/tensorflow/detailed_profiling/*/*/plugins/profile/*/*.xplane.pb"))


def span(node: Node) -> tuple[float, float]:
    """Return when a host's profile begins and ends."""
    times = node.readings.times
    steps = [step for steps in node.steps.values() for step in steps]
    starts = [*(step.start for step in steps), *times[:1].tolist()]
    ends = [*(step.start + step.seconds for step in steps), *times[-1:].tolist()]
    return (min(starts), max(ends)) if starts else (0.0, 0.0)


def parts(node: Node) -> list[Part]:
    """Return what the time went into; the parts add up to the whole."""
    steps = sorted((step for steps in node.steps.values() for step in steps), key=lambda step: step.start)
    start, end = span(node)
    if not steps:
        return [Part("start", "before the first step", "no step was recorded", end - start)]
    training = [step for step in steps if step.mode == "TRAIN"]
    first = sum(step.seconds for step in training if step.first)
    gaps = sum(max(after.start - before.start - before.seconds, 0.0) for before, after in itertools.pairwise(steps))
    last = steps[-1].start + steps[-1].seconds
    found = [
        Part("start", "start", "imports, reading the channels, loading weights", steps[0].start - start),
        Part("first", "first step", "tracing and allocating, once", first),
        Part("train", "training steps", "forward, backward, optimizer", sum(step.seconds for step in training) - first),
        Part(
            "eval", "validation steps", "after each epoch", sum(step.seconds for step in steps if step.mode == "EVAL")
        ),
        Part("between", "between steps", "log, tensors, checkpoints, traces", gaps),
        Part("end", "end", "export, test channel", end - last),
    ]
    return [part for part in found if part.seconds > 0]


def headline(contents: Contents) -> str:
    """Return the page in one sentence."""
    training = sum(part.seconds for part in contents.parts if part.key == "train")
    total = max(contents.seconds, 1e-9)
    issues = [result.name for result in contents.results if result.status == ISSUES]
    said = f"{' and '.join(issues)} found an issue" if issues else "No rule found an issue"
    return f"{percent(training / total)} of {duration(total)} went into training steps. {said}."


def statistics(contents: Contents) -> Mapping[str, float]:
    """Return the step durations' percentiles, in seconds; the first step of each process is left out."""
    seconds = np.array([step.seconds for step in contents.node.steps["TRAIN"] if not step.first])
    if not len(seconds):
        return {}
    middle, high, most = (float(value) for value in np.quantile(seconds, [0.5, 0.95, 1.0]))
    return {"median": middle, "p95": high, "max": most}


def while_training(contents: Contents, column: str) -> Values:
    """Return a column's values between the first training step and the last; all if there is none between."""
    readings, steps = contents.node.readings, contents.node.steps["TRAIN"]
    values, times = readings[column], readings.times
    start, end = (steps[0].start, steps[-1].start + steps[-1].seconds) if steps else (-np.inf, np.inf)
    there = np.isfinite(values)
    inside = there & (times >= start) & (times <= end)
    return values[inside if inside.any() else there]
