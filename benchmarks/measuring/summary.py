"""From what the rounds measured to medians, ratios and a table. Pure.

numbers = measure_child(child.report["step_ends"], ...)     # of one run of one contestant
medians = summarise(rounds, flops_an_example)               # contestant -> medians
print(table("max_seq_length 128", medians))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.measuring.plan import WARM_UP_STEPS

OURS = "ours"
BFLOAT16 = "-bfloat16"
"""How the name of a contestant ends that computes in it; the others compute in float32."""
_FLOAT32_LABELS = {
    "ours-float32": "ours, no XLA",
    "keras": "transformers TFDistilBert, Keras fit, padded",
    "pytorch": "PyTorch, transformers, padded to the batch's longest",
    "pytorch-grouped": "PyTorch, transformers, grouped by length",
    "pytorch-compiled": "the same, torch.compile(dynamic=True)",
    "pytorch-unpadded": "PyTorch by hand, without padding",
}
LABELS = {
    OURS: "ours, as shipped",
    **{name: f"{label}, float32" for name, label in _FLOAT32_LABELS.items()},
    **{
        f"{name.removesuffix('-float32')}{BFLOAT16}": f"{label}, bfloat16"
        for name, label in _FLOAT32_LABELS.items()
        if name != "keras"
    },
}
"""Every contestant, in the order of the tables."""

NUMBERS = ("examples_per_second", "seconds_a_step", "first_step_seconds", "peak_memory_bytes")
"""Of one run of one contestant."""

Round = Mapping[str, Any]
"""gemm_flops_per_second: before and after the round; contestants: name -> its NUMBERS and more."""


def measure_child(
    step_ends: Sequence[float], started: float, peak_memory_bytes: int, batch_size: int
) -> dict[str, float]:
    """Return a contestant's numbers: the rate without the warm-up, and the time from process start to one step done."""
    measured_steps = len(step_ends) - WARM_UP_STEPS
    seconds = step_ends[-1] - step_ends[WARM_UP_STEPS - 1]
    return {
        "examples_per_second": measured_steps * batch_size / seconds,
        "seconds_a_step": seconds / measured_steps,
        "first_step_seconds": step_ends[0] - started,
        "peak_memory_bytes": peak_memory_bytes,
    }


def counterpart(name: str) -> str | None:
    """Return which of ours computes in a contestant's precision; None for ours itself."""
    if name.startswith(OURS):
        return None
    return f"{OURS}{BFLOAT16 if name.endswith(BFLOAT16) else '-float32'}"


def summarise(rounds: Sequence[Round], flops_an_example: float) -> dict[str, dict[str, float]]:
    """Return each contestant's medians over the rounds in which it ran.

    Ratios and shares are taken within a round, as the machine's speed changes from minute to minute. `ours_is_faster`
    is the rate of ours in the contestant's precision through the contestant's.
    """
    summary: dict[str, dict[str, float]] = {}
    for name in LABELS:
        ran = [one for one in rounds if name in one["contestants"]]
        if not ran:
            continue
        runs = [one["contestants"][name] for one in ran]
        summary[name] = {key: median(run[key] for run in runs) for key in NUMBERS}
        if all("compile_seconds" in run for run in runs):
            summary[name]["compile_seconds"] = median(run["compile_seconds"] for run in runs)
        summary[name]["share_of_gemm"] = median(
            one["contestants"][name]["examples_per_second"] * flops_an_example / fmean(one["gemm_flops_per_second"])
            for one in ran
        )
        ours = counterpart(name)
        ratios = [
            one["contestants"][ours]["examples_per_second"] / one["contestants"][name]["examples_per_second"]
            for one in ran
            if ours in one["contestants"]
        ]
        if ratios:
            summary[name]["ours_is_faster"] = median(ratios)
    return summary


def table(title: str, summary: Mapping[str, Mapping[str, float]]) -> str:
    """Write a case as a table; `ours is` compares with ours in the same precision."""
    width = max(map(len, LABELS.values()))
    lines = [
        title,
        f"{'':{width}}  examples/s  ours is  first step  peak memory  of GEMM",
    ]
    for name, numbers in summary.items():
        ratio = f"{numbers['ours_is_faster']:.2f} x" if "ours_is_faster" in numbers else ""
        compiling = f"  ({numbers['compile_seconds']:.0f} s of it compiling)" if "compile_seconds" in numbers else ""
        lines.append(
            f"{LABELS[name]:{width}}  {numbers['examples_per_second']:>10.2f}  {ratio:>7}"
            f"  {numbers['first_step_seconds']:>8.1f} s  {numbers['peak_memory_bytes'] / 1e9:>8.2f} GB"
            f"  {numbers['share_of_gemm']:>7.0%}{compiling}"
        )
    return "\n".join(lines)
