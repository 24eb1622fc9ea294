"""Ends a job that is not worth running without its debugger (require_sagemaker_debugger)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tf_keras


class RequiredDebugger(tf_keras.callbacks.Callback):
    """Looks after each step whether tensors are still saved; stands after the hook among the callbacks."""

    def __init__(self, require: Callable[[], None]) -> None:
        super().__init__()
        self._require = require

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Raise DebuggerError: what follows would cost time and be without tensors."""
        del batch, logs
        self._require()
