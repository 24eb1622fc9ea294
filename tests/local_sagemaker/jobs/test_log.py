"""A job's log has every line, once and in order, whatever they are and whatever happens meanwhile; so its metrics."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.matcher import Matcher
from local_sagemaker.client import start_server, stop_server
from local_sagemaker.docker_client.container_log import LONGEST_MESSAGE, LogLine, frames, lines
from local_sagemaker.services.logs import Kept, LogStream, forget, read
from local_sagemaker.state import Server, State
from tests.helpers.emulator import BUCKET, LocalSageMaker

BURST = 50_000

LINES: dict[str, tuple[str, list[str]]] = {
    "a burst before the exit": (
        f"yes 0123456789 | head -{BURST} | nl",
        [f"{number:>6}\t0123456789" for number in range(1, BURST + 1)],
    ),
    "a long line among others": (
        "echo before; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after",
        ["before", "x" * 1_000_000, "after"],
    ),
    "a line that is longer than CloudWatch takes": (
        f"head -c {LONGEST_MESSAGE + 5} /dev/zero | tr '\\0' x; echo; echo after",
        ["x" * LONGEST_MESSAGE, "xxxxx", "after"],
    ),
    "characters at the edges of the engine's frames": (
        "i=0; while [ $i -lt 9000 ]; do printf '\\303\\251\\342\\202\\254'; i=$((i + 1)); done; echo",
        ["é€" * 9000],
    ),
    "no line break at the end": ("echo first; printf last", ["first", "last"]),
    "bytes that are no text": ("printf 'a\\377\\000b\\r\\n\\n'; echo end", ["a�\0b", " ", "end"]),
    "a progress bar": ("printf '10%%\\r50%%\\r100%%\\n'; echo end", ["10%\r50%\r100%", "end"]),
    "an error within a long line": (
        "head -c 40000 /dev/zero | tr '\\0' x; sleep 0.2; echo error >&2; sleep 0.2; echo y",
        ["x" * 40_000 + "y", "error"],
    ),
}


@pytest.mark.docker
def test_every_line_is_in_the_log(sagemaker: LocalSageMaker) -> None:
    # At once: a machine that is busy is where lines were lost.
    names = {case: sagemaker.create(script) for case, (script, _) in LINES.items()}
    for case, (_, expected) in LINES.items():
        job = sagemaker.wait(names[case])
        assert job["TrainingJobStatus"] == "Completed", case
        assert all_lines(sagemaker, names[case]) == expected, case


def all_lines(sagemaker: LocalSageMaker, name: str) -> list[str]:
    """Return a job's lines, page by page."""
    logs, group, found = sagemaker.client("logs"), "/aws/sagemaker/TrainingJobs", []
    for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
        asked: dict[str, Any] = {"logGroupName": group, "logStreamName": stream["logStreamName"], "startFromHead": True}
        token = None
        while True:
            page = logs.get_log_events(**asked, **({"nextToken": token} if token else {}))
            found += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == token:
                break
            token = page["nextForwardToken"]
    return found


