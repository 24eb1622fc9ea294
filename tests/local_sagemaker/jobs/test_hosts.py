"""Several hosts: each its share, names that resolve, a log of its own, one archive."""

from __future__ import annotations

import docker
import pytest

from local_sagemaker.server import LocalServer
from tests.helpers.emulator import BUCKET, LocalSageMaker, ask, channel, hosts

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("count", [2, 4])
def test_every_host_sees_its_share_finds_the_others_and_has_its_own_log(
    sagemaker: LocalSageMaker, server: LocalServer, count: int
) -> None:
    for number in range(7):
        sagemaker.put(f"shares/{number}.txt", str(number))
    script = (
        "cd /opt/ml; name=$(hostname); (cd input; ls data/train data/all | tr '\\n' ' '; echo);"
        " for other in $HOSTS; do until getent hosts $other > /dev/null; do sleep 0.1; done;"
        " echo $name finds $other; done;"
        " echo $name > model/$name; until [ -e go ]; do sleep 0.1; done"
    )
    names = [f"algo-{number}" for number in range(1, count + 1)]
    job_name = sagemaker.create(
        script,
        ResourceConfig=hosts(count),
        InputDataConfig=[channel("train", "shares/", sharded=True), channel("all", "shares/")],
        Environment={"SCRIPT": script, "HOSTS": " ".join(names)},
    )
    # A host that has ended has no name any more: all stay until each has found all.
    sagemaker.wait_until(job_name, lambda _: len(sagemaker.lines(job_name)) == count * (count + 1))
    for name in names:
        (server.jobs.store.folder("training", job_name) / "hosts" / name / "ml" / "go").touch()
    job = sagemaker.wait(job_name)
    assert job["TrainingJobStatus"] == "Completed", job
    streams = sagemaker.streams(job_name)
    assert sorted(streams) == names
    everything = [f"{number}.txt" for number in range(7)]
    for place, name in enumerate(names):
        files, *found = streams[name]
        assert files.split() == ["data/all:", *everything, "data/train:", *everything[place::count]]
        assert found == [f"{name} finds {other}" for other in names]
    archive = sagemaker.archive(job["ModelArtifacts"]["S3ModelArtifacts"])
    assert archive == {name: f"{name}\n".encode() for name in names}


def test_two_hosts_that_write_the_same_name_are_an_error(sagemaker: LocalSageMaker) -> None:
    job = sagemaker.run("echo weights > /opt/ml/model/weights", ResourceConfig=hosts(2))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        "ClientError: Artifact upload failed:algo-1 and algo-2 have both written weights;"
    )


def test_one_host_that_fails_ends_the_others(sagemaker: LocalSageMaker) -> None:
    script = (
        "if [ $(hostname) = algo-2 ]; then echo 'bad data' > /opt/ml/output/failure; exit 7; fi;"
        " trap 'echo told to end; exit 0' TERM; while :; do sleep 0.05; done"
    )
    job = sagemaker.run(script, ResourceConfig=hosts(2))
    assert job["FailureReason"] == "AlgorithmError: bad data, exit code: 7"
    assert sagemaker.streams(job["TrainingJobName"])["algo-1"] == ["told to end"]


def test_groups_of_hosts_get_the_channels_that_name_them(sagemaker: LocalSageMaker) -> None:
    sagemaker.put("groups/x", "x")
    groups = [
        {"InstanceGroupName": "workers", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "servers", "InstanceType": "ml.c5.2xlarge", "InstanceCount": 1},
    ]
    for_workers, for_all = channel("train", "groups/"), channel("all", "groups/")
    for_workers["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["workers"]
    for_all["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["workers", "servers"]
    job = sagemaker.run(
        "ls /opt/ml/input/data | tr '\\n' ' '; grep current_group /opt/ml/input/config/resourceconfig.json",
        ResourceConfig={"VolumeSizeInGB": 1, "InstanceGroups": groups},
        InputDataConfig=[for_workers, for_all],
    )
    streams = sagemaker.streams(job["TrainingJobName"])
    assert streams["algo-1"] == ['all all-manifest train train-manifest  "current_group_name": "workers",']
    assert streams["algo-2"] == ['all all-manifest  "current_group_name": "servers",']


@pytest.mark.parametrize("isolated", [True, False])
def test_isolated_hosts_reach_each_other_and_nobody_else(sagemaker: LocalSageMaker, *, isolated: bool) -> None:
    script = "getent hosts algo-1 algo-2 | wc -l; until [ -e /opt/ml/input/config/go ]; do sleep 0.05; done"
    name = sagemaker.create(script, ResourceConfig=hosts(2), EnableNetworkIsolation=isolated)
    sagemaker.wait_for(name, "2")
    engine = docker.from_env()
    try:
        (network,) = engine.networks.list(filters={"label": f"distilbert-trainer.job={name}"})
        assert network.attrs["Internal"] is isolated
        assert network.attrs["Labels"]["distilbert-trainer"] == "local"
    finally:
        engine.close()
    sagemaker.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert sagemaker.wait(name)["TrainingJobStatus"] == "Stopped"


def test_a_host_that_vanishes_takes_the_job_with_it(sagemaker: LocalSageMaker) -> None:
    script = (
        "if [ $(hostname) = algo-2 ]; then sleep 600; fi; until getent hosts algo-2; do sleep 0.1; done; echo found it;"
        " while getent hosts algo-2; do sleep 0.1; done; echo lost it; exit 1"
    )
    name = sagemaker.create(script, ResourceConfig=hosts(2))
    sagemaker.wait_for(name, "found it")
    ask(sagemaker, f"jobs/training/{name}/lose-host", {"host": "algo-2"})
    job = sagemaker.wait(name)
    assert job["FailureReason"] == "InternalServerError: The host algo-2 was lost."


def test_retries_start_a_lost_job_again_from_what_had_reached_s3(sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(
        "cd /opt/ml/checkpoints; if [ -e begun ]; then echo again; exit 0; fi;"
        " touch begun; while :; do sleep 0.05; done",
        RetryStrategy={"MaximumRetryAttempts": 1},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/lost/"},
    )
    sagemaker.wait_until(name, lambda _: sagemaker.keys("checkpoints/lost/"))
    ask(sagemaker, f"jobs/training/{name}/lose-host", {})
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Completed"
    assert sagemaker.lines(name) == ["again"]
    assert "Restarting" in [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
