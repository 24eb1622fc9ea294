"""How fast DistilBERT is fine-tuned: this trainer, Keras as the notebook used it, and PyTorch, in turns in one run.

    PYTHONPATH=src python -m benchmarks.training            # `make bench`
    PYTHONPATH=src python -m benchmarks.training --quick --lengths 64 --only ours pytorch-grouped

All start from one checkpoint of DistilBERT-base's geometry (random weights, 66 million) and see the same reviews. A
contestant is a process of its own; those of a round run one after the other, in an order that rotates, and a float32
matrix product before and after the round says how fast the machine was meanwhile. Prints a table a case;
writes the numbers of every round as JSON, and the medians as a picture, after each case; ratios are of one case, whose
rounds belong together, and cases may come from several runs on one kind of machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import children, figure, summary
from benchmarks.measuring.plan import WARM_UP_STEPS, case_name
from benchmarks.measuring.useful_work import useful_flops

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks"
BATCH_SIZE = 32
LENGTHS = (64, 128, 256)
LARGE_BATCH = (128, 128)
"""max_seq_length and batch size of the case that is measured for ours alone."""
STEPS = 8
"""Measured ones, of 32 reviews; of the large batch half as many."""
CONTESTANTS = {
    "ours": ("ours", ()),
    "ours-float32": ("ours", ("--float32",)),
    "keras": ("keras_transformers", ()),
    "pytorch": ("pytorch_transformers", ()),
    "pytorch-grouped": ("pytorch_transformers", ("--grouped",)),
}
"""Name -> module of benchmarks/contestants, and its options."""
PYTORCH = {name for name, (module, _) in CONTESTANTS.items() if module == "pytorch_transformers"}


@dataclass(frozen=True)
class Case:
    """What is compared: one shape of batch."""

    length: int
    batch_size: int
    steps: int
    contestants: tuple[str, ...]

    @property
    def name(self) -> str:
        """As the inputs' folder and the JSON's key."""
        return case_name(self.length, self.batch_size)


def main() -> int:
    """Measure every case, print the tables, write JSON and picture."""
    options = read_options()
    began = time.monotonic()
    shutil.rmtree(WORK, ignore_errors=True)
    cases = choose_cases(options.lengths, options.only, options.steps)
    print(f"{len(cases)} case(s), {options.rounds} round(s) each; logs are in {WORK / 'logs'}", flush=True)
    inputs = make_inputs(cases, options.weights)
    results = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **children.run("measuring.environment", [], WORK / "logs" / "environment.log").report,
        "geometry": inputs["geometry"],
        "padding_share": inputs["padding_share"],
        "useful_work": "dense layers on real tokens, the last layer's for [CLS] alone; without attention's products",
    }
    measured = earlier_cases(options.results, results)
    for case in cases:
        measured[case.name] = measure(case, inputs, options.rounds, options.pytorch)
        in_order = sorted(measured.items(), key=lambda item: (item[1]["batch_size"], item[1]["max_seq_length"]))
        write({**results, "cases": dict(in_order)}, options.results, options.picture)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; {options.results}, {options.picture}")
    return 0


def earlier_cases(results: Path, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cases that an earlier run left on such a machine with these versions; this run's replace them."""
    if not results.exists():
        return {}
    earlier = json.loads(results.read_text(encoding="utf-8"))
    same = all(earlier[key] == now[key] for key in ("machine", "versions", "geometry"))
    return dict(earlier["cases"]) if same else {}


