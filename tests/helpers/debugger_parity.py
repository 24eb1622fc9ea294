"""Runs inside the image: whole training jobs with the debugger on, beside a recorder that keeps its own numbers.

    python debugger_parity.py FOLDER False,False True,True     # prints what was compared, a JSON line a job

Each pair says whether XLA and mixed precision are on. What the recorder keeps: losses and metrics as Keras reports
them, variables before and after each step, and of the gradients what Adam made of them: its momentum m is
b m + (1 - b) gradient.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from star_rating.hardware import instruction_set

instruction_set.choose(os.environ)  # before TensorFlow is imported, as train.py does

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import tf_keras  # noqa: E402

from star_rating.training import trainer  # noqa: E402
from star_rating.training.loop import FitLoop  # noqa: E402
from tests.helpers.training_job import Outcome, TrainingJob  # noqa: E402

INTERVAL, STEPS = 2, 6
NAMES = ("losses", "metrics", "weights", "biases", "gradients")
HOOK = {
    "HookParameters": {"save_interval": str(INTERVAL)},
    "CollectionConfigurations": [{"CollectionName": name} for name in NAMES],
}

Array = npt.NDArray[Any]


class Recorder(tf_keras.callbacks.Callback):
    """Keeps each step's numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, float]] = []
        self.weights: list[dict[str, Array]] = []
        self.gradients: list[dict[str, Array]] = []
        self._momentums: dict[str, Array] = {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        self._momentums = self._read_momentums()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del batch
        self.logs.append({name: float(value) for name, value in (logs or {}).items() if name != "batch"})
        self.weights.append({variable.name: variable.numpy() for variable in self.model.weights})
        decay, before = self.model.optimizer.beta_1, self._momentums
        self.gradients.append(
            {name: (after - decay * before[name]) / (1 - decay) for name, after in self._read_momentums().items()}
        )

    def _read_momentums(self) -> dict[str, Array]:
        slots = {f"/{slot.name}": slot.numpy().astype(np.float64) for slot in self.model.optimizer.variables}
        momentums = {name.split("/m/")[1].split(":")[0]: value for name, value in slots.items() if "/m/" in name}
        assert set(momentums) == {variable.name.split(":")[0] for variable in self.model.trainable_variables}
        return momentums


def train(folder: Path, settings: dict[str, str]) -> tuple[Outcome, Recorder]:
    """Run a job with the debugger and a recorder."""
    job, recorder = TrainingJob(folder), Recorder()
    config = job.root / "input" / "config"
    config.mkdir(parents=True)
    (config / "debughookconfig.json").write_text(json.dumps(HOOK))

    def loop(model: Any, batches: Any, validation: Any, progress: Any, callbacks: Any) -> FitLoop:
        return FitLoop(model, batches, validation, progress, [*callbacks[:-1], recorder, callbacks[-1]])

    with mock.patch.object(trainer, "FitLoop", loop):
        outcome = job.run(train_batch_size="10", run_test="False", run_sample_predictions="False", **settings)
    assert outcome.exit_code == 0, outcome.log
    return outcome, recorder


def compare(outcome: Outcome, recorder: Recorder) -> dict[str, Any]:
    """Read the tensors back with smdebug, and hold them against the recorder's."""
    from smdebug import modes
    from smdebug.trials import create_trial

    trial = create_trial(outcome.run["debugger"]["out_dir"])
    expected = list(range(0, STEPS, INTERVAL))
    counts = {}
    for collection in NAMES:
        names = trial.tensor_names(collection=collection)
        counts[collection] = len(names)
        for name in names:
            tensor = trial.tensor(name)
            assert tensor.steps(mode=modes.TRAIN) == expected, (name, tensor.steps(mode=modes.TRAIN))
            for step in expected:
                if name != "batch":
                    require_equal(name, tensor.value(step, mode=modes.TRAIN), step, recorder)
    return {"steps": expected, "tensors": counts, "acceleration": outcome.run["acceleration"]}


def require_equal(name: str, value: Array, step: int, recorder: Recorder) -> None:
    """Raise AssertionError if a tensor is not what the recorder has."""
    if name.startswith("gradients/"):
        wanted = recorder.gradients[step][name.removeprefix("gradients/").removesuffix("Grad")]
        assert value.dtype == np.float32
        assert np.abs(wanted).max() > 0, name
        difference = np.abs(value - wanted).max() / np.abs(wanted).max()
        assert difference < 1e-4, (name, step, difference)
    elif "/weights/" in name:
        assert np.array_equal(value, recorder.weights[step][name.split("/weights/")[1]]), (name, step)
    else:
        assert np.isclose(value.item(), recorder.logs[step][name], rtol=1e-6), (name, step)


def main() -> None:
    """Compare in the ways to compute that the arguments name."""
    for xla, amp in (pair.split(",") for pair in sys.argv[2:]):
        folder = Path(sys.argv[1], f"xla-{xla}-amp-{amp}")
        report = compare(*train(folder, {"use_xla": xla, "use_amp": amp}))
        computed = report.pop("acceleration")
        assert (computed["xla"], computed["amp"]) == (xla == "True", amp == "True")
        assert not computed["xla"] or computed["compiled_step"]["compilations"] > 0
        line = {"xla": xla, "amp": amp, "compute_dtype": computed["compute_dtype"], **report}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
