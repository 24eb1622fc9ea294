"""A short kill matrix: a training job that is ended at any moment goes on as if it had never been ended.

CI ends one job; with --full these are four, and `make kill-matrix` ends 48.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.containers import Containers
from tests.helpers.kill_matrix import line, run_matrix, summary
from tests.helpers.kill_trial import Plan

pytestmark = pytest.mark.image

PLANS = [
    Plan("checkpoint", "docker kill", 0.4),
    Plan("step", "SIGTERM", 0.6),
    Plan("validation", "SIGKILL", 0.3),
    Plan("export", "SIGTERM", 0.5),
]
PLANS_IN_CI = 1


def test_what_is_ended_at_any_moment_goes_on_to_the_same_model(
    containers: Containers, tmp_path: Path, say: Callable[[str], None], scaled: Callable[..., int]
) -> None:
    plans = PLANS[: scaled(len(PLANS), PLANS_IN_CI)]
    trials = list(run_matrix(containers, plans, tmp_path))
    for said in (*map(line, trials), summary(trials)):
        say(said)
    assert [trial.problems for trial in trials] == [[]] * len(plans)
    assert all(trial.exit_code == 0 for trial in trials if trial.signal == "SIGTERM")
