"""A thread beside training that reads the system's metrics, and writes them and what training hands over.

    recorder = Recorder(layout, files, interval_seconds=0.5, timeline=timeline)
    recorder.start()
    ...
    recorder.stop()

It sleeps but for a millisecond an interval, holds nothing that training waits for, and ends with the process.
"""

from __future__ import annotations

import json
import logging
import threading
import time

from observability.profiler import usage
from observability.profiler.files import Files
from observability.profiler.layout import ProfileLayout
from observability.profiler.timeline import Timeline

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long the end of a job waits for the thread's last write."""


class Recorder:
    """Reads the system's metrics from start to stop."""

    def __init__(self, layout: ProfileLayout, files: Files, interval_seconds: float, timeline: Timeline) -> None:
        self.readings = 0
        self.seconds = 0.0
        """Processor time that all readings have taken."""
        self._layout = layout
        self._files = files
        self._interval = interval_seconds
        self._timeline = timeline
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record, name="profiler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with what is pending on disk; may be called again. A disk that does not answer is not waited for."""
        self._ended.set()
        self._thread.join(PATIENCE_SECONDS)
        if not self._thread.is_alive():
            self._timeline.write()

    def _record(self) -> None:
        try:
            self._read_until_ended()
        except Exception as error:  # noqa: BLE001 - a kernel that counts otherwise must not put a traceback in the log
            log.warning("profiler: no more system metrics, training goes on: %s: %s", type(error).__name__, error)

    def _read_until_ended(self) -> None:
        before = usage.read()
        due = time.monotonic() + self._interval
        while not self._ended.wait(max(due - time.monotonic(), 0.0)):
            after = usage.read()
            now = time.time()
            self._files.append(self._layout.system_metrics(now), lines(usage.metrics(before, after), self._layout, now))
            self._timeline.write_when_due(now)
            before = after
            self.readings += 1
            # A reading that was late, as after a pause of the container, is neither made up for nor followed at once.
            due = max(due + self._interval, time.monotonic() + self._interval / 2)
            self.seconds = time.thread_time()


def lines(metrics: list[usage.Metric], layout: ProfileLayout, now: float) -> bytes:
    """Return metrics as SageMaker's files hold them: one JSON object a line."""
    timestamp = round(now, 6)
    rows = (
        {
            "Type": metric.type,
            "Name": metric.name,
            "Dimension": metric.dimension,
            "Value": metric.value,
            "NodeId": layout.node,
            "Timestamp": timestamp,
        }
        for metric in metrics
    )
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()
