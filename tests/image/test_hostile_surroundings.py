"""Surroundings that are not made for it: one job that has to live with all of them at once, and two side by side.

`surrounded` runs `prepare` and `train` once, with every restriction and every oddity; each test looks at one of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.containers import Containers, Result, docker
from tests.helpers.real_job import RealJob
from tests.helpers.training_job import examples, write_records

pytestmark = pytest.mark.image

REVIEWS = Path(__file__).parents[2] / "data" / "reviews.tsv"
MARK = "quuxotic"
"""A word in each review, which is nowhere else."""
SECRETS = {"AWS_SECRET_ACCESS_KEY": "hush-1", "AWS_SESSION_TOKEN": "hush-2", "HF_TOKEN": "hush-3", "MY_OWN": "hush-4"}
LENGTH = 32
MEMORY = 2 * 2**30
DISK_BYTES_A_SECOND = 50_000_000
CHECKPOINT_BYTES = 272_000_000
"""Weights of MiniLM, and Adam's two moments of each."""

LOCKED_DOWN = [
    *("--read-only", "--tmpfs", "/tmp"),
    *("--user", "12345:0"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--memory", str(MEMORY), "--memory-swap", str(MEMORY)),
    *(word for name, value in SECRETS.items() for word in ("--env", f"{name}={value}")),
]


@dataclass(frozen=True)
class Surrounded:
    """A job that has run."""

    container: dict[str, Any]
    """As `docker inspect` shows it."""
    preparing: Result
    training: Result
    root: Path
    inputs_before: str
    inputs_after: str
    left: Path
    """Copies of model/ and output/."""
    owners: set[int]

    @property
    def run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.left / "model" / "run.json").read_text())
        return document


@pytest.fixture(scope="module")
def surrounded(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Surrounded:
    folder = tmp_path_factory.mktemp("surrounded")
    root = folder / "ml"
    preparing = prepare(containers, folder, root)
    add_oddities(root / "input" / "data")
    config = root / "input" / "config"
    config.mkdir()
    hyperparameters = {"epochs": "1", "train_steps_per_epoch": "4", "train_batch_size": "8", "max_seq_length": LENGTH}
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps({"train": {}, "validation": {}, "test": {}}))
    before = fingerprint(root)
    # Volumes of their own, which belong to whoever the image lets write; what is in them is copied out.
    left = folder / "left"
    left.mkdir()
    outputs = [f"--volume=/opt/ml/{name}" for name in ("model", "output", "checkpoints")]
    disk = disk_of_the_engine()
    slow = ["--device-write-bps", f"{disk}:{DISK_BYTES_A_SECOND}"] if disk else []
    container = containers.start(["train"], [*LOCKED_DOWN, *slow, f"--volume={root}/input:/opt/ml/input:ro", *outputs])
    training = containers.wait(container)
    owners = copy_out(container, left)
    (inspected,) = json.loads(docker("inspect", container))
    return Surrounded(inspected, preparing, training, root, before, fingerprint(root), left, owners)


def prepare(containers: Containers, folder: Path, root: Path) -> Result:
    """Make channels of reviews that all hold MARK; some are broken."""
    header, *rows = REVIEWS.read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    text, stars = columns.index("review_body"), columns.index("star_rating")
    marked = [row.split("\t") for row in rows[:200]]
    for number, row in enumerate(marked):
        row[text] = f"{MARK} {row[text]}"
        row[stars] = {0: "9", 1: "", 2: "five"}.get(number, row[stars])
    (folder / "reviews.tsv").write_text("\n".join([header, *map("\t".join, marked)]) + "\n", encoding="utf-8")
    (root / "input" / "data").mkdir(parents=True)
    mounts = [f"--volume={root}:/opt/ml", f"--volume={folder}/reviews.tsv:/reviews/reviews.tsv:ro"]
    secrets = LOCKED_DOWN[LOCKED_DOWN.index("--env") :]
    command = ["prepare", "--input", "/reviews", "--output", "/opt/ml/input/data", "--max-seq-length", str(LENGTH)]
    result = containers.run(command, [*mounts, *secrets])
    assert result.exit_code == 0, result.log
    return result


def add_oddities(data: Path) -> None:
    """Give the train channel nested folders, links, a manifest beside it, and files that are none of its own."""
    train = data / "train"
    # The records of others that come here are in no manifest of prepare's, which train would refuse: it is hidden.
    for made_by_prepare in (*train.glob("manifest-*"), *train.glob("texts-*")):
        made_by_prepare.rename(train / f".{made_by_prepare.name}")
    nested = train / "2026" / "11"
    nested.mkdir(parents=True)
    for file in train.glob("*.tfrecord"):
        file.rename(nested / file.name)
    write_records(data / ".store" / "linked.tfrecord", examples(5, LENGTH, seed=1))
    write_records(data / ".store" / "folder" / "in-a-linked-folder.tfrecord", examples(6, LENGTH, seed=2))
    (train / "link.tfrecord").symlink_to("../.store/linked.tfrecord")
    (train / "folder").symlink_to("../.store/folder")
    (train / "circle").symlink_to(".")
    (train / ".hidden.tfrecord").write_bytes(b"left by a tool")
    (train / ".ipynb_checkpoints").mkdir()
    (train / ".ipynb_checkpoints" / "copy.tfrecord").write_bytes(b"left by another")
    (train / "empty.tfrecord").touch()
    (train / "_SUCCESS").touch()
    (data / "train-manifest").write_text('[{"prefix": "s3://bucket/train/"}, "part-0.tfrecord"]')