def write(results: Mapping[str, Any], path: Path, picture: Path) -> None:
    """Write numbers and picture, after each case: whoever interrupts an hour's benchmark keeps what is measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    figure.draw(results, picture)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS, metavar="TOKENS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS, help="measured ones of a contestant and round")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=tuple(CONTESTANTS), metavar="CONTESTANT")
    parser.add_argument("--quick", action="store_true", help="one round of two steps, to see that everything runs")
    parser.add_argument("--weights", type=Path, default=os.environ.get("DISTILBERT_WEIGHTS"))
    parser.add_argument("--pytorch", type=Path, default=PROJECT / ".venv-pytorch" / "bin" / "python")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/training.json; out/ with --quick")
    parser.add_argument("--picture", type=Path, help="default: docs/training_benchmark.png; out/ with --quick")
    options = parser.parse_args()
    if options.weights is None:
        parser.error("--weights is missing: a folder that holds a tokenizer.json")
    options.weights = options.weights.resolve()
    if set(options.only) & PYTORCH and not options.pytorch.is_file():
        parser.error(f"{options.pytorch} does not exist: run scripts/pytorch_python.sh, or choose others with --only")
    if options.quick:
        options.rounds, options.steps = 1, 2
    results, docs = (WORK, WORK) if options.quick else (PROJECT / "benchmarks" / "results", PROJECT / "docs")
    options.results = options.results or results / "training.json"
    options.picture = options.picture or docs / "training_benchmark.png"
    return options


def choose_cases(lengths: Sequence[int], only: Sequence[str], steps: int) -> list[Case]:
    """Return the cases: each length for all contestants, and the large batch for ours in float32, alone without any."""
    contestants = tuple(name for name in CONTESTANTS if name in only)
    cases = [Case(length, BATCH_SIZE, steps, contestants) for length in lengths]
    length, batch_size = LARGE_BATCH
    if (length in lengths or not lengths) and "ours-float32" in contestants:
        cases.append(Case(length, batch_size, max(1, steps // 2), ("ours-float32",)))
    return cases


def make_inputs(cases: Sequence[Case], weights: Path) -> dict[str, Any]:
    """Write the checkpoint and each case's batches; return what they hold."""
    print("making weights and batches", flush=True)
    options: list[object] = ["--work", WORK, "--tokenizer", weights]
    for case in cases:
        options += ["--case", case.length, case.batch_size, case.steps]
    return dict(children.run("measuring.inputs", options, WORK / "logs" / "inputs.log").report)


def measure(case: Case, inputs: Mapping[str, Any], rounds: int, pytorch: Path) -> dict[str, Any]:
    """Run the rounds of a case, and print its table."""
    facts = inputs["cases"][case.name]
    examples = case.steps * case.batch_size
    flops = useful_flops(inputs["geometry"], facts["real_tokens"], examples) / examples
    measured = run_rounds(case, rounds, pytorch)
    medians = summary.summarise(measured, flops)
    title = f"max_seq_length {case.length}, batch {case.batch_size}, {facts['padding_share']:.0%} padding"
    print("\n" + summary.table(title, medians) + "\n", flush=True)
    return {**facts, "useful_flops_an_example": flops, "medians": medians, "rounds": measured}


def run_rounds(case: Case, rounds: int, pytorch: Path) -> list[dict[str, Any]]:
    """Run the contestants in turns."""
    measured = []
    gemm = gemm_rate(f"{case.name}-0")
    for number in range(1, rounds + 1):
        turn = number % len(case.contestants)
        order = case.contestants[turn:] + case.contestants[:turn]
        runs = {name: run_contestant(case, name, number, pytorch) for name in order}
        before, gemm = gemm, gemm_rate(f"{case.name}-{number}")
        contestants = {name: runs[name] for name in case.contestants}
        measured.append({"order": order, "gemm_flops_per_second": [before, gemm], "contestants": contestants})
    return measured


def gemm_rate(name: str) -> float:
    """Measure the machine's own rate."""
    child = children.run("contestants.gemm", [], WORK / "logs" / f"gemm-{name}.log")
    rate = float(child.report["flops_per_second"])
    print(f"GEMM: {rate / 1e9:.0f} GFLOP/s", flush=True)
    return rate


def run_contestant(case: Case, name: str, number: int, pytorch: Path) -> dict[str, Any]:
    """Run one contestant once."""
    module, flags = CONTESTANTS[name]
    folder = WORK / case.name
    # What a run left must not meet the next one, which would resume or refuse it.
    for leftover in ("model", "output"):
        shutil.rmtree(folder / "ml" / leftover, ignore_errors=True)
    options = ["--case", folder, "--weights", WORK / "weights", "--length", case.length]
    options += ["--batch-size", case.batch_size, "--steps", case.steps + WARM_UP_STEPS, *flags]
    python = pytorch if name in PYTORCH else Path(sys.executable)
    log = WORK / "logs" / f"{case.name}-{number}-{name}.log"
    child = children.run(f"contestants.{module}", options, log, python)
    step_ends = child.report["step_ends"]
    numbers = summary.measure_child(step_ends, child.started, child.peak_memory_bytes, case.batch_size)
    print(
        f"{case.name}, round {number}, {name}: {numbers['examples_per_second']:.2f} examples/s, "
        f"first step after {numbers['first_step_seconds']:.1f} s ({child.report['compute']})",
        flush=True,
    )
    kept = {key: value for key, value in child.report.items() if key != "step_ends"}
    return {**numbers, "step_seconds": [round(end - child.started, 3) for end in step_ends], **kept}


if __name__ == "__main__":
    sys.exit(main())
