"""Real signals at chosen moments of a training job in this process.

signal_at(monkeypatch, "on_train_batch_end", 3)      # SIGTERM in the third step
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from star_rating.training.loop import LifecycleCallback


def signal_at(monkeypatch: pytest.MonkeyPatch, method: str, count: int) -> None:
    """Send SIGTERM to this process when a method of LifecycleCallback is called for the count-th time."""
    real: Callable[..., None] = getattr(LifecycleCallback, method)
    calls = []

    def signalled(self: LifecycleCallback, *arguments: Any, **keywords: Any) -> None:
        calls.append(arguments)
        if len(calls) == count:
            self.stop.enable_graceful_stop()
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, *arguments, **keywords)

    monkeypatch.setattr(LifecycleCallback, method, signalled)
