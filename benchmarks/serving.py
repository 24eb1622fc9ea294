"""serve beside Keras's own loop and beside FastAPI with PyTorch's pipeline: throughput, p50, p99; and a soak.

    PYTHONPATH=src python -m benchmarks.serving --model out/job/model          # `make bench-serving`
    PYTHONPATH=src python -m benchmarks.serving --model out/job/model --soak 100000
    PYTHONPATH=src python -m benchmarks.serving --model out/job/model --image distilbert-trainer:local

All contestants run all the time and take turns with the load, so that the machine's changes of speed meet all alike. A
client sends a review of mixed length, waits for its prediction, and sends the next one. Prints medians as a table and
writes every round as JSON; with `--add`, behind the rounds of earlier runs: several short runs meet a quieter machine
than a long one. With `--image`: the time from `docker run serve` to the first 200, and the rate of `predict`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from benchmarks.measuring import children
from benchmarks.measuring.reviews import make_reviews

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks-serving"
RESULTS = PROJECT / "benchmarks" / "results"
PYTORCH = PROJECT / ".venv-pytorch" / "bin" / "python"
FINE_TUNED = Path("transformers") / "fine-tuned"
REVIEWS = 2000
OURS, KERAS, PIPELINE = "serve", "keras-loop", "fastapi-pipeline"
LABELS = {
    OURS: "serve",
    KERAS: "Keras predict, batches of 32 padded to max_seq_length, no HTTP",
    PIPELINE: "FastAPI, transformers' PyTorch pipeline",
}
STARTING_SECONDS = 600.0
SOAK_CLIENTS = 64
SAMPLES = 20
"""Of the memory, in a soak."""
WARM = SAMPLES // 10
"""Of these, after how many the memory counts as warmed up."""
FEW_TOKENS = 16
PATIENCE = {"SERVE_ANSWER_SECONDS": "3600"}
"""In a soak: whoever pauses it does not make its requests late."""

HEAD = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "

RATIOS = {"serve_is_faster": "reviews_per_second", "serve_is_thriftier": "reviews_per_processor_second"}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Measured = dict[str, float]
_Process = subprocess.Popen[str]


def main() -> None:
    """Measure, print, and write the rounds."""
    options = _arguments()
    WORK.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(options.model / FINE_TUNED / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    reviews = [review.text for review in make_reviews(PROJECT / "data" / "reviews.tsv", tokenizer, REVIEWS)]
    facts = {
        **children.run("measuring.environment", [], WORK / "environment.log").report,
        "geometry": json.loads((options.model / FINE_TUNED / "config.json").read_text(encoding="utf-8")),
        "max_seq_length": longest(options.model),
    }
    with ExitStack() as stack:
        if options.image:
            documents = iter([_image(options.image, options.model.resolve(), reviews, options.rounds)])
        else:
            server, port = stack.enter_context(_serve(options.model, PATIENCE if options.soak else {}))
            if options.soak:
                documents = iter([_soak(server.pid, port, mostly_short(reviews, tokenizer), options.soak)])
            else:
                documents = _in_turns(stack, options, server, port, reviews)
        for document in documents:
            written_at = datetime.now(UTC).isoformat(timespec="seconds")
            text = json.dumps({"written_at": written_at, **facts, **document}, indent=2)
            options.output.write_text(text + "\n", encoding="utf-8")
    print(f"\nwritten to {options.output}")


def _in_turns(
    stack: ExitStack, options: argparse.Namespace, server: _Process, port: int, reviews: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield, after each round, what has been measured so far."""
    checkpoint = options.model / FINE_TUNED
    (WORK / "reviews.json").write_text(json.dumps(reviews), encoding="utf-8")
    loop = stack.enter_context(_keras(checkpoint))
    rival, rival_port = stack.enter_context(_pipeline(checkpoint, options.pytorch))
    rounds: list[dict[str, dict[str, Measured]]] = []
    if options.add and options.output.exists():
        rounds += json.loads(options.output.read_text(encoding="utf-8"))["rounds"]
    for number in range(len(rounds), len(rounds) + options.rounds):
        one: dict[str, dict[str, Measured]] = {}
        for clients in options.clients:
            one[str(clients)] = {
                OURS: _turn(server, partial(_load, port, clients, reviews, options.seconds)),
                PIPELINE: _turn(rival, partial(_load, rival_port, clients, reviews, options.seconds)),
                KERAS: _turn(loop, partial(_ask, loop, options.seconds)),
            }
            print(f"round {number + 1}, {clients} client(s): {_shown(one[str(clients)])}", flush=True)
        rounds.append(one)
        yield {"seconds": options.seconds, "summary": summarise(rounds), "rounds": rounds}
    print("\n" + table(summarise(rounds)))


