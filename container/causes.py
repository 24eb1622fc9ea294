"""What killed a process that could not say it itself: one sentence a signal, with what to change.

kills_before = out_of_memory_kills()
...
sentence = signal_message(signal.SIGKILL, out_of_memory=(out_of_memory_kills() or 0) > (kills_before or 0))
"""

from __future__ import annotations

import platform
import resource
import signal
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

_NO_LIMIT = 1 << 60
"""Version 1 writes "no limit" as the largest number of pages."""

_SENTENCES = {
    signal.SIGKILL: (
        "Training was killed by SIGKILL, from outside this container or by a kernel that does not say why. If the "
        "machine was short of memory, use a larger instance type, or lower train_batch_size or max_seq_length."
    ),
    signal.SIGILL: (
        "Training was killed by SIGILL: the processor advertises instructions that it cannot run (seen with AMX in "
        "virtual machines). Set the job's environment variable ONEDNN_MAX_CPU_ISA to AVX512_CORE, or to AVX2."
    ),
    signal.SIGSEGV: (
        "Training was killed by SIGSEGV, a crash in a native library. The log above may say where; please report it "
        "with the image's version."
    ),
    signal.SIGABRT: (
        "Training was killed by SIGABRT: a native library gave up. Its own message is in the log, just above; if it "
        "speaks of memory or threads, use a larger instance type or lower train_batch_size."
    ),
    signal.SIGBUS: (
        "Training was killed by SIGBUS: a file mapped into memory has no room left or was cut short. Give the "
        "container more shared memory (docker run --shm-size 1g) and check that no disk of the job is full."
    ),
    signal.SIGSYS: (
        "Training was killed by SIGSYS: a security profile of the container forbids a system call that it needs. Run "
        "it with the engine's default seccomp profile."
    ),
    signal.SIGXCPU: (
        "Training was killed by SIGXCPU: the container has a limit on processor time (ulimit cpu). Raise or remove it."
    ),
    signal.SIGTERM: (
        "The job was stopped (SIGTERM) before training was ready to save anything. Start it again to train."
    ),
}

_SIGILL_ON_ARM64 = (
    "Training was killed by SIGILL: a library ran an instruction that this processor, or the emulator in its place, "
    "does not have. Set the job's environment variable TF_ENABLE_ONEDNN_OPTS to 0."
)
"""The names of instruction sets that ONEDNN_MAX_CPU_ISA takes on x86-64 mean nothing there."""

_PROCESS_LIMITS = {resource.RLIMIT_DATA: "ulimit data", resource.RLIMIT_AS: "ulimit as"}
"""What refuses a process memory where the kernel would kill it: docker run --ulimit's names."""

_MAY_BE_REFUSED_MEMORY = (signal.SIGABRT, signal.SIGSEGV)
"""How native code may end that is refused memory. It may have another cause: that the limit was met is not known."""


_MAY_BE_REFUSED_A_THREAD = (signal.SIGABRT, signal.SIGSEGV, signal.SIGTRAP)
"""How native code may end that cannot start a thread."""


def signal_message(
    signal_number: int, *, out_of_memory: bool, process_limit: int | None = None, machine: str | None = None
) -> str:
    """Return the sentence for a training process that a signal killed.

    `process_limit` is that of the container, if it has refused a process or thread meanwhile. `machine` is x86_64 or
    aarch64, by default this one's.
    """
    if out_of_memory:
        limit = memory_limit()
        where = f"at the container's limit of {limit / 2**20:,.0f} MiB" if limit else "as the machine had no more"
        return (
            f"Training ran out of memory: the kernel killed it {where}. Use a larger instance type (or docker run "
            "--memory), or lower train_batch_size or max_seq_length."
        )
    try:
        known = signal.Signals(signal_number)
    except ValueError:
        return f"Training was killed by signal {signal_number}. The log above has what came before."
    if known is signal.SIGILL and (machine or platform.machine()) == "aarch64":
        return _SIGILL_ON_ARM64
    if process_limit and known in _MAY_BE_REFUSED_A_THREAD:
        return processes_refused(process_limit)
    sentence = _SENTENCES.get(known, f"Training was killed by {known.name}. The log above has what came before.")
    of_user = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if of_user != resource.RLIM_INFINITY and known in _MAY_BE_REFUSED_A_THREAD:
        sentence += (
            f" This user may have {of_user:,} processes and threads (ulimit nproc); if the log speaks of threads, "
            "raise or remove that limit."
        )
    limit_of_process = process_memory_limit()
    if limit_of_process and known in _MAY_BE_REFUSED_MEMORY:
        name, size = limit_of_process
        sentence += (
            f" A process may have {size / 2**20:,.0f} MiB ({name}); if the log speaks of memory, raise or remove "
            "that limit, or lower train_batch_size or max_seq_length."
        )
    return sentence


def out_of_memory_kills(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many processes of this container the kernel has killed for memory; None where it does not tell."""
    for folder in _folders(cgroup, membership, "memory"):
        for line in (*_lines(folder / "memory.events"), *_lines(folder / "memory.oom_control")):
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
    return None


def processes_refused(limit: int | None) -> str:
    """Return the sentence for training that could not start a thread or process."""
    which = f"the container's limit of {limit:,} (pids.max)" if limit else "a limit on them"
    return (
        f"Training could not start another process or thread: {which} was reached. Raise or remove it (docker run "
        "--pids-limit; a pod's limit on processes)."
    )


def refused_processes(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Return how often this container was refused a process or thread; None where the kernel does not tell."""
    for folder in _folders(cgroup, membership, "pids"):
        for line in _lines(folder / "pids.events"):
            name, _, value = line.partition(" ")
            if name == "max" and value.isdecimal():
                return int(value)
    return None


def process_limit(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many processes and threads the container may have; None if there is no limit."""
    for folder in _folders(cgroup, membership, "pids"):
        for line in _lines(folder / "pids.max"):
            return int(line) if line.isdecimal() else None
    return None


def memory_limit(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Return the container's memory limit in bytes; None if there is none."""
    for folder in _folders(cgroup, membership, "memory"):
        for line in (*_lines(folder / "memory.max"), *_lines(folder / "memory.limit_in_bytes")):
            return int(line) if line.isdecimal() and int(line) < _NO_LIMIT else None
    return None


def process_memory_limit() -> tuple[str, int] | None:
    """Return the smallest limit on a single process's memory, its name and its bytes; None if there is none."""
    limits = [(name, resource.getrlimit(limit)[0]) for limit, name in _PROCESS_LIMITS.items()]
    finite = [(name, size) for name, size in limits if size != resource.RLIM_INFINITY]
    return min(finite, key=lambda limit: limit[1], default=None)


def _folders(cgroup: Path, membership: Path, controller: str) -> list[Path]:
    """Return where a controller accounts for this process, whichever of the folders exists.

    The engine mounts the container's own group there: version 2 at the top, version 1 in memory/ and pids/. In a
    container that shares the host's cgroup namespace (docker run --cgroupns host) the top is the host's, and /proc
    names the group.
    """
    groups = [line.split(":", 2) for line in _lines(membership) if line.count(":") >= 2]
    own = [cgroup / path.lstrip("/") for _, names, path in groups if names == ""]
    own += [cgroup / controller / path.lstrip("/") for _, names, path in groups if controller in names.split(",")]
    return [*own, cgroup, cgroup / controller]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
