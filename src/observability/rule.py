"""What a rule is: a small pure object that is shown a run bit by bit and answers with findings.

    @dataclass
    class ExplodingTensor(TensorRule):
        only_nan: bool = parameter(False, "look for NaN alone", AWS)

        def look(self, step: Step) -> Iterator[Finding]: ...

A rule's name is its class's, its parameters are its fields: both are AWS's, and so is each default, with its source
beside it. Whoever feeds the rules (evaluation.py) reads the files; a rule never does, but for the profiler's, which are
given their folder.
"""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

AWS = "AWS's default (SageMaker developer guide, List of Debugger built-in rules)"
AWS_EXAMPLE = "AWS has no default; the value of its own example (same page)"
OURS = "ours; the rule's docstring says why"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a run."""

    sentence: str
    """What was seen, with its number, and without the step."""
    value: float
    """The number that crossed a threshold."""
    step: int | None = None
    """Global step: training and validation steps counted together, from 0, as smdebug does. None: of the whole run."""


class Step(Protocol):
    """What was saved at one step."""

    @property
    def number(self) -> int:
        """Return the global step."""

    @property
    def mode(self) -> str:
        """Return TRAIN, EVAL, PREDICT or GLOBAL."""

    @property
    def mode_step(self) -> int:
        """Return the step counted within its mode."""

    @property
    def written_at(self) -> float:
        """Return when it was written, in seconds since the epoch."""

    def names(self, collections: Sequence[str] = (), patterns: Sequence[str] = ()) -> list[str]:
        """Return the saved tensors that are in a collection or match a pattern; all without both."""

    def value(self, name: str) -> Array:
        """Return a saved tensor; a scalar has the shape (1,)."""

    def reduced(self, collections: Sequence[str] = (), patterns: Sequence[str] = ()) -> list[str]:
        """Return the tensors that were saved as reductions alone, chosen as by `names`."""

    def reduction(self, name: str, kind: str) -> float | None:
        """Return a reduction of such a tensor, "abs_mean" for example; None if that one is not saved."""


@dataclass(frozen=True)
class Parameter:
    """What can be set of a rule."""

    type: Any
    """The annotation of its field."""
    default: Any
    meaning: str
    source: str
    """Who says that this is the default."""


def parameter(default: Any, meaning: str, source: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a rule's parameter; it is read by the type of its annotation."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "source": source})


@dataclass
class Rule:
    """Any rule; the fields of a subclass are its parameters."""

    @classmethod
    def parameters(cls) -> Mapping[str, Parameter]:
        """Return name -> parameter."""
        types = typing.get_type_hints(cls)
        return {
            field.name: Parameter(types[field.name], field.default, **field.metadata)
            for field in dataclasses.fields(cls)
            if "meaning" in field.metadata
        }

    @classmethod
    def configured(cls, values: Mapping[str, Any]) -> Self:
        """Return the rule with these parameters; raise ValueError or re.error for some that do not fit together."""
        return cls(**values)


class TensorRule(Rule, ABC):
    """A rule on saved tensors."""

    @abstractmethod
    def look(self, step: Step) -> Iterator[Finding]:
        """Yield what is wrong at a step; called once for each, in their order, until something is found."""

    @abstractmethod
    def missing(self) -> str:
        """Say which tensors it needs and has not been shown so far; "" if it had what it needs."""

    def wait(self, now: float) -> Iterator[Finding]:
        """Yield what is wrong if nothing new was saved until `now`, in seconds since the epoch."""
        del now
        return iter(())


class ProfilerRule(Rule, ABC):
    """A rule on what the profiler has left: system metrics, step durations, traces."""

    @abstractmethod
    def look(self, profiler: Path) -> Iterator[Finding]:
        """Yield what is wrong in a profiler folder; called again and again while the run goes on, until it finds."""

    @abstractmethod
    def missing(self) -> str:
        """Say which files it needs and has not found so far; "" if it had what it needs."""

    def remark(self) -> str:
        """Say why it could find nothing where that is no fault, a machine without a GPU for one; "" otherwise."""
        return ""

    def write(self, profiler: Path, output: Path, statuses: Sequence[Mapping[str, Any]]) -> None:
        """Write the rule's own files below `output`; once, after the last look, with the statuses of all rules."""
        del profiler, output, statuses


def finite(value: float) -> float:
    """Return a number as JSON can hold it."""
    return float(np.nan_to_num(value))
