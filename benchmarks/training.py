"""How fast DistilBERT is fine-tuned: this trainer, Keras as the notebook used it, and PyTorch, in turns in one run.

    PYTHONPATH=src python -m benchmarks.training            # `make bench`
    PYTHONPATH=src python -m benchmarks.training --quick --lengths 64 --only ours pytorch-grouped
    PYTHONPATH=src python -m benchmarks.training --append --minutes 5 --lengths 128 --rounds 1

All start from one checkpoint of DistilBERT-base's geometry (random weights, 66 million) and see the same reviews. A
contestant is a process of its own; those of a round run one after the other, in an order that rotates, and a float32
matrix product before and after the round says how fast the machine was meanwhile. Where Debian's
libtcmalloc-minimal4 is installed, every process runs with it. Prints a table a case; writes the numbers of every round
as JSON, and the medians as a picture, after each contestant: --append adds rounds to those of an earlier run on the
same machine, and --minutes ends a run that has to be short. Ratios are of one round, and of one precision: float32
against float32, bfloat16 against bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import children, figure, summary
from benchmarks.measuring.plan import WARM_UP_STEPS, case_name
from benchmarks.measuring.useful_work import useful_flops
from star_rating.hardware.instruction_set import ISA_LEVELS

PROJECT = children.PROJECT
WORK = PROJECT / "out" / "benchmarks"
BATCH_SIZE = 32
LENGTHS = (64, 128, 256)
LARGE_BATCH = (128, 128)
"""max_seq_length and batch size of the case that is measured for ours alone."""
STEPS = 8
"""Measured ones, of 32 reviews; of the large batch half as many."""
RUN_SECONDS = 35.0
"""Of a contestant that --minutes has not seen yet."""
PYTORCH_MODULES = ("pytorch_transformers", "pytorch_unpadded")
CONTESTANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ours": ("ours", ()),
    "ours-float32": ("ours", ("--float32",)),
    "keras": ("keras_transformers", ()),
    "pytorch": ("pytorch_transformers", ()),
    "pytorch-grouped": ("pytorch_transformers", ("--grouped",)),
    "pytorch-compiled": ("pytorch_transformers", ("--grouped", "--compile")),
    "pytorch-unpadded": ("pytorch_unpadded", ()),
    "ours-bfloat16": ("ours", ("--bfloat16",)),
    "pytorch-bfloat16": ("pytorch_transformers", ("--bfloat16",)),
    "pytorch-grouped-bfloat16": ("pytorch_transformers", ("--grouped", "--bfloat16")),
    "pytorch-compiled-bfloat16": ("pytorch_transformers", ("--grouped", "--compile", "--bfloat16")),
    "pytorch-unpadded-bfloat16": ("pytorch_unpadded", ("--bfloat16",)),
}
"""Name -> module of benchmarks/contestants, and its options."""
PYTORCH = {name for name, (module, _) in CONTESTANTS.items() if module in PYTORCH_MODULES}
TCMALLOC = "*/libtcmalloc_minimal.so.4"
"""Below /usr/lib, where Debian's libtcmalloc-minimal4 is installed."""


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
    machine = children.run("measuring.environment", [], WORK / "logs" / "environment.log").report
    skipped = unavailable(options.only, machine["machine"]["instruction_set"], shutil.which("g++"))
    for name, reason in skipped.items():
        print(f"left out: {name}: {reason}", flush=True)
    present = tuple(name for name in options.only if name not in skipped)
    cases = choose_cases(options.lengths, present, options.steps, large=not options.no_large_batch)
    print(f"{len(cases)} case(s), {options.rounds} round(s) each; logs are in {WORK / 'logs'}", flush=True)
    inputs = make_inputs(cases, options.weights)
    results: dict[str, Any] = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine,
        "geometry": inputs["geometry"],
        "padding_share": inputs["padding_share"],
        "useful_work": "dense layers on real tokens, the last layer's for [CLS] alone; without attention's products",
        "skipped": skipped,
    }
    measured = earlier_cases(options.results, results)
    deadline = began + options.minutes * 60
    for case in cases:
        earlier = earlier_rounds(measured.get(case.name), inputs["cases"][case.name]) if options.append else []

        def keep(numbers: Mapping[str, Any], name: str = case.name) -> None:
            measured[name] = dict(numbers)
            in_order = sorted(measured.items(), key=lambda item: (item[1]["batch_size"], item[1]["max_seq_length"]))
            write({**results, "cases": dict(in_order)}, options.results, options.picture)

        measure(case, inputs, earlier, options, deadline, keep)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; {options.results}, {options.picture}")
    return 0


