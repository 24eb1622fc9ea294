"""XLA's training step: compiled once for each shape of batch, which is counted, and timed against the step without XLA.

    compiled = CompiledStep(model, seconds_without=2.3)      # after compile, before fit
    model.fit(...)
    compiled.record()                                        # {"compilations": 5, "seconds_per_step": 3.1}

Keras's own `jit_compile` would compile evaluation too, whose two shapes and few steps never earn that back, and says
nothing about what it compiled. TensorFlow compiles a cluster for each distinct tuple of argument shapes (and for
nothing else here: no argument's value is a compile-time constant), so counting the shapes that reach the compiled
function counts its compilations; a test holds this against TensorFlow's own log.
"""

from __future__ import annotations

import logging
import statistics
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from star_rating.autotune.measurement import slower_setting

log = logging.getLogger(__name__)

STEPS_TIMED = 20
"""Steps that did not compile, after which the warning is due; their median passes over validation and log lines."""


class CompiledStep:
    """A model's training step under XLA."""

    def __init__(self, model: tf_keras.Model, seconds_without: float | None = None, method: str = "train_step") -> None:
        """Make a method of `model` compiled; `seconds_without` XLA are what a trial has measured."""
        self.shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._seconds: list[float] = []
        self._seconds_without = seconds_without
        self._previous: float | None = None
        """When the last step began; None if it compiled."""
        compiled = tf.function(getattr(model, method), jit_compile=True, reduce_retracing=True)

        def step(data: Any) -> Any:  # noqa: ANN401 - Keras's
            tf.numpy_function(self._begin, [tf.shape(tensor) for tensor in tf.nest.flatten(data)], [])
            return compiled(data)

        setattr(model, method, step)

    def record(self) -> dict[str, int | float | None]:
        """Return what run.json keeps."""
        return {"compilations": len(self.shapes), "seconds_per_step": self._median()}

    def _begin(self, *shapes: npt.NDArray[np.int32]) -> None:
        """Note that a step begins, on a batch of these shapes."""
        now = time.monotonic()
        if self._previous is not None and len(self._seconds) < STEPS_TIMED:
            self._seconds.append(now - self._previous)
            if len(self._seconds) == STEPS_TIMED:
                self._warn()
        key = tuple(tuple(int(size) for size in shape) for shape in shapes)
        self._previous = now
        if key not in self.shapes:
            self._previous = None
            self.shapes.add(key)
            log.info("XLA compiles the training step for shape %d of its batches", len(self.shapes))

    def _median(self) -> float | None:
        return statistics.median(self._seconds) if self._seconds else None

    def _warn(self) -> None:
        if self._seconds_without is not None:
            warning = slower_setting("use_xla", statistics.median(self._seconds), self._seconds_without, value=True)
            if warning:
                log.warning(warning)
