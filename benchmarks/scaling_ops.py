"""What of a training step does not get faster from one core to two, operation by operation.

    PYTHONPATH=src python -m benchmarks.scaling_ops --weights weights          # `make bench-scaling-ops`

src/train.py trains DistilBERT-base's geometry in float32, pinned to one core and to two, in turns. Step times are of
steps without a trace; a trace of some more steps says where the time is. Each moment of a traced step belongs to the
operations that run in it, in equal parts, so that the parts add up to the step. What an operation loses is its part on
two cores less half of its part on one. The time in which none runs is "between steps" outside of Keras's training
function (callbacks, the next batch), and "no operation" inside it. Beside the step stands what the processor itself
gives: the rate of plain matrix products on one core and on two, which is not twice as high where caches, memory and
clock are shared. Prints a table per batch size, and writes JSON. With --resume, what an earlier call has measured
stays: runs of one that was interrupted, and other batch sizes in the JSON. So it can be measured in parts, on a machine
that is quiet now and then.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contestants.ours import TRACED_STEPS
from benchmarks.measuring import children
from benchmarks.measuring.plan import WARM_UP_STEPS, case_name
from observability.profiler.operations import PICOSECONDS, kind, trace_format
from star_rating.hardware.threads import read_topology

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks-scaling-ops"
LENGTH = 128
STEPS = {32: 4, 128: 2}
"""Batch size -> measured steps of a run."""
TARGET_CORES = 18
"""ml.c5.9xlarge's."""
SHOWN = 15
BETWEEN_STEPS, NO_OPERATION = "between steps", "no operation"
TRAINING_FUNCTION = "train_function"

Interval = tuple[str, float, float]
"""Name, begin and end in seconds."""


def main() -> int:
    """Measure every batch size, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", choices=STEPS, default=tuple(STEPS))
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    parser.add_argument("--results", type=Path, default=PROJECT / "benchmarks" / "results" / "scaling-ops.json")
    parser.add_argument("--resume", action="store_true", help="keep what earlier calls have measured")
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a folder that holds a tokenizer.json")
    pair = two_cores()
    if pair is None:
        parser.error("this process may use only one physical core: two are needed")
    if not options.resume:
        shutil.rmtree(WORK, ignore_errors=True)
    inputs: list[object] = ["--work", WORK, "--tokenizer", options.weights.resolve()]
    for batch_size in options.batch_sizes:
        inputs += ["--case", LENGTH, batch_size, STEPS[batch_size] + TRACED_STEPS]
    described = kept(
        WORK / "-".join(["inputs", *map(str, options.batch_sizes)]),
        lambda: dict(children.run("measuring.inputs", inputs, WORK / "logs" / "inputs.log").report),
    )
    earlier = (
        json.loads(options.results.read_text(encoding="utf-8")) if options.resume and options.results.exists() else {}
    )
    results = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **children.run("measuring.environment", [], WORK / "logs" / "environment.log").report,
        "geometry": described["geometry"],
        "max_seq_length": LENGTH,
        "cases": earlier.get("cases", {})
        | {str(size): measure(size, options.rounds, pair) for size in options.batch_sizes},
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(options.results)
    return 0


def kept(name: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what an interrupted call has kept under this name; else measure it, and keep it."""
    file = name.with_name(f"{name.name}.json")
    if not file.exists():
        found = measure()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".part").write_text(json.dumps(found), encoding="utf-8")
        file.with_suffix(".part").replace(file)
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def two_cores() -> tuple[int, int] | None:
    """Return two logical CPUs of different physical cores."""
    pairs = combinations(sorted(os.sched_getaffinity(0)), 2)
    return next((pair for pair in pairs if read_topology(pair).cores == len(pair)), None)


