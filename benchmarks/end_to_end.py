"""What a user waits for: from `docker run` to the model on disk, for this trainer and Hugging Face's Trainer, in turns.

    PYTHONPATH=src python -m benchmarks.end_to_end                        # `make bench-end-to-end`
    PYTHONPATH=src python -m benchmarks.end_to_end --reviews shipped 1000 --epochs 1 --rounds 1 --quick

Each job is a container of the image, without a network: ours is `train` as shipped, theirs the Trainer with the
packages of .venv-pytorch. Same weights (the image's), records, batch size, epochs; validation after each epoch, the
test, the exports. `shipped` are the reviews of data/, a number is so many generated ones of real lengths. `prepare` and
its counterpart, tokenizing, are left out on both sides. Memory is the resident memory of all processes of the
container, sampled. Prints a table and writes every round as JSON; --append keeps the rounds of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from benchmarks.measuring import children
from benchmarks.measuring.reviews import make_reviews

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks-end-to-end"
SHIPPED = "shipped"
LENGTHS = {SHIPPED: 64}
"""max_seq_length of what is not generated; generated reviews are as long as real ones, and get 128."""
GENERATED_LENGTH = 128
BATCH_SIZE = 32
LEARNING_RATE = 1e-4
CONTESTANTS = {
    "ours": "ours, as shipped",
    "trainer": "Hugging Face Trainer, grouped by length, float32",
    "trainer-bfloat16": "Hugging Face Trainer, grouped by length, bf16",
}
SAMPLE_SECONDS = 0.25
LABEL = "distilbert-trainer=benchmark"
Run = dict[str, float]


def main() -> int:
    """Measure every size, print the tables, write the JSON."""
    options = read_options()
    # A container outlives whoever started it, unless `finally` removes it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    results: dict[str, Any] = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **children.run("measuring.environment", [], WORK / "logs" / "environment.log").report,
        "image": options.image,
        "epochs": options.epochs,
        "batch_size": BATCH_SIZE,
    }
    earlier = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    keep = options.append and all(earlier.get(key) == results[key] for key in ("machine", "epochs", "batch_size"))
    sizes: dict[str, Any] = dict(earlier["sizes"]) if keep else {}
    for size in options.reviews:
        job = WORK / f"reviews-{size}"
        records = make_channels(job, size, options)
        rounds = list(sizes.get(size, {}).get("rounds", []))
        for _ in range(options.rounds):
            turn = len(rounds) % len(options.only)
            order = [*options.only[turn:], *options.only[:turn]]
            rounds.append({})
            for name in order:
                rounds[-1][name] = run_job(name, job, options)
                sizes[size] = {
                    "records": records,
                    "max_seq_length": length_of(size),
                    "medians": medians(rounds),
                    "rounds": rounds,
                }
                options.results.parent.mkdir(parents=True, exist_ok=True)
                options.results.write_text(json.dumps({**results, "sizes": sizes}, indent=2) + "\n", encoding="utf-8")
        print("\n" + table(f"{records['train']:,} train reviews ({size}), {options.epochs} epochs", sizes[size]) + "\n")
    print(options.results)
    return 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", nargs="+", default=[SHIPPED, "100000"], metavar="COUNT", help=f"or {SHIPPED}")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="CONTESTANT")
    parser.add_argument("--image", default="distilbert-trainer:local")
    parser.add_argument("--weights", type=Path, default=PROJECT / ".cache" / "weights", help="the image's own")
    parser.add_argument("--pytorch", type=Path, default=PROJECT / ".venv-pytorch")
    parser.add_argument("--cgroup-parent", metavar="CGROUP", help="of the containers, as docker run takes it")
    parser.add_argument("--append", action="store_true", help="add rounds to those of --results")
    parser.add_argument("--quick", action="store_true", help="results into out/, to see that everything runs")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/end-to-end.json; out/ with --quick")
    options = parser.parse_args()
    for size in options.reviews:
        if size != SHIPPED and not (size.isdecimal() and int(size) >= 100):
            parser.error(f"--reviews {size}: {SHIPPED}, or a number from 100")
    options.weights, options.pytorch = options.weights.resolve(), options.pytorch.resolve()
    options.results = options.results or (WORK if options.quick else PROJECT / "benchmarks/results") / "end-to-end.json"
    return options


def length_of(size: str) -> int:
    """Return the max_seq_length of a size's channels."""
    return LENGTHS.get(size, GENERATED_LENGTH)


def make_channels(job: Path, size: str, options: argparse.Namespace) -> dict[str, int]:
    """Write a job's channels with the image's prepare, and the same records as arrays; return their counts."""
    made = job / "records.json"
    if not made.exists():
        shutil.rmtree(job, ignore_errors=True)
        (job / "reviews").mkdir(parents=True)
        (job / "input" / "data").mkdir(parents=True)
        source = job / "reviews" / "reviews.tsv"
        if size == SHIPPED:
            shutil.copyfile(PROJECT / "data" / "reviews.tsv", source)
        else:
            write_reviews(source, int(size), options.weights)
        command = ["prepare", "--input", "/opt/ml/reviews", "--output", "/opt/ml/input/data", "--overwrite"]
        command += ["--max-seq-length", str(length_of(size))]
        subprocess.run([*docker_run(job), "--rm", options.image, *command], check=True, stdout=subprocess.DEVNULL)
        log = WORK / "logs" / f"records-{size}.log"
        counts = children.run("measuring.records", ["--job", job, "--length", length_of(size)], log).report
        made.write_text(json.dumps(counts), encoding="utf-8")
    return dict(json.loads(made.read_text(encoding="utf-8")))


