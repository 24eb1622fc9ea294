"""Several hosts are one training: what comes out is what one host gives, and the end of one is the end of all."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from star_rating.checkpointing.store import STATE
from star_rating.failures import ExitCode
from tests.helpers.hosts_job import HostOutcome, HostsJob
from tests.helpers.training_job import LENGTH, examples, write_records

pytestmark = pytest.mark.slow

SETTINGS = {
    "epochs": "4",
    "train_batch_size": "13",  # 60 records: four full batches and one of eight
    "enable_checkpointing": "True",
    "checkpoint_every_steps": "1",
    "checkpoints_kept": "100",
    "gradient_clip_norm": "1.0",
    "weight_decay": "0.01",
    "export_epoch": "best",
    "run_sample_predictions": "False",
}
WITHOUT_HOOK = {"enable_sagemaker_debugger": "False"}
STEPS = 20
LONGEST_LOSS = 60.0
"""Seconds from the end of a host to that of the others; on an idle machine it takes one or two."""
TOLERANCE = 1e-4
"""Of losses: sums in another order."""


def assert_same_training(one: HostOutcome, other: HostOutcome) -> None:
    """Losses, accuracies and predictions to rounding."""
    assert one.losses == pytest.approx(other.losses, abs=TOLERANCE)
    for mine, theirs in zip(one.run["history"]["epochs"], other.run["history"]["epochs"], strict=True):
        assert mine == pytest.approx(theirs, abs=TOLERANCE)
    assert one.run["test"]["accuracy"] == other.run["test"]["accuracy"]


def assert_same_to_the_last_bit(one: HostOutcome, other: HostOutcome) -> None:
    assert one.run["history"] == other.run["history"]
    assert one.weights == other.weights


def state_of(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / STATE).read_text())
    return document


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> HostOutcome:
    return HostsJob(tmp_path_factory.mktemp("alone"), hosts=1).run(**SETTINGS | WITHOUT_HOOK)[0]


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Sequence[HostOutcome]:
    return HostsJob(tmp_path_factory.mktemp("together"), hosts=2).run(**SETTINGS)


def test_two_hosts_train_as_one_does(alone: HostOutcome, two_hosts: Sequence[HostOutcome]) -> None:
    assert len(two_hosts[0].losses) == STEPS
    assert_same_training(two_hosts[0], alone)
    assert two_hosts[0].run["channels"]["train"]["sha256"] == alone.run["channels"]["train"]["sha256"]
    predictions = [(outcome.root / "model/metrics/predictions.csv").read_text() for outcome in (two_hosts[0], alone)]
    rows = [[line.split(",")[:2] for line in text.splitlines()] for text in predictions]
    assert rows[0] == rows[1]


def test_the_first_host_alone_writes_what_there_is_one_of(two_hosts: Sequence[HostOutcome]) -> None:
    first, second = two_hosts
    assert len(first.checkpoints) == STEPS
    assert not second.checkpoints
    assert not list((second.root / "model").glob("*"))
    assert [own["host"] for own in first.run["hosts"]] == ["127.0.0.1", "algo-2"]
    assert len({own["weights_sha256"] for own in first.run["hosts"]}) == 1, "of the best epoch, on both hosts"
    assert "is exported, validation_loss=" in second.log
    assert "train:loss=" in first.log
    assert "train:loss=" not in second.log
    assert first.log.count("debugger: not running") == 1
    assert "debugger" not in second.log


@pytest.mark.parametrize("hosts", [1, pytest.param(3, marks=pytest.mark.long)])
def test_a_checkpoint_of_two_hosts_goes_on_on_another_number(
    two_hosts: Sequence[HostOutcome], tmp_path: Path, hosts: int
) -> None:
    job = HostsJob(tmp_path, hosts)
    job.copy_checkpoints(two_hosts[0].root, up_to_step=12)  # within an epoch
    outcomes = job.run(**SETTINGS | (WITHOUT_HOOK if hosts == 1 else {}))
    assert outcomes[0].run["checkpoints"]["resumed_from_step"] == 12
    assert_same_training(outcomes[0], two_hosts[0])


def test_uneven_shards_are_seen_whole_under_xla_and_mixed_precision_too(
    alone: HostOutcome, tmp_path: Path, scaled: Callable[..., int]
) -> None:
    epochs = scaled(2, in_ci=1)
    job = HostsJob(tmp_path, hosts=3)
    for rank, records in enumerate((1, 15, 45)):
        channel = job.channel(rank, "train")
        (channel / "part-1.tfrecord").unlink()
        write_records(channel / f"part-{rank}-of-3.tfrecord", examples(records, LENGTH, seed=10 + rank))
    (job.channel(1, "validation") / "part-1.tfrecord").unlink()  # nothing of it here, and all of it there: a shard too
    (job.channel(2, "validation") / "part-1.tfrecord").unlink()
    first, *others = job.run(
        **SETTINGS
        | WITHOUT_HOOK
        | {"epochs": str(epochs), "skip_nonfinite_steps": "1", "use_xla": "True", "use_amp": "True"}
    )
    run = first.run
    assert run["channels"]["train"]["records"] == 61
    assert run["steps"]["done"] == epochs * -(-61 // 13)
    assert [epoch["examples"] for epoch in run["history"]["epochs"]] == [61] * epochs
    assert [epoch["validation_examples"] for epoch in run["history"]["epochs"]] == [20] * epochs
    assert [own["records"]["train"] for own in run["hosts"]] == [1, 15, 45]
    assert "algo-3 holds 45 of 61 records, and the others wait for it" in first.log
    assert 1 <= run["acceleration"]["compiled_step"]["compilations"] <= 8
    assert all("bfloat16 with XLA, as the first host has decided" in other.log for other in others)
    assert np.mean(first.losses[:5]) == pytest.approx(np.mean(alone.losses[:5]), rel=0.05)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> HostsJob:
    """A job that the tests below kill, start again, stop, and start again, in this order."""
    return HostsJob(tmp_path_factory.mktemp("disturbed"), hosts=2)


@pytest.fixture(scope="module")
def killed(disturbed: HostsJob) -> Sequence[HostOutcome]:
    disturbed.start(**SETTINGS)
    disturbed.wait_for(0, r" step 7/20 ")
    disturbed.signal(1, signal.SIGKILL)
    return disturbed.wait(since_now=True)


@pytest.fixture(scope="module")
def stopped(disturbed: HostsJob, killed: Sequence[HostOutcome]) -> Sequence[HostOutcome]:
    del killed
    disturbed.start(**SETTINGS | {"checkpoint_every_steps": "0"})
    disturbed.wait_for(0, r" step 12/20 ")
    disturbed.signal(1, signal.SIGTERM)
    return disturbed.wait()


def test_a_host_that_is_killed_ends_the_others_soon_and_is_named(killed: Sequence[HostOutcome]) -> None:
    first, second = killed
    assert second.exit_code == -signal.SIGKILL
    assert first.exit_code == ExitCode.HOST_LOST
    assert "error: Host algo-2 is lost: its connection" in first.log
    assert "Traceback" not in first.log
    assert first.seconds < LONGEST_LOSS


def test_a_stop_of_one_host_stops_all_after_the_same_step(stopped: Sequence[HostOutcome]) -> None:
    first, second = stopped
    assert first.exit_code == second.exit_code == 0, first.log + second.log
    assert int(re.findall(r"resumed from \S+: step (\d+)", first.log)[0]) >= 6  # the line comes before the checkpoint
    (step,) = re.findall(r"stopping at step (\d+) of 20", first.log)
    assert 12 <= int(step) < STEPS
    assert f"stopping at step {step} of 20" in second.log
    assert "the test channel is not evaluated, as the job was stopped" in first.log


def test_what_was_disturbed_ends_as_if_it_had_not_been(
    disturbed: HostsJob, stopped: Sequence[HostOutcome], two_hosts: Sequence[HostOutcome]
) -> None:
    record = stopped[0].run
    assert record["stopped"]["signal"] == "SIGTERM"
    assert record["test"] is None
    assert state_of(stopped[0].checkpoints[-1])["step"] == record["steps"]["done"]
    assert (stopped[0].root / "model/tensorflow/saved_model/0/saved_model.pb").exists()
    resumed = disturbed.run(**SETTINGS)
    assert resumed[0].run["checkpoints"]["resumed_from_step"] == record["steps"]["done"]
    assert_same_to_the_last_bit(resumed[0], two_hosts[0])