class Servers:
    """Servers of one state folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.server: Server | None = None

    def start(self) -> LocalSageMaker:
        self.server = start_server(self.state, ["--stop-seconds", "5"])
        return LocalSageMaker(self.server)

    def kill(self) -> None:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)
        os.waitpid(self.server.pid, 0)

    def log(self, name: str) -> Path:
        return next(self.state.folder.glob(f"jobs/**/{name}/log/*.jsonl"))


@pytest.fixture
def servers(tmp_path: Path, job_image: str) -> Iterator[Servers]:  # noqa: ARG001 - jobs need the image
    servers = Servers(tmp_path / "state")
    yield servers
    stop_server(servers.state)


@pytest.mark.docker
def test_a_killed_server_loses_no_line_and_counts_none_twice(servers: Servers) -> None:
    sagemaker = servers.start()
    sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    name = sagemaker.create(
        "i=0; until [ -e /opt/ml/model/go ]; do i=$((i + 1)); echo loss=$i; sleep 0.01; done; seq -f loss=%.0f 20000"
    )
    sagemaker.wait_for(name, "loss=50")
    servers.kill()
    log = servers.log(name)
    kept = log.read_bytes().splitlines(keepends=True)
    # One line of the middle is damaged, and the last one is cut, as by a disk and by the end of a server.
    log.write_bytes(b"".join([*kept[:10], b"{\n", *kept[11:-1], kept[-1][:5]]))
    sagemaker = servers.start()
    next(servers.state.folder.glob(f"jobs/**/{name}/**/ml/model")).joinpath("go").touch()
    job = sagemaker.wait(name)
    found = [int(line.removeprefix("loss=")) for line in all_lines(sagemaker, name)]
    first = len(found) - 20_000
    assert first >= 50
    assert found == [*range(1, first + 1), *range(1, 20_001)]
    assert job["FinalMetricDataList"][0]["Value"] == 20_000
    assert metric_count(sagemaker, name, "loss") == len(found)
    # And again, of a server that only looks: what is on the disk is what was said.
    servers.kill()
    assert [json.loads(line)["m"] for line in servers.log(name).read_text().splitlines()] == [
        f"loss={number}" for number in found
    ]


def metric_count(sagemaker: LocalSageMaker, job: str, metric: str) -> float:
    components = sagemaker.client("sagemaker").search(Resource="ExperimentTrialComponent")["Results"]
    ours = next(entry["TrialComponent"] for entry in components if job in entry["TrialComponent"]["TrialComponentName"])
    return float(next(entry["Count"] for entry in ours["Metrics"] if entry["MetricName"] == metric))


def frame(text: bytes, kind: int = 1, time: bytes = b"2026-11-24T22:18:24.182934323Z") -> bytes:
    content = time + b" " + text
    return struct.pack(">BxxxL", kind, len(content)) + content


def test_frames_are_put_together_however_they_arrive() -> None:
    full = b"x" * 16_384
    stream = (
        frame(b"a\n") + frame(full) + frame(b"err\n", 2) + frame(b"put\n") + frame(full) + frame(b"") + frame(full, 2)
    )
    out, err = full.decode(), full.decode()
    for size in (7, 1000, 100_000):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        found = list(lines(frames(pieces), is_complete=True))
        assert [line.text for line in found] == ["a", "err", out + "put", out, err]
        assert {line.time for line in found} == {1_795_558_704_182_934_323}
    for piece, is_complete in ((stream, False), (stream[:-1], True)):
        assert [line.text for line in lines(frames([piece]), is_complete=is_complete)] == ["a", "err", out + "put", out]


def test_a_line_without_an_end_is_cut_between_characters() -> None:
    for text in ("é" * LONGEST_MESSAGE, "\r" * LONGEST_MESSAGE * 2 + "end"):
        content = text.encode()
        pieces = [frame(content[start : start + 16_384]) for start in range(0, len(content), 16_384)]
        found = [line.text for line in lines(frames(pieces), is_complete=True)]
        assert "".join(found) == text
        assert max(len(part.encode()) for part in found) <= LONGEST_MESSAGE


def test_a_stream_that_is_opened_again_knows_what_it_has(tmp_path: Path) -> None:
    found = list(lines(frames([frame(b"a\n"), frame(b"b\r\n")]), is_complete=True))
    stream = LogStream("/group", "us-east-1", "job/algo-1-1", tmp_path)
    stream.write(found)
    stream.write([LogLine(1, "of the platform's own", is_note=True)])
    begun = Kept()
    for line in found:
        begun.add(line)
    assert LogStream("/group", "us-east-1", "job/algo-1-1", tmp_path).kept() == begun
    stream.clear()
    assert stream.kept() == Kept()
    assert [line.text for line in read(tmp_path / "algo-1-1.jsonl")] == ["of the platform's own"]
    forget("training", "us-east-1", "job")


BACKTRACKING = [
    (r"(x+x+)+y(\d)", "x" * 40),
    (r"(a|aa)+b(\d)", "a" * 80),
    (r"([0-9.]+)$", "1" * 100_000 + "x"),
    (r"(.*)(.*)(.*)(.*)=(\d)", "z" * 2000),
]


@pytest.mark.parametrize(("expression", "line"), BACKTRACKING)
def test_an_expression_that_backtracks_is_given_up_and_the_others_go_on(expression: str, line: str) -> None:
    with Matcher([r"loss=(\S+)", expression], longest_match=0.2) as matcher:
        matches = matcher.match(["loss=1", line, "loss=2"])
        assert [found for found in matches.found if found[1] == 0] == [(0, 0, "1"), (2, 0, "2")]
        assert list(matches.given_up) == [1]
        assert "within 0.2 s of processor time" in matches.given_up[1]
        assert matcher.match(["loss=3", line]).found == [(0, 0, "3")]


def test_expressions_that_cannot_be_read_are_said_once() -> None:
    nested = "(" * 160 + "a" + ")" * 160
    with Matcher([r"a(b", r"loss=(\d+)", r"loss=\d", nested]) as matcher:
        matches = matcher.match(["loss=5"])
        assert matches.found == [(0, 1, "5")]
        assert "it cannot be read: missing )" in matches.given_up[0]
        assert matcher.match(["loss=6"]).given_up == {}


def test_an_expression_that_is_slow_for_every_line_is_given_up() -> None:
    with Matcher([r"(.*)(.*)(.*)x(\d)", r"loss=(\S+)"], slow_total=0.3) as matcher:
        matches = matcher.match([*["z" * 200] * 2_000, "loss=1"])
        assert matches.found == [(2_000, 1, "1")]
        assert "more than 0.3 s" in matches.given_up[0]


@pytest.mark.docker
def test_one_jobs_metrics_stop_no_other_job(sagemaker: LocalSageMaker) -> None:
    definitions = [
        {"Name": "loss", "Regex": r"loss=(\S+)"},
        {"Name": "backtracks", "Regex": r"(x+x+)+y(\d)"},
        {"Name": "odd \x01 name\u2028", "Regex": r"odd=(\S+)"},
        {"Name": "large", "Regex": r"large=(\S+)"},
    ]
    script = """
        for value in 1 nan inf -Infinity 1e400 1_0 word 1e39; do echo "loss=$value"; done
        echo odd=1; echo large=-3e300; echo large=1e100
        echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; echo loss=0.5; echo loss=1e39
    """
    specification = sagemaker.request()["AlgorithmSpecification"] | {"MetricDefinitions": definitions}
    name = sagemaker.create(script, AlgorithmSpecification=specification, HyperParameters={"rate": "NaN"})
    other = sagemaker.run("echo loss=0.25")
    assert other["FinalMetricDataList"][0]["Value"] == 0.25
    job = sagemaker.wait(name)
    assert job["TrainingJobStatus"] == "Completed"
    final = {entry["MetricName"]: entry["Value"] for entry in job["FinalMetricDataList"]}
    # The largest number of single precision.
    largest = pytest.approx(3.4028234663852886e38)
    assert final == {"loss": largest, "odd \x01 name\u2028": 1.0, "large": largest}
    said = [line for line in sagemaker.lines(name) if line.startswith("[local SageMaker] ")]
    assert len(said) == len(set(said)) == 4
    for metric in ("loss ", "backtracks ", "large ", "control characters"):
        assert sum(f" {metric}" in line for line in said) == 1, said
    client = sagemaker.client("sagemaker")
    for resource in ("TrainingJob", "ExperimentTrialComponent"):
        assert client.search(Resource=resource, MaxResults=100)["Results"]
    assert client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    cloudwatch = sagemaker.client("cloudwatch")
    listed = cloudwatch.list_metrics(Namespace="/aws/sagemaker/TrainingJobs")["Metrics"]
    names = {metric["MetricName"] for metric in listed}
    assert "loss" in names
    # XML, in which older clients are answered, cannot hold them: that would break the list of all jobs' metrics.
    assert not any(character < " " for metric in names for character in metric)
    dimensions = [{"Name": "TrainingJobName", "Value": name}]
    for metric, values in (("loss", [0.5, 1, 1e39, 1e39]), ("large", [1e100])):
        statistics = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=job["TrainingStartTime"].timestamp() - 60,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum", "SampleCount", "Maximum"],
        )["Datapoints"]
        assert sum(point["SampleCount"] for point in statistics) == len(values)
        assert max(point["Maximum"] for point in statistics) == max(values)