def write_reviews(path: Path, count: int, weights: Path) -> None:
    """Write so many different reviews, as long as real ones."""
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with path.open("w", encoding="utf-8") as file:
        file.write("review_id\tstar_rating\treview_body\n")
        for number, review in enumerate(make_reviews(PROJECT / "data" / "reviews.tsv", tokenizer, count)):
            file.write(f"R{number}\t{review.stars}\t{review.text}\n")


def run_job(name: str, job: Path, options: argparse.Namespace) -> Run:
    """Run a job in a container; return its seconds and its peak memory."""
    for leftover in ("model", "output", "trainer"):
        shutil.rmtree(job / leftover, ignore_errors=True)
    if name == "ours":
        settings = {"epochs": options.epochs, "train_batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        settings["max_seq_length"] = length_of(job.name.removeprefix("reviews-"))
        config = job / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        texts = {key: str(value) for key, value in settings.items()}
        (config / "hyperparameters.json").write_text(json.dumps(texts), encoding="utf-8")
        command = [options.image, "train"]
    else:
        packages = next((options.pytorch / "lib").glob("python3.*")) / "site-packages"
        command = ["--volume", f"{PROJECT}:/project:ro", "--volume", f"{packages}:/pytorch:ro"]
        command += ["--volume", f"{options.weights}:/weights:ro", "--env", "PYTHONPATH=/pytorch:/project"]
        command += ["--env", "HOME=/tmp", "--env", "HF_HUB_OFFLINE=1", "--entrypoint", "/usr/bin/python3.11"]
        command += [options.image, "-m", "benchmarks.contestants.trainer_job", "--job", "/opt/ml"]
        command += ["--weights", "/weights", "--epochs", str(options.epochs), "--batch-size", str(BATCH_SIZE)]
        command += ["--learning-rate", str(LEARNING_RATE), *(["--bfloat16"] if name.endswith("bfloat16") else [])]
    started = time.monotonic()
    container = subprocess.run(
        [*docker_run(job, options.cgroup_parent), "--detach", *command], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        peak = follow(container)
        seconds = time.monotonic() - started
        log = subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True)
        code = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.ExitCode}}", container],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=False, capture_output=True)
    path = WORK / "logs" / f"{job.name}-{name}.log"
    path.write_text(log.stdout + log.stderr, encoding="utf-8")
    if code != "0" or not any((job / "model").rglob("*.safetensors")):
        sys.exit(f"{name} ended with exit code {code}; its log is {path}")
    print(f"{job.name}, {name}: {seconds:.1f} s, {peak / 1e9:.2f} GB", flush=True)
    return {"seconds": round(seconds, 1), "peak_memory_bytes": peak}


def docker_run(job: Path, cgroup_parent: str | None = None) -> list[str]:
    """Return the beginning of a command that runs a container on a job's folder."""
    user = f"{os.getuid()}:{os.getgid()}"
    isolated = ["--label", LABEL, "--network", "none", "--user", user]
    parent = ["--cgroup-parent", cgroup_parent] if cgroup_parent else []
    return ["docker", "run", *isolated, *parent, "--volume", f"{job}:/opt/ml"]


def follow(container: str) -> int:
    """Wait for a container's end; return the most resident memory that its processes had together."""
    answer = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Pid}}", container], check=True, capture_output=True, text=True
    )
    first, peak = int(answer.stdout), 0
    with subprocess.Popen(["docker", "wait", container], stdout=subprocess.DEVNULL) as waiting:
        while waiting.poll() is None:
            peak = max(peak, resident_bytes(first))
            time.sleep(SAMPLE_SECONDS)
    return peak


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; 0 for what has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return own + sum(resident_bytes(int(child)) for child in below)


def medians(rounds: Sequence[Mapping[str, Run]]) -> dict[str, Run]:
    """Return each contestant's medians; `ours_is_faster` is the median of the rounds' ratios."""
    summary: dict[str, Run] = {}
    for name in CONTESTANTS:
        ran = [one for one in rounds if name in one]
        if not ran:
            continue
        summary[name] = {key: median(one[name][key] for one in ran) for key in ("seconds", "peak_memory_bytes")}
        ratios = [one[name]["seconds"] / one["ours"]["seconds"] for one in ran if "ours" in one]
        if name != "ours" and ratios:
            summary[name]["ours_is_faster"] = median(ratios)
    return summary


def table(title: str, size: Mapping[str, Any]) -> str:
    """Write a size's medians as a table."""
    width = max(map(len, CONTESTANTS.values()))
    lines = [title, f"{'':{width}}  docker run to model  ours is  peak memory"]
    for name, numbers in size["medians"].items():
        ratio = f"{numbers['ours_is_faster']:.2f} x" if "ours_is_faster" in numbers else ""
        lines.append(
            f"{CONTESTANTS[name]:{width}}  {numbers['seconds']:>17.1f} s  {ratio:>7}"
            f"  {numbers['peak_memory_bytes'] / 1e9:>8.2f} GB"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
