"""Hyperparameters that are damaged are read, or refused with a sentence: the program's arguments, name by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
from hypothesis import strategies

from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters
from tests.helpers.fuzzing import INTERESTING_VALUES, feed

pytestmark = pytest.mark.slow

DEFAULTS = {field.name: str(field.default) for field in dataclasses.fields(Hyperparameters)}
INTERESTING_TEXTS = tuple(str(value)[:3000] for value in INTERESTING_VALUES)

names = strategies.sampled_from([*DEFAULTS, "model_dir", "epoch", "", "-", "x" * 300]) | strategies.text(max_size=12)
values = (
    strategies.sampled_from([*DEFAULTS.values(), *INTERESTING_TEXTS])
    | strategies.integers().map(str)
    | strategies.floats().map(str)
    | strategies.text(max_size=12)
)
pairs = strategies.lists(strategies.tuples(names.map("--{}".format), values), max_size=40)
defaults = strategies.lists(strategies.sampled_from([(f"--{name}", text) for name, text in DEFAULTS.items()]))
arguments = (pairs | defaults).map(lambda chosen: [word for pair in chosen for word in pair])
anything = strategies.lists(names | values, max_size=6)


def read(words: Sequence[str]) -> None:
    for name, value in Hyperparameters.from_arguments(words).as_dict().items():
        assert type(value).__name__ == type(getattr(Hyperparameters, name)).__name__, name


def test_arguments_are_read_or_refused(say: Callable[[str], None], scaled: Callable[..., int]) -> None:
    outcomes = feed(read, arguments | anything, number=scaled(8000), allowed=(HyperparameterError,))
    say(f"hyperparameters: {outcomes}")
