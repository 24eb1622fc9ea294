"""What a tuning job tries next, and which of its jobs are not worth going on with: Optuna's samplers and pruners.

    search = Search(request, "tune-1", trials)      # trials: what is known so far, by number
    search.next_values(number)      # {"learning_rate": "3.1e-05", ...}, or None: the grid is through
    search.hopeless()               # {3}: early stopping, Hyperband

Nothing is kept between two calls: the study is made anew of the trials, seeded with the trial's number. So a server
that is started anew goes on as the one before it would have.
"""

from __future__ import annotations

import copy
import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Request = dict[str, Any]

_STARTUP_TRIALS = 3
"""Random ones before Bayesian search learns, and finished ones before a median says anything."""

_WIDE = 1000
"""From how many times its smallest value a range of ScalingType Auto is searched by its logarithm."""


@dataclass(frozen=True)
class TrialState:
    """A training job as the search sees it."""

    number: int
    values: Mapping[str, str]
    """Hyperparameters as they were sent."""
    has_ended: bool = False
    objective: float | None = None
    """Final one; None for a job that runs or has failed."""
    reported: Sequence[float] = ()
    """Values of the objective in the order in which the job has logged them."""


class _Range:
    """One hyperparameter's range, and how Optuna sees it."""

    def __init__(self, kind: str, given: Request) -> None:
        self.name: str = given["Name"]
        self.kind = kind
        self.given = given
        self.scaling: str = given.get("ScalingType", "Auto")
        if kind != "Categorical":
            self.low, self.high = float(given["MinValue"]), float(given["MaxValue"])

    @property
    def is_reversed(self) -> bool:
        """Whether 1 - value is what is searched by its logarithm."""
        return self.scaling == "ReverseLogarithmic"

    @property
    def is_logarithmic(self) -> bool:
        if self.scaling == "Auto":
            return self.low > 0 and self.high / self.low >= _WIDE
        return self.scaling in ("Logarithmic", "ReverseLogarithmic")

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import (  # noqa: PLC0415 - half a second, that only tuning takes
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.kind == "Categorical":
            return CategoricalDistribution(self.given["Values"])
        if self.kind == "Integer":
            return IntDistribution(int(self.low), int(self.high), log=self.is_logarithmic)
        if self.is_reversed:
            return FloatDistribution(1 - self.high, 1 - self.low, log=True)
        return FloatDistribution(self.low, self.high, log=self.is_logarithmic)

    def text(self, value: Any) -> str:  # noqa: ANN401 - of any kind of distribution
        """Return a sampled value as the hyperparameter's text."""
        if self.kind == "Continuous":
            return repr(min(self.high, max(self.low, 1 - value if self.is_reversed else value)))
        return str(value)

    def value(self, text: str) -> Any:  # noqa: ANN401 - as above
        """Return what Optuna had sampled; None for a text that the range does not have."""
        if self.kind == "Categorical":
            return text if text in self.given["Values"] else None
        try:
            number = float(text)
        except ValueError:
            return None
        if not self.low <= number <= self.high:
            return None
        if self.kind == "Integer":
            return int(number)
        return 1 - number if self.is_reversed else number


def ranges(request: Request) -> list[_Range]:
    """Return the ranges of a request, in its order."""
    given = request["HyperParameterTuningJobConfig"].get("ParameterRanges", {})
    return [
        _Range(kind, entry)
        for kind in ("Integer", "Continuous", "Categorical")
        for entry in given.get(f"{kind}ParameterRanges", [])
    ]


def grid(request: Request) -> Iterator[dict[str, str]]:
    """Yield every combination of the categorical values."""
    of_grid = ranges(request)
    for values in itertools.product(*(each.given["Values"] for each in of_grid)):
        yield {each.name: value for each, value in zip(of_grid, values, strict=True)}


class Search:
    """One tuning job's search, from what is known at the moment."""

    def __init__(self, request: Request, name: str, trials: Sequence[TrialState]) -> None:
        self._request = request
        self._config = request["HyperParameterTuningJobConfig"]
        self._name = name
        self._trials = trials
        self._seed = int(self._config.get("RandomSeed", zlib.crc32(name.encode())))
        self._ranges = ranges(request)

    def next_values(self, number: int) -> dict[str, str] | None:
        """Return the hyperparameters of the trial of this number, from 0; None if there is nothing more to try."""
        strategy = self._config["Strategy"]
        if strategy == "Grid":
            return next(itertools.islice(grid(self._request), number, None), None)
        from optuna.samplers import RandomSampler, TPESampler  # noqa: PLC0415 - as above

        seed = (self._seed + number) % 2**32
        sampler = (
            RandomSampler(seed=seed)
            if strategy == "Random"
            else TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True, constant_liar=True)
        )
        trial = self._study(sampler).ask({each.name: each.distribution() for each in self._ranges})
        return {each.name: each.text(trial.params[each.name]) for each in self._ranges}

    def hopeless(self) -> set[int]:
        """Return the numbers of the running trials that are to be stopped early."""
        if self._config["Strategy"] == "Hyperband":
            return self._behind_in_their_bracket()
        if self._config.get("TrainingJobEarlyStoppingType") != "Auto":
            return set()
        from optuna.pruners import MedianPruner  # noqa: PLC0415 - as above

        study, pruner = self._study(None), MedianPruner(n_startup_trials=_STARTUP_TRIALS)
        running = [trial for trial in study.trials if not trial.state.is_finished() and trial.intermediate_values]
        return {trial.user_attrs["number"] for trial in running if pruner.prune(study, trial)}

    def _behind_in_their_bracket(self) -> set[int]:
        """Return what Hyperband stops. Its pruner notes a rung when it is reached, so all trials report once more."""
        from optuna.pruners import HyperbandPruner  # noqa: PLC0415 - as above

        limits = self._config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        longest = limits.get("MaxResource") or max((len(each.reported) for each in self._trials), default=0)
        if not longest:
            return set()
        ended = {each.number for each in self._trials if each.has_ended}
        study = self._study(None, are_running=True)
        pruner = HyperbandPruner(limits.get("MinResource", 1), longest, reduction_factor=3)
        behind = set()
        for index, trial in enumerate(study.trials):
            for step in trial.intermediate_values:
                report = copy.copy(study.get_trials(deepcopy=False)[index])
                report.intermediate_values = {at: trial.intermediate_values[at] for at in range(1, step + 1)}
                if pruner.prune(study, report):
                    behind.add(trial.user_attrs["number"])
                    break
        return behind - ended

    def _study(self, sampler: optuna.samplers.BaseSampler | None, *, are_running: bool = False) -> optuna.Study:
        """Return a study with all trials that are known: running ones count as not good."""
        import optuna  # noqa: PLC0415 - as above

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kind = self._config["HyperParameterTuningJobObjective"]["Type"]
        study = optuna.create_study(
            study_name=self._name, sampler=sampler, direction="maximize" if kind == "Maximize" else "minimize"
        )
        known = {each.name: each for each in self._ranges}
        for trial in self._trials:
            values = {name: known[name].value(text) for name, text in trial.values.items() if name in known}
            if len(values) != len(known) or None in values.values():
                continue  # of a parent whose ranges were others
            state = optuna.trial.TrialState.RUNNING
            if trial.has_ended and not are_running:
                has_objective = trial.objective is not None and math.isfinite(trial.objective)
                state = optuna.trial.TrialState.COMPLETE if has_objective else optuna.trial.TrialState.FAIL
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=trial.objective if state == optuna.trial.TrialState.COMPLETE else None,
                    params=values,
                    distributions={name: each.distribution() for name, each in known.items()},
                    user_attrs={"number": trial.number},
                    intermediate_values=dict(enumerate(trial.reported, start=1)),
                )
            )
        return study
