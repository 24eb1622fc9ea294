"""Why smdebug turned itself off, which it says in its log alone; import it after smdebug_messages.install().

errors = listen()
errors.text                      # None as long as all is well
"""

from __future__ import annotations

import logging
import threading
import traceback
from pathlib import Path

from smdebug.core.tfevent.event_file_writer import _EventLoggerThread
from smdebug.core.utils import error_handling_agent


class Errors(logging.Handler):
    """Keeps the first error of smdebug: from its log, the only place where it says why it turned itself off."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an exception that smdebug logs; it announces each by a message, which says nothing."""
        if isinstance(record.msg, BaseException):
            self.keep(record.msg)

    def keep(self, error: BaseException) -> None:
        """Keep an error as one line, with the place in smdebug that it came through."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "smdebug" in frame.filename]
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        self.text = self.text or f"{type(error).__name__}: {' '.join(str(error).split())}{where}"

    def watch_threads(self) -> None:
        """Turn smdebug off when its writer thread dies, and keep the training loop from waiting for it.

        The loop puts tensors into a queue and waits until they are written. The thread that writes them ends at the
        first error, a full disk for one; then the loop would wait for ever. Python calls threading.excepthook in the
        thread that dies, and that is where the rest of the queue is thrown away.
        """
        before = threading.excepthook

        def on_error(arguments: threading.ExceptHookArgs) -> None:
            thread = arguments.thread
            if not isinstance(thread, _EventLoggerThread) or arguments.exc_value is None:
                before(arguments)
                return
            self.keep(arguments.exc_value)
            error_handling_agent.disable_smdebug = True
            queue, last = thread._queue, thread._sentinel_event  # noqa: SLF001 - nothing public reaches them
            event = None
            while event is not last:
                event = queue.get()
                queue.task_done()

        threading.excepthook = on_error


def listen() -> Errors:
    """Take over smdebug's log, which is another format on stdout, and what ends its threads."""
    errors = Errors()
    logging.getLogger("smdebug").handlers = [errors]
    errors.watch_threads()
    return errors


def is_disabled() -> bool:
    """Return whether smdebug has turned itself off after an error."""
    return bool(error_handling_agent.disable_smdebug)