def unavailable(names: Sequence[str], instruction_set: str | None, compiler: str | None) -> dict[str, str]:
    """Return the contestants that this machine cannot run, each with the reason."""
    skipped = {}
    for name in names:
        _, flags = CONTESTANTS[name]
        if "--bfloat16" in flags and not multiplies_bfloat16(instruction_set):
            skipped[name] = f"the processor does not multiply bfloat16 ({instruction_set})"
        elif "--compile" in flags and compiler is None:
            skipped[name] = "torch.compile needs a C++ compiler: install g++"
    return skipped


def multiplies_bfloat16(instruction_set: str | None) -> bool:
    """Tell whether the processor has instructions for it; oneDNN's levels are in ascending order."""
    levels = [level.name for level in ISA_LEVELS]
    return instruction_set in levels[levels.index("AVX512_CORE_BF16") :]


def earlier_cases(results: Path, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cases that an earlier run left on such a machine with these versions; this run's replace them."""
    if not results.exists():
        return {}
    earlier = json.loads(results.read_text(encoding="utf-8"))
    same = all(earlier[key] == now[key] for key in ("machine", "versions", "geometry"))
    return dict(earlier["cases"]) if same else {}


def earlier_rounds(earlier: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rounds of an earlier run on the same batches; none if the batches are others."""
    if earlier is None or any(earlier.get(key) != value for key, value in facts.items()):
        return []
    return list(earlier["rounds"])


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
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no process that would end later")
    parser.add_argument("--no-large-batch", action="store_true", help="without the case of ours alone")
    parser.add_argument("--append", action="store_true", help="add rounds to those of --results")
    parser.add_argument("--no-tcmalloc", action="store_true", help="the C library's own allocator for everyone")
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
        parser.error(f"there is no {options.pytorch}: run scripts/extra_venv.sh pytorch, or choose others with --only")
    if options.quick:
        options.rounds, options.steps = 1, 2
    results, docs = (WORK, WORK) if options.quick else (PROJECT / "benchmarks" / "results", PROJECT / "docs")
    options.preload = None if options.no_tcmalloc else next(iter(sorted(Path("/usr/lib").glob(TCMALLOC))), None)
    if options.preload is None:
        print("without tcmalloc" + ("" if options.no_tcmalloc else ": libtcmalloc-minimal4 is not installed"))
    options.results = options.results or results / "training.json"
    options.picture = options.picture or docs / "training_benchmark.png"
    return options


def choose_cases(lengths: Sequence[int], only: Sequence[str], steps: int, *, large: bool = True) -> list[Case]:
    """Return the cases: each length for all contestants, and the large batch for ours in float32, alone without any."""
    contestants = tuple(name for name in CONTESTANTS if name in only)
    cases = [Case(length, BATCH_SIZE, steps, contestants) for length in lengths]
    length, batch_size = LARGE_BATCH
    if large and (length in lengths or not lengths) and "ours-float32" in contestants:
        cases.append(Case(length, batch_size, max(1, steps // 2), ("ours-float32",)))
    return cases


def make_inputs(cases: Sequence[Case], weights: Path) -> dict[str, Any]:
    """Write the checkpoint and each case's batches, unless they are there; return what they hold."""
    asked = [[case.length, case.batch_size, case.steps] for case in cases]
    made = WORK / "inputs.json"
    if made.exists():
        found = json.loads(made.read_text(encoding="utf-8"))
        if found["weights"] == str(weights) and all(case in found["cases"] for case in asked):
            return dict(found["inputs"])
    print("making weights and batches", flush=True)
    made.unlink(missing_ok=True)
    options: list[object] = ["--work", WORK, "--tokenizer", weights]
    for case in cases:
        shutil.rmtree(WORK / case.name, ignore_errors=True)
        options += ["--case", case.length, case.batch_size, case.steps]
    inputs = dict(children.run("measuring.inputs", options, WORK / "logs" / "inputs.log").report)
    made.write_text(json.dumps({"weights": str(weights), "cases": asked, "inputs": inputs}), encoding="utf-8")
    return inputs


def measure(
    case: Case,
    inputs: Mapping[str, Any],
    earlier: Sequence[dict[str, Any]],
    options: argparse.Namespace,
    deadline: float,
    keep: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run the rounds of a case, keep its numbers after each contestant, and print its table."""
    facts = inputs["cases"][case.name]
    examples = case.steps * case.batch_size
    flops = useful_flops(inputs["geometry"], facts["real_tokens"], examples) / examples
    rounds = list(earlier)

    def numbers() -> dict[str, Any]:
        return {
            **facts,
            "useful_flops_an_example": flops,
            "medians": summary.summarise(rounds, flops),
            "rounds": rounds,
        }

    for number in range(len(earlier) + 1, len(earlier) + options.rounds + 1):
        rounds.append({"order": [], "gemm_flops_per_second": [], "contestants": {}, **settings(options)})
        run_round(case, number, rounds, options, deadline, lambda: keep(numbers()))
        if not rounds[-1]["contestants"]:
            rounds.pop()
            break
    title = f"max_seq_length {case.length}, batch {case.batch_size}, {facts['padding_share']:.0%} padding"
    print("\n" + summary.table(title, numbers()["medians"]) + "\n", flush=True)


def settings(options: argparse.Namespace) -> dict[str, str]:
    """Return what a round ran with and another may not have: the state of the project, and the allocator."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD")
    # What is measured; the results themselves change in every run.
    if git("status", "--porcelain", "--", "src", "benchmarks/contestants", "benchmarks/measuring"):
        commit += " and changes"
    return {"commit": commit or "unknown", "allocator": options.preload.name if options.preload else "the C library's"}


def run_round(
    case: Case,
    number: int,
    rounds: Sequence[dict[str, Any]],
    options: argparse.Namespace,
    deadline: float,
    keep: Callable[[], None],
) -> None:
    """Run the contestants in turns into the last of the rounds, as far as there is time."""
    this = rounds[-1]
    turn = number % len(case.contestants)
    for name in case.contestants[turn:] + case.contestants[:turn]:
        seconds = [one["contestants"][name]["wall_seconds"] for one in rounds if name in one["contestants"]]
        if time.monotonic() + max(seconds, default=RUN_SECONDS) > deadline:
            continue
        if not this["contestants"]:
            this["gemm_flops_per_second"].append(gemm_rate(f"{case.name}-{number}-before", options.preload))
        this["order"].append(name)
        this["contestants"][name] = run_contestant(case, name, number, options)
        keep()
    if this["contestants"]:
        this["gemm_flops_per_second"].append(gemm_rate(f"{case.name}-{number}-after", options.preload))
        keep()


def gemm_rate(name: str, preload: Path | None) -> float:
    """Measure the machine's own rate."""
    child = children.run("contestants.gemm", [], WORK / "logs" / f"gemm-{name}.log", preload=preload)
    rate = float(child.report["flops_per_second"])
    print(f"GEMM: {rate / 1e9:.0f} GFLOP/s", flush=True)
    return rate


def run_contestant(case: Case, name: str, number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant once."""
    module, flags = CONTESTANTS[name]
    folder = WORK / case.name
    # What a run left must not meet the next one, which would resume or refuse it.
    for leftover in ("model", "output"):
        shutil.rmtree(folder / "ml" / leftover, ignore_errors=True)
    told = ["--case", folder, "--weights", WORK / "weights", "--length", case.length]
    told += ["--batch-size", case.batch_size, "--steps", case.steps + WARM_UP_STEPS, *flags]
    python = options.pytorch if name in PYTORCH else Path(sys.executable)
    log = WORK / "logs" / f"{case.name}-{number}-{name}.log"
    child = children.run(f"contestants.{module}", told, log, python, preload=options.preload)
    step_ends = child.report["step_ends"]
    numbers = summary.measure_child(step_ends, child.started, child.peak_memory_bytes, case.batch_size)
    print(
        f"{case.name}, round {number}, {name}: {numbers['examples_per_second']:.2f} examples/s, "
        f"first step after {numbers['first_step_seconds']:.1f} s ({child.report['compute']})",
        flush=True,
    )
    kept = {key: value for key, value in child.report.items() if key != "step_ends"}
    return {
        **numbers,
        "wall_seconds": round(child.seconds, 1),
        "step_seconds": [round(end - child.started, 3) for end in step_ends],
        **kept,
    }


if __name__ == "__main__":
    sys.exit(main())