def summarise(rounds: Sequence[dict[str, dict[str, Measured]]]) -> dict[str, dict[str, Measured]]:
    """Return for each number of clients and contestant the medians; RATIOS are taken within a round."""
    summary: dict[str, dict[str, Measured]] = {}
    for clients in rounds[0]:
        summary[clients] = {}
        for name in rounds[0][clients]:
            runs = [one[clients][name] for one in rounds]
            numbers = {key: median(run[key] for run in runs) for key in runs[0]}
            for ratio, rate in RATIOS.items():
                numbers[ratio] = median(one[clients][OURS][rate] / one[clients][name][rate] for one in rounds)
            summary[clients][name] = numbers
    return summary


def table(summary: dict[str, dict[str, Measured]]) -> str:
    """Write the medians as a table."""
    width = max(map(len, LABELS.values()))
    lines = [f"clients  {'':{width}}  reviews/s  serve is  per CPU second  serve is       p50       p99"]
    for clients, contestants in summary.items():
        for name, numbers in contestants.items():
            times = "".join(
                f"  {numbers[key] * 1000:>5.0f} ms" if key in numbers else "         " for key in ("p50", "p99")
            )
            lines.append(
                f"{clients:>7}  {LABELS[name]:{width}}  {numbers['reviews_per_second']:>9.1f}"
                f"  {numbers['serve_is_faster']:>6.2f} x  {numbers['reviews_per_processor_second']:>14.1f}"
                f"  {numbers['serve_is_thriftier']:>6.2f} x{times}"
            )
    return "\n".join(lines)


