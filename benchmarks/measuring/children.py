"""Child processes, one at a time: what they report, how long they took, how much memory they took at most.

    child = run("contestants.gemm", [], log=Path("out/gemm.log"))
    child.report["flops_per_second"], child.peak_memory_bytes, child.processor_seconds

A child's report is the last of its lines that is a JSON object; everything that it writes goes to its log file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {
    # Whoever has switched it on: packages are compiled once, as they are in the image, not at every start.
    "PYTHONDONTWRITEBYTECODE": "",
    # The image's own settings (Dockerfile).
    "TF_CPP_MIN_LOG_LEVEL": "1",
    "TF_USE_LEGACY_KERAS": "1",
    # Nobody may look for a newer model.
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}",
}
LAST_LINES = 15


@dataclass(frozen=True)
class Child:
    """A process that ended well."""

    report: Mapping[str, Any]
    started: float
    """On time.monotonic()'s clock, before the process was made."""
    peak_memory_bytes: int
    """The largest resident set."""
    seconds: float
    """From before the process was made until it had ended."""
    processor_seconds: float
    """Of all cores, its own children included."""


def run(
    module: str,
    options: Sequence[object],
    log: Path,
    python: Path = Path(sys.executable),
    preload: Path | None = None,
    *,
    cpus: Collection[int] = (),
) -> Child:
    """Run a module of benchmarks/ in the project's folder, and return its report; end this program if it fails.

    `preload` is a library that the dynamic linker loads first, an allocator. `cpus` are the logical CPUs that it may
    use; without them, those of this program.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else []
    return run_command([*pinned, python, "-m", f"benchmarks.{module}", *options], log, preload=preload)


def run_command(command: Sequence[object], log: Path, *, reports: bool = True, preload: Path | None = None) -> Child:
    """Run a command as `run` does; without `reports` it has no report to make."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=PROJECT,
            env={**os.environ, **ENVIRONMENT, **({"LD_PRELOAD": str(preload)} if preload else {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # TensorFlow may write a word of its own after the report.
    report = next((json.loads(line) for line in reversed(lines) if line.startswith("{")), None)
    if process.returncode or (reports and report is None):
        ended = f"{' '.join(map(str, command))} ended with exit code {process.returncode}; its log is {log}"
        sys.exit("\n".join([*lines[-LAST_LINES:], ended]))
    processor_seconds = usage.ru_utime + usage.ru_stime
    return Child(report or {}, started, usage.ru_maxrss * 1024, seconds, processor_seconds)
