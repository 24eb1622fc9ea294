"""The platform's contract, where no container is needed: hosts, shares, metrics, reasons, waiting, faults."""

from __future__ import annotations

import gzip
import json
import math
import queue
import struct
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local_sagemaker.container_contract import outcome
from local_sagemaker.container_contract.channels import (
    ChannelError,
    augmented_records,
    framed,
    manifest_beside,
    objects_of,
    share,
)
from local_sagemaker.container_contract.hosts import hosts_of, resource_config
from local_sagemaker.container_contract.rule_configurations import rules_of
from local_sagemaker.container_contract.startup import command
from local_sagemaker.container_contract.system_metrics import file_name, metric_lines
from local_sagemaker.docker_client.container import Exit
from local_sagemaker.docker_client.container_log import LogLine
from local_sagemaker.fault_injection import Fault, FaultInjector
from local_sagemaker.job_state import Job, MetricSummary
from local_sagemaker.runner.container_watch import Limits, wait_for_containers
from local_sagemaker.runner.job_runner import ShutdownError
from local_sagemaker.runner.messages import HostEnded, Interrupt, LoseHost, Message, Shutdown, Stop
from local_sagemaker.server import LocalServer
from local_sagemaker.services.metrics import JobMetrics
from local_sagemaker.volumes.channels import Channels
from local_sagemaker.volumes.download import CancelledError, Throttle