def _soak(process: int, port: int, reviews: Sequence[str], requests: int) -> dict[str, Any]:
    """Send so many requests; all answers and the server's resident set count."""
    memory: list[float] = []
    failed = 0
    latencies: list[float] = []
    for _ in range(SAMPLES):
        measured = asyncio.run(load(port, SOAK_CLIENTS, reviews, requests=requests // SAMPLES))
        failed += int(measured["failed"])
        latencies.append(measured["p99"])
        memory.append(resident_megabytes(process))
        print(f"{len(memory) * requests // SAMPLES:>8,} requests, {memory[-1]:.0f} MB, {failed} failed", flush=True)
    print(
        f"\n{memory[WARM - 1]:.0f} MB after {requests * WARM // SAMPLES:,} requests, {memory[-1]:.0f} MB after "
        f"{requests:,}; {failed} failed"
    )
    return {
        "requests": requests,
        "clients": SOAK_CLIENTS,
        "failed": failed,
        "resident_megabytes_when_warm": memory[WARM - 1],
        "resident_megabytes_at_the_end": memory[-1],
        "resident_megabytes": memory,
        "p99": latencies,
    }


def _image(image: str, model: Path, reviews: Sequence[str], rounds: int) -> dict[str, Any]:
    """Start `serve`, and run `predict` over the reviews, some times."""
    folder = WORK / "predict"
    folder.mkdir(exist_ok=True)
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["review_body"], *([review] for review in reviews)])
    run = ["docker", "run", "--rm", "--label", "distilbert-trainer=run", "--user", f"{os.getuid()}:{os.getgid()}"]
    run += ["--volume", f"{model}:/opt/ml/model:ro"]
    starts, rates = [], []
    for _ in range(rounds):
        port = _free_port()
        begun = time.monotonic()
        command = [*run, "--detach", "--publish", f"127.0.0.1:{port}:8080", image, "serve"]
        container = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        while not _is_ready(port):
            time.sleep(0.02)
        starts.append(time.monotonic() - begun)
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)
        command = [*run, "--network", "none", "--volume", f"{folder}:/reviews", image, "predict", "--overwrite"]
        command += ["--input", "/reviews/reviews.csv", "--output", "/reviews/predictions.parquet"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rate = re.search(r"([\d,]+) rows a second", said)
        assert rate is not None
        rates.append(float(rate[1].replace(",", "")))
        print(f"first 200 after {starts[-1]:.1f} s; predict: {rates[-1]:.0f} rows a second", flush=True)
    return {
        "start_seconds": median(starts),
        "predict_rows_per_second": median(rates),
        "rounds": {"start_seconds": starts, "predict_rows_per_second": rates},
    }


def mostly_short(reviews: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Return the reviews of a few words, and one of the others after each twenty: requests count, not their length."""
    short = [review for review in reviews if len(tokenizer.encode(review).ids) <= FEW_TOKENS]
    others = [review for review in reviews if len(tokenizer.encode(review).ids) > FEW_TOKENS]
    for number in range(len(short) // 20):
        short.insert(number * 21, others[number])
    return short


def longest(model: Path) -> int:
    """Return how many tokens of a review a model reads."""
    settings = json.loads((model / FINE_TUNED / "tokenizer_config.json").read_text(encoding="utf-8"))
    return int(settings["model_max_length"])


def resident_megabytes(process: int) -> float:
    """Return a process's resident set."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def load(
    port: int, clients: int, reviews: Sequence[str], *, seconds: float = 0.0, requests: int | None = None
) -> Measured:
    """Let clients ask one after the other, for some seconds or for a number of requests; all answers count."""
    texts = itertools.cycle(reviews)
    left = itertools.count(requests, -1) if requests is not None else itertools.repeat(1)
    latencies: list[float] = []
    failed = 0
    started = time.monotonic()

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while next(left) > 0 and (requests is not None or time.monotonic() - started < seconds):
            body = json.dumps({"instances": [next(texts)]}).encode()
            begun = time.monotonic()
            writer.write(f"{HEAD}{len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
            assert length is not None
            await reader.readexactly(int(length[1]))
            latencies.append(time.monotonic() - begun)
            failed += not answer.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.monotonic() - started
    latencies.sort()
    return {
        "reviews": float(len(latencies)),
        "reviews_per_second": len(latencies) / elapsed,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "failed": float(failed),
    }


@contextmanager
def _running(
    command: Sequence[object], name: str, variables: Mapping[str, str] | None = None, *, talks: bool = False
) -> Iterator[_Process]:
    """Run a process until the block ends; what it writes goes to a file, but for the stdout of one that `talks`."""
    with (WORK / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=PROJECT,
            env={**os.environ, **children.ENVIRONMENT, **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def _serve(model: Path, settings: Mapping[str, str]) -> Iterator[tuple[_Process, int]]:
    port = _free_port()
    variables = {**settings, "SAGEMAKER_BASE_DIR": str(model.resolve().parent), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with _running([sys.executable, "src/serve.py"], OURS, variables) as process:
        _wait(port, process)
        yield process, port


@contextmanager
def _pipeline(checkpoint: Path, python: Path) -> Iterator[tuple[_Process, int]]:
    port = _free_port()
    command = [python, "-m", "benchmarks.contestants.fastapi_pipeline", checkpoint, port]
    with _running(command, PIPELINE, {"PYTHONPATH": str(PROJECT)}) as process:
        _wait(port, process)
        yield process, port


@contextmanager
def _keras(checkpoint: Path) -> Iterator[_Process]:
    command = [sys.executable, "-m", "benchmarks.contestants.keras_loop", checkpoint, WORK / "reviews.json"]
    with _running(command, KERAS, talks=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                break
        yield process


def _turn(process: _Process, measure: Callable[[], Measured]) -> Measured:
    """Measure, and add the rate per second of processor time: it hardly depends on what else runs here."""
    before = processor_seconds(process.pid)
    measured = measure()
    return measured | {"reviews_per_processor_second": measured["reviews"] / (processor_seconds(process.pid) - before)}


def processor_seconds(process: int) -> float:
    """Return the user and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _load(port: int, clients: int, reviews: Sequence[str], seconds: float) -> Measured:
    return asyncio.run(load(port, clients, reviews, seconds=seconds))


def _ask(process: _Process, seconds: float) -> Measured:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    measured: Measured = json.loads(process.stdout.readline())
    return measured


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(port: int, process: _Process) -> None:
    """Wait until /ping says 200."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _is_ready(port):
            return
        time.sleep(0.2)
    sys.exit(f"a contestant does not answer; its log is in {WORK}")


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _shown(contestants: dict[str, Measured]) -> str:
    return ", ".join(f"{name} {numbers['reviews_per_second']:.1f}/s" for name, numbers in contestants.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="serve beside Keras's loop and FastAPI with PyTorch's pipeline")
    parser.add_argument("--model", type=Path, required=True, help="a job's /opt/ml/model")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=int, default=0, metavar="REQUESTS", help="send so many to serve alone instead")
    parser.add_argument("--image", help="measure this image's start and the rate of predict instead")
    parser.add_argument("--pytorch", type=Path, default=PYTORCH, help="the Python of .venv-pytorch")
    parser.add_argument("--add", action="store_true", help="to the rounds that the output has already")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/serving.json; -soak, -image")
    options = parser.parse_args()
    kind = "-soak" if options.soak else "-image" if options.image else ""
    options.output = options.output or RESULTS / f"serving{kind}.json"
    return options


if __name__ == "__main__":
    main()
