"""Several hosts at length, in containers of the image: as one host, on uneven shards, and killed at random moments.

What CI shows once (test_hosts.py) or with processes (tests/src/.../test_hosts.py), here ten times and in containers.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from pathlib import Path

import pytest

from tests.helpers.containers import Containers, docker
from tests.helpers.real_hosts import RealHosts

pytestmark = [pytest.mark.image, pytest.mark.long]

STEPS_PER_EPOCH = 4
"""64 records in batches of 16."""
TRIALS = 10
LONGEST_LOSS = 60.0
"""Seconds from the end of a host to that of the other."""
WEIGHTS = "/opt/distilbert-trainer/weights"
"""Those that the image carries."""


def test_one_two_and_four_hosts_train_one_model(
    containers: Containers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_dropout = weights_without_dropout(containers, tmp_path / "weights")
    losses, accuracies = {}, {}
    for number in (1, 2, 4):
        hosts = RealHosts(containers, tmp_path / str(number), number, epochs="5", enable_sagemaker_debugger="False")
        hosts.options = ["--cpus", str(min(1.0, 2 / number)), f"--volume={without_dropout}:{WEIGHTS}:ro"]
        hosts.run()
        record = hosts.run_record
        losses[number] = [entry["loss"] for entry in record["history"]["train"]]
        accuracies[number] = record["test"]["accuracy"]["value"]
    furthest = {
        number: max(abs(mine - theirs) for mine, theirs in zip(losses[number], losses[1], strict=True))
        for number in (2, 4)
    }
    with capsys.disabled():
        print(f"\nlosses of {len(losses[1])} steps, furthest from one host's: {furthest}; accuracies: {accuracies}")  # noqa: T201
    assert len(losses[1]) == 5 * STEPS_PER_EPOCH
    assert max(furthest.values()) < 1e-4
    assert len(set(accuracies.values())) == 1


def test_uneven_shards_are_seen_whole(containers: Containers, tmp_path: Path) -> None:
    shards = (1, 16, 48)
    hosts = RealHosts(containers, tmp_path, len(shards), epochs="2")
    for rank, records in enumerate(shards):
        hosts.shard(rank, records)
    results = hosts.run()
    record = hosts.run_record
    assert [host["records"]["train"] for host in record["hosts"]] == list(shards)
    assert [epoch["examples"] for epoch in record["history"]["epochs"]] == [sum(shards)] * 2
    assert "algo-3 holds 48 of 65 records, and the others wait for it" in results[0].log


def test_whichever_host_is_killed_whenever_the_job_goes_on_to_the_same_model(
    containers: Containers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"epochs": "3", "checkpoint_every_steps": "2"}
    undisturbed = RealHosts(containers, tmp_path / "undisturbed", 2, **settings)
    undisturbed.run()
    chance = random.Random(1)
    with capsys.disabled():
        print("\nkilled  after step  exit  seconds  resumed from  result")  # noqa: T201
        for trial in range(TRIALS):
            hosts = RealHosts(containers, tmp_path / f"trial-{trial}", 2, **settings)
            started = hosts.start_all()
            lost, step = chance.randrange(2), chance.randrange(1, 3 * STEPS_PER_EPOCH)
            containers.wait_for(started[0], f" step {step}/")
            time.sleep(0.5 * chance.random())
            docker("kill", started[lost])
            killed_at = time.monotonic()
            survivor = hosts.wait(started[1 - lost])
            seconds, reason = time.monotonic() - killed_at, hosts.jobs[1 - lost].failure
            resumed = hosts.run()[0]
            (from_step,) = re.findall(r"resumed from \S+: step (\d+)", resumed.log) or ["0"]
            same = weights(hosts) == weights(undisturbed)
            print(  # noqa: T201
                f"algo-{lost + 1} {step:12} {survivor.exit_code:5} {seconds:8.1f} {from_step:>13}  "
                f"{'same' if same else 'OTHER'} weights"
            )
            assert survivor.exit_code == 19, survivor.log
            assert f"Host algo-{lost + 1} is lost" in reason
            assert seconds < LONGEST_LOSS
            assert int(from_step) >= step - 2 - 1  # a checkpoint every two steps, and one that was being written
            assert same
            assert hosts.run_record["history"]["epochs"] == undisturbed.run_record["history"]["epochs"]


def weights_without_dropout(containers: Containers, folder: Path) -> Path:
    """Return a copy of the image's weights whose model drops nothing: several hosts drop other things than one."""
    folder.mkdir()
    copied = containers.run(["-r", f"{WEIGHTS}/.", "/to"], ["--entrypoint", "cp", f"--volume={folder}:/to"])
    assert copied.exit_code == 0, copied.log
    config = json.loads((folder / "config.json").read_text())
    nothing = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), 0.0)
    (folder / "config.json").write_text(json.dumps(config | nothing))
    return folder


def weights(hosts: RealHosts) -> str:
    """Return the sha256 of the exported weights."""
    file = hosts.jobs[0].root / "model" / "transformers" / "fine-tuned" / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()
