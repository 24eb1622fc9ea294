"""What the local SageMaker adds to a container: a trivial job from CreateTrainingJob to Completed, beside `docker run`.

    python -m benchmarks.local_jobs --rounds 20

In each round `docker run` of `true` and a job of it take turns, so that a machine whose speed drifts is fair to both.
The image is the one that ours is built on (scripts/base_image.sh). Exits 1 if the median job takes more than 2 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from launcher import Session, use_local
from local_sagemaker.client import ensure_server, stop_server
from local_sagemaker.state import State

LONGEST_SECONDS = 2.0
REPOSITORY = Path(__file__).parents[1]


def main() -> int:
    """Run the rounds, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    base = subprocess.run([REPOSITORY / "scripts" / "base_image.sh"], capture_output=True, text=True, check=True)
    image = base.stdout.strip()
    bare, jobs, memory = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder))
        session = use_local(state.folder)
        session.client("s3").create_bucket(Bucket="bucket")
        for number in range(rounds):
            bare.append(docker_run(image))
            jobs.append(job(f"job-{number}", image, session))
        memory = peak_megabytes(ensure_server(state).pid)
        stop_server(state)
    print(f"{rounds} rounds, {os.cpu_count()} cores       median     90 %")
    for name, seconds in (("docker run", bare), ("CreateTrainingJob to Completed", jobs)):
        print(f"{name:32}{statistics.median(seconds):5.2f} s  {statistics.quantiles(seconds, n=10)[-1]:5.2f} s")
    print(f"the server's peak memory        {memory:5.0f} MB")
    return int(statistics.median(jobs) > LONGEST_SECONDS)


def docker_run(image: str) -> float:
    """Return the seconds that a container takes which does nothing."""
    begin = time.monotonic()
    options = ["--rm", "--network", "none", "--label", "distilbert-trainer=benchmark"]
    subprocess.run(["docker", "run", *options, image, "true"], check=True)
    return time.monotonic() - begin


def job(name: str, image: str, session: Session) -> float:
    """Return the seconds that a job takes which does nothing, by the clock of DescribeTrainingJob."""
    sagemaker = session.client("sagemaker")
    specification = {"TrainingImage": image, "TrainingInputMode": "File", "ContainerEntrypoint": ["true"]}
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::123456789012:role/Local",
        AlgorithmSpecification=specification,
        OutputDataConfig={"S3OutputPath": "s3://bucket/"},
        ResourceConfig={"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        EnableNetworkIsolation=True,
    )
    while (found := sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] == "InProgress":
        time.sleep(0.02)
    assert found["TrainingJobStatus"] == "Completed", found
    return float((found["TrainingEndTime"] - found["CreationTime"]).total_seconds())


def peak_megabytes(pid: int) -> float:
    """Return the most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


if __name__ == "__main__":
    raise SystemExit(main())
