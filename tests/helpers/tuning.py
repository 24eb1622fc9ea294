"""`launcher tune --local` in a process of its own; its server is killed in the middle, and another one goes on.

rows, said = tune_while_the_server_is_killed("tunes", ["--file", "job.toml"], jobs=2)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from local_sagemaker.client import start_server
from local_sagemaker.state import REGION, State, default_folder

REPOSITORY = Path(__file__).parents[2]


def tune_while_the_server_is_killed(
    name: str,
    options: Sequence[str],
    *,
    jobs: int = 1,
    completed: int = 1,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of the training jobs, and what the command has said; it does not notice the change of servers.

    The server is killed as soon as so many training jobs are `completed` and another one runs; `jobs` run at once.
    """
    environment = dict(os.environ if environment is None else environment)
    state = State(Path(environment.get("LOCAL_SAGEMAKER_STATE") or default_folder()))
    command = [sys.executable, "-m", "launcher", "tune"]
    process = subprocess.Popen(
        [*command, "--local", "--job-name", name, "--output", "json", *options],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def is_in_the_middle() -> bool:
        server = state.running_server()
        if server is None:
            return False
        client = boto3.client(
            "sagemaker",
            region_name=REGION,
            endpoint_url=server.address,
            aws_access_key_id=server.token,
            aws_secret_access_key=server.token,
        )
        found = client.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
        counters = found[0]["TrainingJobStatusCounters"] if found else {"Completed": 0, "InProgress": 0}
        return bool(counters["Completed"] >= completed and counters["InProgress"])

    while not is_in_the_middle():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    killed = state.running_server()
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    while state.running_server() is not None:
        time.sleep(0.01)
    assert start_server(state, ["--jobs", str(jobs)]).address == killed.address
    out, said = process.communicate()
    assert process.returncode == 0, said
    return json.loads(out), said
