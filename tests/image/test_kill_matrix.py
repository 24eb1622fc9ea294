"""A short kill matrix: a training job that is ended at any moment goes on as if it had never been ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from containers import Containers
from kill_matrix import line, run_matrix, summary
from kill_trial import Plan

pytestmark = pytest.mark.image

PLANS = [
    Plan("step", "SIGTERM", 0.6),
    Plan("checkpoint", "docker kill", 0.4),
    Plan("validation", "SIGKILL", 0.3),
    Plan("export", "SIGTERM", 0.5),
]


def test_what_is_ended_at_any_moment_goes_on_to_the_same_model(
    containers: Containers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = list(run_matrix(containers, PLANS, tmp_path))
    with capsys.disabled():
        print("", *map(line, trials), summary(trials), sep="\n")  # noqa: T201 - the table belongs into CI's log
    assert [trial.problems for trial in trials] == [[]] * len(PLANS)
    assert all(trial.exit_code == 0 for trial in trials if trial.signal == "SIGTERM")
