"""Our trainer as shipped: src/train.py itself, on a channel of TFRecords, ended after the steps to measure.

The job is the notebook's in length (three epochs of 100 steps), so that `auto` decides as in a real job; the process
ends when the measured steps are done, and the exports at the end of a job are not part of what is compared. With
--trace, some more steps follow, of which TensorFlow's profiler writes a trace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import train
from benchmarks.contestants import clock as clocks
from star_rating import quiet_tensorflow

EPOCHS, STEPS_AN_EPOCH = 3, 100
TRACED_STEPS = 2
"""The last of them only ends the one before it (scaling_ops.py)."""


def main() -> None:
    """Run the job; it ends the process itself."""
    options = clocks.arguments()
    os.environ["SAGEMAKER_BASE_DIR"] = str(options.case / "ml")
    os.environ["DISTILBERT_WEIGHTS"] = str(options.weights)
    sys.argv[1:] = [word for name, value in hyperparameters(options).items() for word in (f"--{name}", str(value))]
    load = quiet_tensorflow.import_tensorflow

    def load_and_time() -> None:
        load()
        time_steps(options.steps, options.trace)

    # Not earlier: the trainer has to prepare TensorFlow's environment before anything imports it.
    quiet_tensorflow.import_tensorflow = load_and_time
    sys.exit(f"the trainer ended before step {options.steps}, with exit code {train.main()}")


def hyperparameters(options: argparse.Namespace) -> dict[str, object]:
    """Return the job's settings; what is not here stays at its default."""
    settings: dict[str, object] = {
        "epochs": EPOCHS,
        "train_steps_per_epoch": STEPS_AN_EPOCH,
        "train_batch_size": options.batch_size,
        "max_seq_length": options.length,
        "learning_rate": options.learning_rate,
        "run_validation": False,
        "run_test": False,
    }
    if options.trace:  # of the step alone; and TensorFlow has one profiler at a time
        settings |= {"enable_profiler": False, "enable_sagemaker_debugger": False}
    if options.float32 or options.bfloat16:
        settings |= {"use_xla": False, "use_amp": options.bfloat16}
    return settings


def time_steps(steps: int, trace: Path | None) -> None:
    """Make the trainer's own callback tell a clock when a step ends, and end the process after the last."""
    import tensorflow as tf  # noqa: PLC0415 - after the trainer has prepared its environment

    from star_rating.training.progress import ProgressLogger  # noqa: PLC0415 - it imports TensorFlow

    clock = clocks.StepClock()
    log_step = ProgressLogger.on_train_batch_end
    last = steps + (TRACED_STEPS if trace else 0)

    def log_and_time_step(self: ProgressLogger, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        log_step(self, batch, logs)
        clock.step_ended(float((logs or {})["loss"]))
        done = len(clock.step_ends)
        if trace and done == steps:
            tf.profiler.experimental.start(str(trace))
        if done == last:
            if trace:
                tf.profiler.experimental.stop()
            clock.step_ends, clock.losses = clock.step_ends[:steps], clock.losses[:steps]
            clock.report(compute=self.model.distilbert.compute_dtype)
            os._exit(0)

    ProgressLogger.on_train_batch_end = log_and_time_step  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
