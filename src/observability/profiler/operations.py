"""Where the time inside a step goes: operations by a trace of TensorFlow, functions by a profile of Python code.

operations(trace)                # [Cost("MatMul", seconds=1.93, calls=720), ...], the most costly first
functions(folder)
"""

from __future__ import annotations

import importlib.util
import pstats
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PICOSECONDS = 1e12


@dataclass(frozen=True)
class Cost:
    """What one kind of work took, without what it called."""

    name: str
    seconds: float
    calls: int


def operations(trace: Path) -> list[Cost]:
    """Return the operations that TensorFlow ran, in a trace file (xplane.pb)."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for events in _host_events(trace, kind):
        for name, seconds in own_times(events):
            totals[name][0] += seconds
            totals[name][1] += 1
    return _ranked(totals)


def input_seconds(trace: Path) -> list[float]:
    """Return how long each traced step waited for its batch."""
    waits = _host_events(trace, lambda name: name if name == "IteratorGetNextOp::DoCompute" else "")
    return [end - begin for events in waits for _, begin, end in events]


def _host_events(trace: Path, named: Callable[[str], str]) -> Iterator[list[tuple[str, float, float]]]:
    """Yield each thread's events: what `named` calls it, begin and end in seconds; without those it calls nothing."""
    space = trace_format().XSpace()
    space.ParseFromString(trace.read_bytes())
    for plane in space.planes:
        names = {number: named(metadata.name) for number, metadata in plane.event_metadata.items()}
        for line in plane.lines:
            yield [
                (
                    names[event.metadata_id],
                    event.offset_ps / PICOSECONDS,
                    (event.offset_ps + event.duration_ps) / PICOSECONDS,
                )
                for event in line.events
                if names[event.metadata_id]
            ]


@cache
def trace_format() -> Any:  # noqa: ANN401 - generated
    """Return TensorFlow's message classes of a trace, without TensorFlow: the command `rules` needs nothing else."""
    tensorflow = importlib.util.find_spec("tensorflow")
    assert tensorflow is not None
    assert tensorflow.submodule_search_locations
    path = Path(tensorflow.submodule_search_locations[0], "tsl", "profiler", "protobuf", "xplane_pb2.py")
    spec = importlib.util.spec_from_file_location("xplane_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def own_times(events: Iterable[tuple[str, float, float]]) -> Iterator[tuple[str, float]]:
    """Yield each event's name, and its time without the events within it; all of one thread."""
    running: list[list[Any]] = []  # name, end, own time
    for name, begin, end in sorted(events, key=lambda event: (event[1], -event[2])):
        while running and running[-1][1] <= begin:
            yield _closed(running.pop())
        if running:
            running[-1][2] -= min(end, running[-1][1]) - begin
        running.append([name, end, end - begin])
    while running:
        yield _closed(running.pop())


def _closed(event: list[Any]) -> tuple[str, float]:
    return event[0], max(event[2], 0.0)


def kind(name: str) -> str:
    """Return the kind of operation of an event `<node>:<kind>`, "" for one that is none."""
    node, _, operation = name.rpartition(":")
    if not node or node.endswith(":") or not operation.isidentifier():
        return ""
    one_dnn = operation.removeprefix("_Mkl").removeprefix("Native")
    return operation if one_dnn == operation else f"{one_dnn} (oneDNN)"


def functions(folder: Path) -> list[Cost]:
    """Return the Python functions of a profile's cProfile files."""
    files = sorted(str(path) for path in folder.glob("framework/tensorflow/cprofile/*/*/python_stats"))
    if not files:
        return []
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    # `stats` is there, and of that shape, since Python 2; the stubs leave it out.
    for (file, line, function), (_, calls, own, *_rest) in pstats.Stats(*files).stats.items():  # type: ignore[attr-defined]
        name = f"{function} ({Path(file).name}:{line})" if line else _built_in(function)
        totals[name][0] += own
        totals[name][1] += calls
    return _ranked(totals)


def _built_in(name: str) -> str:
    """Return the last part of <built-in method a.b.c>, and the whole of <method 'a' of 'b' objects>."""
    words = name.strip("<>").split()
    return f"{words[2].rpartition('.')[2]} (built-in)" if words[:2] == ["built-in", "method"] else name.strip("<>")


def _ranked(totals: dict[str, list[float]]) -> list[Cost]:
    costs = [Cost(name, seconds, int(calls)) for name, (seconds, calls) in totals.items()]
    return sorted(costs, key=lambda cost: cost.seconds, reverse=True)
