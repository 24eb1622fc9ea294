"""Containers that want what is not theirs: the host's files, its devices, the platform's hands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.emulator import BUCKET, LocalSageMaker, channel

pytestmark = pytest.mark.docker


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host that no job was given."""
    for name in ("data/secret", "secret", "config/resourceconfig.json", "checkpoints/secret"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("TOP-SECRET")
    return tmp_path


def nothing_got_out(sagemaker: LocalSageMaker, name: str, outside: Path) -> None:
    for key in sagemaker.keys(""):
        assert b"TOP-SECRET" not in sagemaker.read(f"s3://{BUCKET}/{key}")
    job = sagemaker.describe(name)
    assert "TOP-SECRET" not in json.dumps(job, default=str)
    if "S3ModelArtifacts" in job.get("ModelArtifacts", {}):
        assert b"TOP-SECRET" not in b"".join(sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]).values())
    found = {path.relative_to(outside).as_posix(): path.read_text() for path in outside.rglob("*") if path.is_file()}
    assert set(found.values()) == {"TOP-SECRET"}
    assert len(found) == 4


def test_links_in_place_of_every_folder_lead_nowhere(sagemaker: LocalSageMaker, outside: Path) -> None:
    script = """
        cd /opt/ml; echo weights > model/weights; ln -s $OUT model/all; ln -s weights model/latest
        ln -s $OUT/secret checkpoints/secret; ln -s $OUT/checkpoints checkpoints/a
        rm -rf input/config; ln -s $OUT/config input/config; rm -rf output; ln -s $OUT output
        echo replaced; sleep 60"""
    name = sagemaker.create(
        Environment={"SCRIPT": script, "OUT": str(outside)},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/hostile/checkpoints"},
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/hostile/debug", "LocalPath": "/opt/ml/output/data"},
        TensorBoardOutputConfig={"S3OutputPath": f"s3://{BUCKET}/hostile/board", "LocalPath": "/opt/ml/output"},
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/hostile/profile"},
    )
    sagemaker.wait_for(name, "replaced")
    # The platform writes config files anew.
    sagemaker.client("sagemaker").update_training_job(
        TrainingJobName=name, ProfilerConfig={"ProfilingIntervalInMilliseconds": 1000}
    )
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    nothing_got_out(sagemaker, name, outside)
    assert sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"weights": b"weights\n"}
    said = [line for line in sagemaker.lines(name) if line.startswith("[local SageMaker]")]
    assert any("secret is a link" in line for line in said)


def test_what_a_failed_job_says_of_itself_is_its_own(sagemaker: LocalSageMaker, outside: Path) -> None:
    failed = sagemaker.run(f"ln -s {outside}/secret /opt/ml/output/failure; exit 1")
    assert "TOP-SECRET" not in failed["FailureReason"]
    elsewhere = sagemaker.run(f"rm -rf /opt/ml/output; ln -s {outside} /opt/ml/output; exit 1")
    assert "TOP-SECRET" not in elsewhere["FailureReason"]
    waiting = sagemaker.run("mkfifo /opt/ml/output/failure; exit 1")
    assert waiting["TrainingJobStatus"] == "Failed"


def test_a_pipe_that_is_replaced_by_a_link_writes_nothing(sagemaker: LocalSageMaker, outside: Path) -> None:
    sagemaker.put("hostile/pipe/a", b"OVERWRITTEN")
    script = f"""
        cd /opt/ml/input; cat data/train_0 > /dev/null
        mv data other; ln -s {outside} data; ln -s {outside}/secret other/train_1 2> /dev/null; sleep 1"""
    job = sagemaker.run(script, InputDataConfig=[channel("train", "hostile/pipe/", InputMode="Pipe")])
    assert job["TrainingJobStatus"] == "Completed"
    nothing_got_out(sagemaker, job["TrainingJobName"], outside)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_channel_that_no_folder_can_be_is_refused(sagemaker: LocalSageMaker, name: str) -> None:
    sagemaker.put("hostile/channel/a", b"x")
    job = sagemaker.run(InputDataConfig=[channel(name, "hostile/channel/")])
    assert job["FailureReason"].startswith("ClientError: Data download failed:a channel is called")


def test_whatever_is_left_in_the_model_the_model_is_there(sagemaker: LocalSageMaker) -> None:
    script = """
        cd /opt/ml/model; echo weights > weights; mkdir -p ck-1; echo step > ck-1/step; ln -s ck-1 latest
        mkfifo fifo; perl -e 'use IO::Socket::UNIX; IO::Socket::UNIX->new(Local => "socket", Listen => 1)'
        touch "$(printf '\\377\\376')"; echo closed > closed; chmod 000 closed; truncate -s 1T sparse
        mkdir shut; echo shut > shut/inner; chmod 000 shut"""
    job = sagemaker.run(script)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    files = sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"])
    expected = {"weights": b"weights\n", "ck-1/step": b"step\n", "closed": b"closed\n", "shut/inner": b"shut\n"}
    assert files == expected | {os.fsdecode(b"\xff\xfe"): b""}
    said = [line for line in sagemaker.lines(job["TrainingJobName"]) if line.startswith("[local SageMaker]")]
    assert [line.split()[2] for line in said] == ["fifo", "socket", "sparse"]

    plain = sagemaker.run(script, OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/plain", "CompressionType": "NONE"})
    assert plain["TrainingJobStatus"] == "Completed"
    prefix = f"plain/{plain['TrainingJobName']}/output/model/"
    assert {key.removeprefix(prefix) for key in sagemaker.keys(prefix)} == set(expected)
    said = [line for line in sagemaker.lines(plain["TrainingJobName"]) if line.startswith("[local SageMaker]")]
    assert sorted(line.split()[2] for line in said) == ["\\xff\\xfe", "fifo", "latest", "socket", "sparse"]


def test_a_container_has_no_more_rights_than_a_job_needs(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run(
        "grep -E 'NoNewPrivs|CapBnd' /proc/self/status; mknod /opt/ml/model/disk b 7 0 || echo no device; "
        "ls /var/run/docker.sock || echo no engine; echo w > /opt/ml/model/w; id -u"
    )
    lines = sagemaker.lines(job["TrainingJobName"])
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    capabilities = int(status["CapBnd"], 16)
    assert [number for number in (13, 16, 17, 19, 21, 27, 29, 31) if capabilities >> number & 1] == []
    assert {"no device", "no engine", str(os.getuid())} <= set(lines)


def test_a_job_that_leaves_many_odd_files_does_not_fill_its_log(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run("cd /opt/ml/model; mkfifo $(seq 150); echo w > w")
    assert job["TrainingJobStatus"] == "Completed"
    said = [line for line in sagemaker.lines(job["TrainingJobName"]) if line.startswith("[local SageMaker]")]
    assert len(said) == 100
    assert said[-1] == "[local SageMaker] there is more of this kind"


def test_the_platforms_own_names_below_tensors_and_profile_are_left_out(sagemaker: LocalSageMaker) -> None:
    script = """
        mkdir -p /opt/ml/output/tensors/training_job_end.ts /opt/ml/output/profiler; cd /opt/ml/output
        echo x > tensors/training_job_end.ts/x; echo x > tensors/a; echo x > profiler/system; echo x > profiler/a"""
    job = sagemaker.run(
        script,
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/hostile/names"},
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/hostile/names"},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    prefix = f"hostile/names/{job['TrainingJobName']}"
    assert {f"{prefix}/debug-output/a", f"{prefix}/debug-output/training_job_end.ts"} <= set(sagemaker.keys(prefix))
    assert f"{prefix}/profiler-output/system" not in sagemaker.keys(prefix)
