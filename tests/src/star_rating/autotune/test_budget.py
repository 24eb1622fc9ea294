"""What a run is expected to cost, and what measuring may cost of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from star_rating.autotune import budget
from star_rating.autotune.autotuner import Trial
from star_rating.autotune.benchmark import Mode
from star_rating.autotune.budget import NotWorthItError
from star_rating.data.channel import open_channel
from star_rating.hardware import cgroup
from star_rating.hyperparameters import Hyperparameters
from star_rating.model import pretrained_weights
from star_rating.model.config import DistilBertConfig
from tests.helpers.training_job import LENGTH, TrainingJob

MODES = [Mode(xla=False, compute_dtype="float32"), Mode(xla=False, compute_dtype="bfloat16")]
BASE = DistilBertConfig()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    job = TrainingJob(tmp_path)
    pretrained = replace(pretrained_weights.load(job.weights), config=BASE)
    channel = open_channel("train", job.channel("train"), max_seq_length=LENGTH, vocabulary_size=BASE.vocab_size)
    return Trial(Hyperparameters(max_seq_length=LENGTH), pretrained, channel, steps=100_000)


def test_a_step_of_distilbert_base_is_expected_to_take_what_it_takes() -> None:
    # 62.6 real tokens of 128, 2.3 s where a matrix product ran at 250 GFLOP/s (two cores, Sapphire Rapids).
    seconds = budget.seconds_per_step(BASE, Hyperparameters(), tokens=62.6, matmul_rate=250.0)
    assert 2.3 / 2 < seconds < 2.3 * 2


def test_a_frozen_body_takes_a_third() -> None:
    whole, head = (
        budget.seconds_per_step(BASE, Hyperparameters(freeze_bert_layer=frozen), tokens=60, matmul_rate=250)
        for frozen in (False, True)
    )
    assert head == pytest.approx(whole / 3)


def test_memory_is_that_of_the_models_and_of_what_they_keep() -> None:
    # 4.3 GB was the peak of two models of this geometry, 7.6 to 9.1 GB that of four, two of them compiled.
    hyperparameters = Hyperparameters(max_seq_length=128)
    compiled = [Mode(xla=True, compute_dtype=mode.compute_dtype) for mode in MODES]
    assert 4.3e9 < budget.memory(BASE, hyperparameters, MODES) < 6e9
    assert 9.1e9 < budget.memory(BASE, hyperparameters, MODES + compiled) < 12e9


def test_the_tokens_of_the_first_records_are_counted(trial: Trial) -> None:
    assert 2 < budget.tokens_per_record(trial.channel, LENGTH) < LENGTH


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_matrix_product_is_measured(dtype: str) -> None:
    assert budget.matmul_rate(dtype) > 0


def test_a_long_run_gets_a_share_of_its_time_up_to_a_cap(trial: Trial) -> None:
    tokens = budget.tokens_per_record(trial.channel, LENGTH)
    step = budget.seconds_per_step(BASE, trial.hyperparameters, tokens, 250)
    an_hour = replace(trial, steps=round(3600 / step))
    assert budget.budget(an_hour, MODES, 250, share=0.04) == pytest.approx(144, rel=0.01)
    assert budget.budget(trial, MODES, 250, share=0.04) == budget.MOST_SECONDS


def test_a_short_run_is_not_measured_and_the_reason_has_both_times(trial: Trial) -> None:
    with pytest.raises(NotWorthItError, match=r"the run may take about \d+ s, and measuring about \d+ s, .* 5% of it"):
        budget.budget(replace(trial, steps=50), MODES, 250, share=0.05)


def test_measuring_that_takes_longer_than_any_trial_may_is_refused_with_that_limit(trial: Trial) -> None:
    with pytest.raises(NotWorthItError, match=r"measuring about .*, which is more than the 180 s allowed"):
        budget.budget(replace(trial, steps=10**6), MODES, matmul_rate=1, share=0.05)


def test_where_float32_has_nothing_but_xla_to_compare_with_a_compilation_must_fit_too(trial: Trial) -> None:
    # Ten minutes of steps of two seconds: half a minute to measure in, and XLA alone takes longer.
    tokens = budget.tokens_per_record(trial.channel, LENGTH)
    rate = 250 * budget.seconds_per_step(BASE, trial.hyperparameters, tokens, 250) / 2
    ten_minutes = replace(trial, steps=300)
    compiled = Mode(xla=True, compute_dtype="float32")
    assert budget.budget(ten_minutes, [MODES[0], MODES[1], compiled], rate, share=0.08) == pytest.approx(48, rel=0.01)
    with pytest.raises(NotWorthItError, match="the run may take about 10 min, and measuring about 80 s"):
        budget.budget(ten_minutes, [MODES[0], compiled], rate, share=0.08)


def test_measuring_must_fit_into_the_memory_that_is_free(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "free_memory", lambda: 2_000_000_000)
    with pytest.raises(NotWorthItError, match=r"measuring may take 3\.\d GB of memory, and 2\.0 GB are free"):
        budget.budget(trial, MODES, 250, share=0.05)
