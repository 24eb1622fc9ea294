"""Input modes in containers: read-only mounts, pipes, manifests, and what cannot be."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from typing import Any

import pytest

from tests.helpers.emulator import BUCKET, LocalSageMaker, ask, channel

pytestmark = pytest.mark.docker


def test_fast_file_mode_is_a_mount_that_cannot_be_written_to(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("fast/a/b.txt", "content")
    job = sagemaker.run(
        "cat /opt/ml/input/data/train/a/b.txt; echo; echo x >> /opt/ml/input/data/train/a/b.txt; exit 0",
        InputDataConfig=[channel("train", "fast/", InputMode="FastFile")],
    )
    said, refused = sorted(sagemaker.lines(job["TrainingJobName"]), key=len)  # stdout and stderr have no order
    assert said == "content"
    assert "Read-only file system" in refused
    assert sagemaker.read(f"s3://{BUCKET}/fast/a/b.txt") == b"content"


def test_pipe_mode_has_a_fifo_an_epoch_and_survives_a_reader_that_leaves(sagemaker: LocalSageMaker) -> None:
    for name in "abc":
        sagemaker.put(f"pipe/{name}", name * 100_000)
    job = sagemaker.run(
        "cd /opt/ml/input/data; cat train_0 | md5sum; head -c 5 train_1; echo;"
        " until [ -e train_2 ]; do sleep 0.02; done; cat train_2 | md5sum; ls",
        InputDataConfig=[channel("train", "pipe/", InputMode="Pipe")],
    )
    assert job["TrainingJobStatus"] == "Completed"
    first, head, third, *files = sagemaker.lines(job["TrainingJobName"])
    whole = b"".join(name.encode() * 100_000 for name in "abc")
    assert first == third == f"{hashlib.md5(whole).hexdigest()}  -"
    assert head == "aaaaa"
    assert set(files) == {"train_0", "train_1", "train_2", "train_3"}


def test_a_pipe_whose_objects_cannot_be_read_fails_the_job_and_names_them(sagemaker: LocalSageMaker) -> None:
    whole = gzip.compress(b"x" * 1_000_000)
    sagemaker.put("gzip/whole/a", whole)
    sagemaker.put("gzip/none/a", b"plain")
    sagemaker.put("gzip/cut/a", gzip.compress(random.Random(1).randbytes(300_000))[:-2000])
    sagemaker.put("gzip/gone", json.dumps({"x-ref": f"s3://{BUCKET}/gzip/never"}))

    def read(prefix: str, **fields: Any) -> str:
        channels = [channel("t", prefix, InputMode="Pipe", **fields)]
        return sagemaker.create("cat /opt/ml/input/data/t_0 | wc -c", InputDataConfig=channels)

    names = {kind: read(f"gzip/{kind}/", CompressionType="Gzip") for kind in ("whole", "none", "cut")}
    names["gone"] = read("gzip/gone", kind="AugmentedManifestFile", AttributeNames=["x-ref"])
    for kind, uri in (("none", "gzip/none/a"), ("cut", "gzip/cut/a"), ("gone", "gzip/never")):
        job = sagemaker.wait(names[kind], timeout=60)
        assert job["FailureReason"].startswith("ClientError: Data download failed:"), kind
        assert f"s3://{BUCKET}/{uri}" in job["FailureReason"], kind
    assert sagemaker.lines(names["gone"]) == []
    assert sagemaker.wait(names["whole"])["TrainingJobStatus"] == "Completed"
    assert sagemaker.lines(names["whole"]) == ["1000000"]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("echo 'I read no pipes' > /opt/ml/output/failure; exit 2", "Failed"),
        ("true", "Completed"),
        ("exec 3< /opt/ml/input/data/train_0; read -r x <&3; sleep 0.3", "Completed"),
        ("while :; do sleep 0.1; done", "Stopped"),
    ],
)
def test_a_pipe_that_nobody_reads_to_its_end_keeps_no_job(sagemaker: LocalSageMaker, script: str, status: str) -> None:
    sagemaker.put("unread/a", b"line\n" * 100_000)
    channels = [channel("train", "unread/", InputMode="Pipe")]
    name = sagemaker.create(f"echo begun; {script}", InputDataConfig=channels)
    if status == "Stopped":
        sagemaker.wait_for(name, "begun")
        sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert sagemaker.wait(name, timeout=60)["TrainingJobStatus"] == status


def test_manifests(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("manifests/data/a", "A")
    sagemaker.put("manifests/data/b/c", "C")
    sagemaker.put("manifests/data/not", "N")
    sagemaker.put("manifests/list", json.dumps([{"prefix": f"s3://{BUCKET}/manifests/data/"}, "a", "b/c"]))
    line = {"source-ref": f"s3://{BUCKET}/manifests/data/a", "label": 3}
    sagemaker.put("manifests/augmented", f"{json.dumps(line)}\n{json.dumps(line)}\n")
    job = sagemaker.run(
        "cd /opt/ml/input/data; find listed -type f | sort | tr '\\n' ' '; cat listed-manifest; echo; cat augmented_0",
        InputDataConfig=[
            channel("listed", "manifests/list", kind="ManifestFile"),
            channel(
                "augmented",
                "manifests/augmented",
                kind="AugmentedManifestFile",
                AttributeNames=["source-ref", "label"],
                InputMode="Pipe",
            ),
        ],
    )
    assert sagemaker.lines(job["TrainingJobName"]) == [
        f'listed/a listed/b/c [{{"prefix": "s3://{BUCKET}/manifests/data/"}}, "a", "b/c"]',
        "A3A3",
    ]


def test_a_download_that_fails_or_is_slow(sagemaker: LocalSageMaker) -> None:
    for number in range(3):
        sagemaker.put(f"slow/{number}", "x" * 1000)
    ask(sagemaker, "faults", {"kind": "download", "job": "fails", "fail_at": 2})
    job = sagemaker.run(TrainingJobName="fails", InputDataConfig=[channel("train", "slow/")])
    reason = f"ClientError: Data download failed:Failed to download data. s3://{BUCKET}/slow/1"
    assert job["FailureReason"] == reason
    ask(sagemaker, "faults", {"kind": "download", "job": "slow", "bytes_per_second": 100})
    name = sagemaker.create(TrainingJobName="slow", InputDataConfig=[channel("train", "slow/")])
    sagemaker.wait_until(name, lambda job: job["SecondaryStatus"] == "Downloading")
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert "Training" not in [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