def measure(batch_size: int, rounds: int, pair: tuple[int, int]) -> dict[str, Any]:
    """Run the rounds of a batch size, and print its table."""
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for number in range(1, rounds + 1):
        for cores in (1, 2) if number % 2 else (2, 1):
            name = f"batch-{batch_size}-cores-{cores}-{number}"
            run = kept(WORK / "runs" / name, partial(run_pinned, batch_size, pair[:cores], name))
            print(f"batch {batch_size}, round {number}, {cores} core(s): {run['seconds_a_step']:.3f} s", flush=True)
            runs[cores].append(run)
    parts = {cores: median_parts([run["parts"] for run in own]) for cores, own in runs.items()}
    found = {
        **scaling([run["seconds_a_step"] for run in runs[1]], [run["seconds_a_step"] for run in runs[2]]),
        "efficiency_of_products": median(
            two["gemm_flops_per_second"] / (2 * one["gemm_flops_per_second"])
            for one, two in zip(runs[1], runs[2], strict=True)
        ),
        "lost": lost(parts[1], parts[2]),
        "rounds": runs,
    }
    print("\n" + table(f"batch {batch_size}, length {LENGTH}, float32", found) + "\n", flush=True)
    return found


def run_pinned(batch_size: int, cpus: Sequence[int], name: str) -> dict[str, Any]:
    """Train on these CPUs; return the seconds of an untraced step, and the parts of a traced one."""
    case, trace = WORK / case_name(LENGTH, batch_size), WORK / "traces" / name
    for leftover in (case / "ml" / "model", case / "ml" / "output", trace):
        shutil.rmtree(leftover, ignore_errors=True)
    steps = WARM_UP_STEPS + STEPS[batch_size]
    options = ["--case", case, "--weights", WORK / "weights", "--length", LENGTH, "--batch-size", batch_size]
    options += ["--steps", steps, "--float32", "--trace", trace]
    child = children.run("contestants.ours", options, WORK / "logs" / f"{name}.log", cpus=cpus)
    ends = child.report["step_ends"]
    gemm = children.run("contestants.gemm", [], WORK / "logs" / f"{name}-gemm.log", cpus=cpus)
    (file,) = trace.glob("plugins/profile/*/*.xplane.pb")
    operations, functions = read_trace(file)
    return {
        "seconds_a_step": (ends[-1] - ends[WARM_UP_STEPS - 1]) / STEPS[batch_size],
        "first_step_seconds": ends[0] - child.started,
        "gemm_flops_per_second": gemm.report["flops_per_second"],
        "parts": parts_of_step(operations, functions),
    }


def read_trace(file: Path) -> tuple[list[list[Interval]], list[Interval]]:
    """Return each thread's operations, and the calls of Keras's training function."""
    space = trace_format().XSpace.FromString(file.read_bytes())
    operations: list[list[Interval]] = []
    functions: list[Interval] = []
    for plane in space.planes:
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for line in plane.lines:
            zero = line.timestamp_ns / 1e9
            events = [
                (
                    names[event.metadata_id],
                    zero + event.offset_ps / PICOSECONDS,
                    zero + (event.offset_ps + event.duration_ps) / PICOSECONDS,
                )
                for event in line.events
            ]
            operations.append([(kind(name), begin, end) for name, begin, end in events if kind(name)])
            functions += [event for event in events if event[0] == TRAINING_FUNCTION]
    return operations, functions


def parts_of_step(threads: Iterable[Sequence[Interval]], functions: Sequence[Interval]) -> dict[str, float]:
    """Return the seconds of the mean step that belong to each kind of operation; the parts add up to the step.

    `functions` are the calls of the training function. The step of a call lasts to the begin of the next call, so that
    the last call only ends the one before it.
    """
    calls = sorted(functions, key=lambda call: call[1])
    first, last = calls[0][1], calls[-1][1]
    steps = len(calls) - 1
    running = [segment for thread in threads for segment in own_segments(thread)]
    # (time, name, +1 or -1): None is the training function itself.
    changes: list[tuple[float, str, int]] = [(first, "", 0), (last, "", 0)]
    for name, begin, end in [*running, *((TRAINING_FUNCTION, begin, end) for _, begin, end in calls)]:
        if begin < last and end > first:
            changes += [(max(begin, first), name, 1), (min(end, last), name, -1)]
    parts: dict[str, float] = defaultdict(float)
    active: dict[str, int] = defaultdict(int)
    before = first
    for moment, name, change in sorted(changes):
        inside = active.get(TRAINING_FUNCTION, 0) > 0
        count = sum(active.values()) - active.get(TRAINING_FUNCTION, 0)
        span = moment - before
        if not inside or not count:
            parts[NO_OPERATION if inside else BETWEEN_STEPS] += span
        else:
            for other, number in active.items():
                if other != TRAINING_FUNCTION and number:
                    parts[other] += span * number / count
        if change:
            active[name] += change
        before = moment
    return {name: seconds / steps for name, seconds in parts.items() if seconds}