def fingerprint(root: Path) -> str:
    """Return a hash of every name, content and time below the folder."""
    entries = [
        (str(path), path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def copy_out(container: str, folder: Path) -> set[int]:
    """Copy model/ and output/ out of a container that has ended; return the users that they belong to in it."""
    owners = set()
    for name in ("model", "output"):
        archive = folder / f"{name}.tar"
        with archive.open("wb") as file:
            copying = ["docker", "cp", f"{container}:/opt/ml/{name}", "-"]
            subprocess.run(copying, stdout=file, check=True)
        with tarfile.open(archive) as tar:
            owners |= {member.uid for member in tar if member.isfile()}
            tar.extractall(folder, filter="data")
        archive.unlink()
    return owners


def disk_of_the_engine() -> str | None:
    """Return the block device below the engine's volumes, None where there is none to be seen."""
    folder = Path(docker("info", "--format", "{{.DockerRootDir}}").strip())
    if not folder.exists():
        return None
    number = folder.stat().st_dev
    shown = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    disk = shown.parent if (shown / "partition").exists() else shown
    device = Path("/dev") / disk.name
    return str(device) if device.is_block_device() else None


def test_a_read_only_root_file_system_and_read_only_inputs(surrounded: Surrounded) -> None:
    assert surrounded.training.exit_code == 0, surrounded.training.log
    assert surrounded.container["HostConfig"]["ReadonlyRootfs"]
    assert surrounded.inputs_after == surrounded.inputs_before


def test_any_user(surrounded: Surrounded) -> None:
    assert surrounded.owners == {12345}


def test_no_network(surrounded: Surrounded) -> None:
    assert surrounded.container["HostConfig"]["NetworkMode"] == "none"
    assert "Temporary failure in name resolution" not in surrounded.training.log
    assert surrounded.run["weights"]["source"] == "baked"


def test_no_capabilities_and_no_new_privileges(surrounded: Surrounded) -> None:
    assert surrounded.container["HostConfig"]["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in surrounded.container["HostConfig"]["SecurityOpt"]
    assert "Operation not permitted" not in surrounded.training.log


def test_a_memory_limit_that_is_enough(surrounded: Surrounded) -> None:
    assert surrounded.container["HostConfig"]["Memory"] == MEMORY
    assert not surrounded.container["State"]["OOMKilled"]


def test_a_slow_disk(surrounded: Surrounded) -> None:
    if not surrounded.container["HostConfig"]["BlkioDeviceWriteBps"]:
        pytest.skip("the engine's volumes are on no block device that can be slowed down")
    ((written, seconds),) = re.findall(r"checkpoint (\S+) written in (\S+) s", surrounded.training.log)
    assert float(seconds) > CHECKPOINT_BYTES / DISK_BYTES_A_SECOND / 2, f"{written} in {seconds} s: no slow disk"
    assert surrounded.run["checkpoints"]["failed"] == 0


def test_a_channel_with_links_hidden_files_manifests_empty_files_and_nested_folders(surrounded: Surrounded) -> None:
    manifest = json.loads(next((surrounded.root / "input/data/train").rglob(".manifest-*.json")).read_text())
    files = len(manifest["files"]) + 3
    assert f"channel train: {manifest['records'] + 11} reviews in {files} file(s)" in surrounded.training.log


def test_logs_hold_no_secret_and_no_review(surrounded: Surrounded) -> None:
    assert "rows that are broken" in surrounded.preparing.log
    said = {"preparing": surrounded.preparing.log.encode(), "training": surrounded.training.log.encode()}
    left = {path.name: path.read_bytes() for path in surrounded.left.rglob("*") if path.is_file()}
    for name, content in {**said, **left}.items():
        assert MARK.encode() not in content.lower(), name
        assert not any(secret.encode() in content for secret in SECRETS.values()), name


JUMPING_CLOCK = """
import time
real, real_ns = time.time, time.time_ns
def jump():
    return 86400 * (-1) ** int(time.monotonic())
time.time = lambda: real() + jump()
time.time_ns = lambda: real_ns() + jump() * 10**9
"""
"""Loaded by every Python process of the container, PID 1 included: a day on, a day back, every second."""


@pytest.mark.long
def test_two_jobs_at_once_one_of_them_with_a_clock_that_jumps(containers: Containers, tmp_path: Path) -> None:
    steady, jumping = RealJob(containers, tmp_path / "a", LENGTH), RealJob(containers, tmp_path / "b", LENGTH)
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    for job in (steady, jumping):
        job.configure(epochs="1", train_steps_per_epoch="4", use_xla="False", use_amp="False", log_every_steps="1")
        (job.root / "checkpoints").mkdir()
    clock = [f"--volume={tmp_path}/clock:/clock:ro", "--env=PYTHONPATH=/clock"]
    started = [
        job.start(f"--volume={job.root}/checkpoints:/opt/ml/checkpoints", *options)
        for job, options in ((steady, []), (jumping, clock))
    ]
    logs = []
    for container in started:
        result = containers.wait(container)
        assert result.exit_code == 0, result.log
        logs.append(result.log)
    days = [len({line[:10] for line in log.splitlines() if line[:2] == "20"}) for log in logs]
    assert days[0] <= 2 <= days[1], "the clock did not jump"
    first, second = (json.loads((job.root / "model" / "run.json").read_text()) for job in (steady, jumping))
    assert first["history"] == second["history"]
    assert all(0 < seconds < 300 for seconds in second["seconds"].values())
    weights = [(job.root / "model/transformers/fine-tuned/model.safetensors").read_bytes() for job in (steady, jumping)]
    assert weights[0] == weights[1]
