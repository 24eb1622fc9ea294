"""TensorFlow's trace once more, as trace events: for browsers (ui.perfetto.dev), and for smdebug's readers.

    write(Path(".../plugins/profile/2026_11_24_22_33_22/algo-1.xplane.pb"))      # algo-1.trace.json.gz beside it

TensorFlow has left this file to TensorBoard's plug-in since 2.11; smdebug and AWS's rules read nothing else of a trace.
Waiting threads and allocations, nine events of ten, are left out.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from observability.profiler.files import replace
from observability.profiler.layout import MICROSECONDS
from observability.profiler.operations import PICOSECONDS, trace_format

LEFT_OUT = ("ThreadpoolListener::", "MemoryAllocation", "MemoryDeallocation", "TFE_DeleteTensorHandle")
"""How the names of such events begin."""
SUFFIX = ".xplane.pb"


def write(trace: Path) -> None:
    """Write <name>.trace.json.gz beside <name>.xplane.pb."""
    space = trace_format().XSpace.FromString(trace.read_bytes())
    content = json.dumps({"displayTimeUnit": "ns", "traceEvents": list(events(space))}, separators=(",", ":"))
    path = trace.with_name(f"{trace.name.removesuffix(SUFFIX)}.trace.json.gz")
    replace(path, gzip.compress(content.encode(), compresslevel=5, mtime=0))


def events(space: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - generated
    """Yield a trace's events: a process for each of its planes, a thread for each of its lines."""
    for process, plane in enumerate(space.planes, start=1):
        names = {
            number: metadata.name
            for number, metadata in plane.event_metadata.items()
            if not metadata.name.startswith(LEFT_OUT)
        }
        lines = [line for line in plane.lines if any(event.metadata_id in names for event in line.events)]
        if lines:
            yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": plane.name}}
        for thread, line in enumerate(lines, start=1):
            yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": line.name}}
            for event in line.events:
                if event.metadata_id in names:
                    yield {
                        "ph": "X",
                        "pid": process,
                        "tid": thread,
                        "name": names[event.metadata_id],
                        "ts": round(event.offset_ps / PICOSECONDS * MICROSECONDS, 3),
                        "dur": round(event.duration_ps / PICOSECONDS * MICROSECONDS, 3),
                    }