def own_segments(events: Iterable[Interval]) -> list[Interval]:
    """Return one thread's events without overlaps: of events within another, the inner one has the time."""
    segments: list[Interval] = []
    stack: list[tuple[str, float]] = []
    position = 0.0

    def advance(moment: float) -> None:
        nonlocal position
        if stack and moment > position:
            segments.append((stack[-1][0], position, moment))
        position = max(position, moment)

    for name, begin, end in sorted(events, key=lambda event: (event[1], -event[2])):
        while stack and stack[-1][1] <= begin:
            advance(stack[-1][1])
            stack.pop()
        advance(begin)
        position = begin if not stack else position
        stack.append((name, end))
    while stack:
        advance(stack[-1][1])
        stack.pop()
    return segments


def scaling(one: Sequence[float], two: Sequence[float]) -> dict[str, float]:
    """Return the medians of a step on one core and on two, and what follows from them by Amdahl's law."""
    efficiency = median(alone / (2 * both) for alone, both in zip(one, two, strict=True))
    serial = 1 / efficiency - 1
    speed_up = 1 / (serial + (1 - serial) / TARGET_CORES)
    return {
        "one_core_seconds": median(one),
        "two_cores_seconds": median(two),
        "efficiency": efficiency,
        "serial_share": serial,
        "predicted_speed_up_of_18_cores": speed_up,
    }


def median_parts(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each part over the runs; one that a run does not have is 0 in it."""
    return {name: median(run.get(name, 0.0) for run in runs) for name in sorted({name for run in runs for name in run})}


def lost(one: Mapping[str, float], two: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return each operation's parts of a step on one core and on two, and what it loses; the most first."""
    names = sorted(set(one) | set(two))
    rows = [
        {
            "name": name,
            "one_core_seconds": one.get(name, 0.0),
            "two_cores_seconds": two.get(name, 0.0),
            "lost_seconds": two.get(name, 0.0) - one.get(name, 0.0) / 2,
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: float(row["lost_seconds"]), reverse=True)


def table(title: str, found: Mapping[str, Any]) -> str:
    """Write a batch size's numbers, and the operations that lose the most."""
    two = found["two_cores_seconds"]
    rows = found["lost"]
    total = sum(row["lost_seconds"] for row in rows)
    speed_up = found["predicted_speed_up_of_18_cores"]
    lines = [
        f"{title}: {found['one_core_seconds']:.3f} s on one core, {two:.3f} s on two",
        f"{found['efficiency']:.1%} efficiency, {found['serial_share']:.1%} serial by Amdahl's law",
        f"plain matrix products: {found['efficiency_of_products']:.1%} efficiency",
        f"predicted by it, not measured: {speed_up:.1f} times one core's speed on {TARGET_CORES}",
        f"{'traced':<28}{'one core':>10}{'two cores':>11}{'lost':>9}{'of a step':>11}",
    ]
    lines += [
        f"{row['name']:<28}{row['one_core_seconds']:>10.4f}{row['two_cores_seconds']:>11.4f}"
        f"{row['lost_seconds']:>9.4f}{row['lost_seconds'] / two:>11.2%}"
        for row in rows[:SHOWN]
    ]
    return "\n".join([*lines, f"{'all':<28}{'':>21}{total:>9.4f}{total / two:>11.2%}"])


if __name__ == "__main__":
    sys.exit(main())