def test_hosts_of_groups_are_numbered_through() -> None:
    groups = [
        {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        {"InstanceGroupName": "b", "InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    ]
    hosts = hosts_of({"InstanceGroups": groups})
    assert [host.name for host in hosts] == ["algo-1", "algo-2", "algo-3"]
    config = resource_config(hosts[2], hosts, "eth0")
    assert config["current_host"] == "algo-3"
    assert config["current_group_name"] == "b"
    assert config["instance_groups"] == [
        {"instance_group_name": "a", "instance_type": "ml.c5.xlarge", "hosts": ["algo-1", "algo-2"]},
        {"instance_group_name": "b", "instance_type": "ml.m5.xlarge", "hosts": ["algo-3"]},
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_disjoint_and_complete(count: int) -> None:
    hosts = hosts_of({"InstanceType": "ml.c5.xlarge", "InstanceCount": count})
    shares = [share(list(range(7)), host, hosts) for host in hosts]
    assert sorted(entry for of_host in shares for entry in of_host) == list(range(7))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("specification", "entrypoint", "arguments"),
    [
        ({}, None, ["train"]),
        ({"ContainerEntrypoint": ["a"]}, ["a"], []),
        ({"ContainerArguments": ["b"]}, None, ["b"]),
        ({"ContainerEntrypoint": ["a"], "ContainerArguments": ["b"]}, ["a"], ["b"]),
    ],
)
def test_what_runs_in_the_container(
    specification: dict[str, list[str]], entrypoint: list[str] | None, arguments: list[str]
) -> None:
    found = command(specification, default=["train"])
    assert (found.entrypoint, found.arguments) == (entrypoint, arguments)


def test_record_io_pads_to_four_bytes() -> None:
    assert framed(b"abcde") == struct.pack("<II", 0xCED7230A, 5) + b"abcde\0\0\0"
    assert len(framed(b"abcd")) == 12


def metrics(tmp_path: Path, expression: str) -> JobMetrics:
    return JobMetrics([{"Name": "m", "Regex": expression}], "job-of-metrics", "us-east-1", tmp_path / "metrics.jsonl")


@pytest.mark.parametrize(
    ("expression", "line", "value"),
    [
        (r"loss=(\S+)", "epoch 1 loss=9.5e-05 end", 9.5e-05),
        (r"loss=([0-9.]+)", "loss=1", 1.0),
        (r"loss=(\S+)", "loss=nan", None),
        (r"loss=(\S+)", "loss=inf", None),
        (r"loss=(\S+)", "loss=none", None),
        (r"loss=(\S+)", "nothing", None),
        (r"loss=\S+", "loss=1", None),
        (r"loss=(?<java>\S+)", "loss=1", None),
    ],
)
def test_metrics_are_read_from_lines(tmp_path: Path, expression: str, line: str, value: float | None) -> None:
    with closing(metrics(tmp_path, expression)) as reader:
        found = reader.read([LogLine(time.time_ns(), line)], {}).summaries
    assert [summary.last for summary in found.values()] == ([] if value is None else [value])


def test_a_metrics_summary_is_that_of_its_values(tmp_path: Path) -> None:
    values = [3.0, -1.0, 4.0, 1.5]
    with closing(metrics(tmp_path, r"m=(\S+)")) as reader:
        first = reader.read([LogLine(time.time_ns(), f"m={value}") for value in values[:3]], {}).summaries
        summary = reader.read([LogLine(time.time_ns(), f"m={values[3]}")], first).summaries["m"]
    mean = sum(values) / 4
    assert (summary.count, summary.last, summary.minimum, summary.maximum) == (4, 1.5, -1.0, 4.0)
    assert summary.mean == pytest.approx(mean)
    assert summary.standard_deviation == pytest.approx(math.sqrt(sum((value - mean) ** 2 for value in values) / 4))
    assert math.isnan(MetricSummary().standard_deviation)


def test_failure_reasons() -> None:
    plain = outcome.of_exit(11, "The channel is empty.\n", was_out_of_memory=False)
    assert plain.failure_reason == "AlgorithmError: The channel is empty., exit code: 11"
    memory = outcome.of_exit(137, None, was_out_of_memory=True)
    assert memory.failure_reason is not None
    assert memory.failure_reason.startswith("ClientError: Please use an instance type with more memory")
    long = outcome.of_exit(1, "x" * 5000, was_out_of_memory=False)
    assert long.failure_reason is not None
    assert len(long.failure_reason) == 1024


def test_the_document_closes_a_transition_with_the_next() -> None:
    job = Job(kind="training", name="a", region="us-east-1", request={}, creation_time=1.0)
    job = job.entered("Starting", "one", 1.0).entered("Training", "two", 3.0, running_since=3.0)
    assert [(entry.status, entry.start_time, entry.end_time) for entry in job.transitions] == [
        ("Starting", 1.0, 3.0),
        ("Training", 3.0, None),
    ]
    again = job.entered("Training", "three", 4.0)
    assert [(entry.message, entry.start_time) for entry in again.transitions] == [("one", 1.0), ("three", 3.0)]
    last = again.entered("Completed", "four", 9.0, status="Completed", end_time=9.0)
    assert [entry.end_time for entry in last.transitions] == [3.0, 9.0, 9.0]
    ended = job.changed(**job.time_until(10.0))
    assert (ended.training_seconds, ended.running_since) == (7.0, None)
    assert ended.time_until(20.0) == {}
    assert Job.model_validate_json(ended.model_dump_json()) == ended


def test_rules_of_a_golden_request_and_their_actions() -> None:
    rule = {"RuleConfigurationName": "R", "RuleParameters": {"action_json": '[{\\"name\\": \\"stoptraining\\"}]'}}
    request = {
        "TrainingJobName": "job",
        "OutputDataConfig": {"S3OutputPath": "s3://b/out/"},
        "DebugRuleConfigurations": [rule, {"RuleConfigurationName": "S", "S3OutputPath": "s3://b/rules"}],
        "ProfilerRuleConfigurations": [{"RuleConfigurationName": "P", "RuleParameters": {"action_json": "no json"}}],
    }
    first, second, third = rules_of(request)
    assert (first.kind, first.stops_training, first.output_uri) == ("debugger", True, "s3://b/out/job/rule-output/R")
    assert (second.stops_training, second.output_uri) == (False, "s3://b/rules/job/rule-output/S")
    assert (third.kind, third.stops_training) == ("profiler", False)


def reading(moment: str, cpu: int, **more: Any) -> dict[str, Any]:
    return {
        "read": f"2026-11-24T22:18:{moment}Z",
        "cpu_stats": {"cpu_usage": {"total_usage": cpu}, "system_cpu_usage": 1, "online_cpus": 2},
        "memory_stats": {"usage": 600, "limit": 1000, "stats": {"inactive_file": 100}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": more.get("read", 0)}]},
        "networks": {"eth0": {"rx_bytes": more.get("received", 0), "tx_bytes": 0}},
    }


def test_system_metrics_of_two_readings() -> None:
    before = reading("24.182934323", 0)
    after = reading("26.182934323", 2_000_000_000, read=4096, received=100)
    lines = {(line["Name"], line["Dimension"]): line["Value"] for line in metric_lines(before, after, "algo-1")}
    assert lines["cpu0", "CPUUtilization"] == lines["cpu1", "CPUUtilization"] == 50.0
    assert lines["MemoryUsedPercent", ""] == 50.0
    assert lines["ReadThroughputInBytesPerSecond", ""] == 2048.0
    assert lines["ReceiveBytesPerSecond", "Algorithm"] == 50.0
    assert metric_lines(before, {"read": "", "cpu_stats": {}}, "algo-1") == []
    assert file_name("algo-2", 1_795_559_884.5) == "system/incremental/2026112422/1795559880.algo-2.json"


class StandIn:
    """A container that ends when it is told to."""

    def __init__(self, host: str, inbox: queue.SimpleQueue[Message], *, deaf: bool = False) -> None:
        self.host, self._inbox, self._deaf = host, inbox, deaf
        self.signals: list[str] = []
        self._code = 0

    def signal(self, name: str) -> None:
        self.signals.append(name)
        if name == "SIGKILL" or not self._deaf:
            self.end(137 if name == "SIGKILL" else 0)

    def end(self, code: int) -> None:
        self._code = code
        self._inbox.put(HostEnded(self.host))

    def exit(self) -> Exit:
        return Exit(self._code, was_out_of_memory=False)


def watched(*messages: Message, deaf: bool = False, **limits: float) -> tuple[str, list[str]]:
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    container = StandIn("algo-1", inbox, deaf=deaf)
    for message in messages:
        inbox.put(message)
    ending = wait_for_containers([container], inbox, Limits(**{"stop_seconds": 0.05, "run_seconds": 60.0} | limits))  # type: ignore[list-item]
    return ending.reason, container.signals


def test_what_ends_a_job_and_how() -> None:
    assert watched(Stop()) == ("stopped", ["SIGTERM"])
    assert watched(Stop(), deaf=True) == ("stopped", ["SIGTERM", "SIGKILL"])
    assert watched(Interrupt()) == ("interrupted", ["SIGTERM"])
    assert watched(Interrupt(0.01)) == ("interrupted", ["SIGTERM"])
    assert watched(LoseHost("algo-1")) == ("lost", ["SIGKILL"])
    assert watched(run_seconds=0) == ("max-runtime", ["SIGTERM"])
    assert watched(wait_seconds=0) == ("max-wait", ["SIGTERM"])
    assert watched(Stop(), Interrupt())[0] == "stopped"
    with pytest.raises(ShutdownError):
        watched(Shutdown())


def test_faults_happen_as_often_as_they_were_asked_for_and_outlive_the_server(tmp_path: Path) -> None:
    faults = FaultInjector(tmp_path / "faults.json")
    faults.add(Fault(kind="interrupt", job="a", times=2, after=(1, 2)))
    faults.add(Fault(kind="interrupt"))
    assert faults.take("capacity", "a") is None
    first = faults.take("interrupt", "a")
    assert first is not None
    assert 1 <= first.moment() <= 2
    again = FaultInjector(tmp_path / "faults.json")
    jobs = [fault.job for _ in range(3) if (fault := again.take("interrupt", "a"))]
    assert jobs == ["a", "*"]


def channels_of(server: LocalServer, **fields: Any) -> tuple[Channels, Any]:
    name = f"pipes-{time.time_ns()}"
    (hosts,) = (hosts_of({"InstanceType": "ml.c5.xlarge", "InstanceCount": 1}),)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{name}/"}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}} | fields
    request = {"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}, "InputDataConfig": [channel]}
    return Channels(request, hosts, server.objects, Throttle(threading.Event())), (name, hosts[0], channel)


def epoch(server: LocalServer, contents: list[bytes], tmp_path: Path, number: int = 0, **fields: Any) -> bytes:
    channels, (name, host, channel) = channels_of(server, **fields)
    for index, content in enumerate(contents):
        (tmp_path / "content").write_bytes(content)
        server.objects.put_file("bucket", f"{name}/{index}", tmp_path / "content")
    return b"".join(channels._epochs(channel, host)(number))


def test_what_a_pipe_carries(server: LocalServer, tmp_path: Path) -> None:
    assert epoch(server, [b"one", b"two"], tmp_path) == b"onetwo"
    assert epoch(server, [gzip.compress(b"one")], tmp_path, CompressionType="Gzip") == b"one"
    assert epoch(server, [b"one", b"2"], tmp_path, RecordWrapperType="RecordIO") == framed(b"one") + framed(b"2")
    letters = [bytes([65 + index]) for index in range(20)]
    shuffled = [epoch(server, letters, tmp_path, number, ShuffleConfig={"Seed": 7}) for number in (0, 0, 1)]
    assert sorted(shuffled[0]) == sorted(b"".join(letters))
    assert shuffled[0] == shuffled[1] != shuffled[2]


def test_a_limited_pace_waits_and_can_be_cancelled() -> None:
    cancelled = threading.Event()
    pace = Throttle(cancelled, bytes_per_second=1000)
    begin = time.monotonic()
    pace.take(50)
    assert time.monotonic() - begin >= 0.05
    cancelled.set()
    with pytest.raises(CancelledError):
        pace.take(1_000_000)


class Texts:
    def __init__(self, **texts: str) -> None:
        self._texts = texts

    def keys(self, _: str, prefix: str) -> list[str]:
        return sorted(key for key in self._texts if key.startswith(prefix))

    def text(self, _: str, key: str) -> str:
        return self._texts[key]


@pytest.mark.parametrize(
    "manifest",
    [
        *([{"prefix": prefix}, "a"] for prefix in ("b/d/", "", 5, None, ["s3://b/"], "s3://", "https://b/d/")),
        *([], {}, [5], ["a"], [{"prefix": "s3://b/"}, 5], [{"prefix": "s3://b/"}, None], "text", None),
    ],
)
def test_what_is_no_manifest_is_said(manifest: object) -> None:
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://b/list"}
    store = Texts(list=json.dumps(manifest), a="x")
    with pytest.raises(ChannelError, match="s3://b/list is no manifest"):
        objects_of({"ChannelName": "t", "DataSource": {"S3DataSource": source}}, store)


def test_a_manifest_lists_its_prefix_once() -> None:
    class Counted(Texts):
        listings = 0

        def keys(self, bucket: str, prefix: str) -> list[str]:
            self.listings += 1
            return super().keys(bucket, prefix)

    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://b/list"}
    names = [f"{number}" for number in range(50)]
    store = Counted(list=json.dumps([{"prefix": "s3://b/d/"}, *names]), **{f"d/{name}": "x" for name in names})
    assert len(objects_of({"ChannelName": "t", "DataSource": {"S3DataSource": source}}, store)) == 50
    assert store.listings == 1


def test_a_manifest_names_its_objects_and_what_a_host_got_is_written_beside() -> None:
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://b/list"}
    store = Texts(list=json.dumps([{"prefix": "s3://b/da"}, "ta"]), data="x")
    items = objects_of({"ChannelName": "t", "DataSource": {"S3DataSource": source}}, store)
    assert [(item.uri, item.path) for item in items] == [("s3://b/data", "ta")]
    assert json.loads(manifest_beside(items)) == [{"prefix": "s3://b/da"}, "ta"]


def test_augmented_records_keep_the_attributes_order() -> None:
    source = {
        "S3DataType": "AugmentedManifestFile",
        "S3Uri": "s3://b/list",
        "AttributeNames": ["label", "source-ref"],
    }
    line = json.dumps({"source-ref": "s3://b/x", "label": {"a": 1}})
    (record,) = augmented_records({"DataSource": {"S3DataSource": source}}, Texts(list=line + "\n\n"))
    assert record[0] == '{"a": 1}'
    assert not isinstance(record[1], str)
    assert record[1].uri == "s3://b/x"
