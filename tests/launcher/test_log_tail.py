"""The log: every line of every host, once, in time order, with a page of each host in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher import Session
from launcher.aws.log_tail import LogTail
from launcher.cli.main import main
from tests.helpers.job_files import REPOSITORY, write
from tests.helpers.sagemaker_stand_in import ApiError, Fault, StandIn, write_log

GROUP = "/aws/sagemaker/TrainingJobs"
HOSTS = 4
LINES = 200_000
BATCH = 10_000

PROGRAM = """
import sys
from pathlib import Path
from launcher.cli.main import main
code = main(sys.argv[1:])
# getrusage would count what the parent had before this program began.
status = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in status if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""
"""`launcher`, and at its end the most memory that it has had, in KB."""


def put(logs: Any, stream: str, events: list[tuple[int, str]]) -> None:
    logs.put_log_events(
        logGroupName=GROUP,
        logStreamName=stream,
        logEvents=[{"timestamp": timestamp, "message": text} for timestamp, text in events],
    )


@pytest.mark.slow
def test_two_hundred_thousand_lines_of_four_hosts_in_bounded_memory(aws: StandIn, tmp_path: Path) -> None:
    path = write(tmp_path / "job.toml", {})
    for name in ("small", "large"):
        assert main(["train", "--file", str(path), "--job-name", name, "--no-wait"]) == 0
        assert main(["attach", name, "--poll-interval", "0.05"]) == 0
    logs = aws.client("logs")
    began = int(time.time() * 1000) - LINES
    for host in range(HOSTS):
        # Line n of the job is written by host n % 4, in its millisecond.
        numbers = range(host, LINES, HOSTS)
        stream = f"large/algo-{host + 1}-1700000001"
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        for first in range(0, len(numbers), BATCH):
            put(logs, stream, [(began + number, f"line {number}") for number in numbers[first : first + BATCH]])

    def printed_and_memory(job: str) -> tuple[list[str], int]:
        command = [sys.executable, "-c", PROGRAM, "logs", job]
        ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY, env=os.environ)
        return ended.stdout.splitlines(), int(ended.stderr.split()[-2])

    _, memory_of_a_small_log = printed_and_memory("small")
    lines, memory = printed_and_memory("large")
    numbered = [line.split("line ")[1] for line in lines if "line " in line]
    assert numbered == [str(number) for number in range(LINES)]
    # 17 MB when this was written: a page of ten thousand events for each host.
    assert memory - memory_of_a_small_log < 40_000  # KB


def test_a_host_that_comes_late_and_lines_that_come_late_are_not_lost(aws: StandIn) -> None:
    logs = aws.client("logs")
    write_log(logs, GROUP, "late", [("algo-1-1", "one"), ("algo-1-1", "two")])
    tail = LogTail(GROUP, "late", Session(region="us-east-1"))
    assert [line.text for line in tail.new_lines()] == ["one", "two"]
    assert list(tail.new_lines()) == []
    write_log(logs, GROUP, "late", [("algo-2-1", "other host")])
    put(logs, "late/algo-1-1", [(int(time.time() * 1000), "three")])
    assert sorted(line.text for line in tail.new_lines()) == ["other host", "three"]


def test_a_throttled_stream_is_read_at_the_next_call(aws: StandIn) -> None:
    write_log(aws.client("logs"), GROUP, "busy", [("algo-1-1", "one"), ("algo-2-1", "two")])
    tail = LogTail(GROUP, "busy", Session(region="us-east-1"))
    throttled = ApiError("ThrottlingException", "Rate exceeded")
    aws.faults.append(Fault("GetLogEvents", throttled, 2))  # all of botocore's attempts for the first stream
    first = [line.text for line in tail.new_lines()]
    assert first == ["two"]
    assert [line.text for line in tail.new_lines()] == ["one"]


@pytest.mark.usefixtures("aws")
def test_a_job_without_a_log_has_no_lines() -> None:
    assert list(LogTail("/no/such/group", "job", Session(region="us-east-1")).new_lines()) == []


def test_a_restarted_host_is_the_same_host(aws: StandIn) -> None:
    write_log(aws.client("logs"), GROUP, "spot", [("algo-1-1700000000", "first"), ("algo-1-1700009999", "again")])
    tail = LogTail(GROUP, "spot", Session(region="us-east-1"))
    assert {line.host for line in tail.new_lines()} == {"algo-1"}
