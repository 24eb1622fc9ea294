"""MLflow as the trainer knows it: open, and attach. Without a tracking server it does nothing and imports nothing.

    with open_tracking(contract, parameters, os.environ, checkpoints=folder) as tracking:
        model.fit(..., callbacks=[progress, *tracking.callbacks(progress.history, learning_rate)])

The run ends with the block: with the results in model_dir, or as failed.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.mlflow.settings import read_settings
from observability.mlflow.tracker import Tracker, result_files
from star_rating.contract import Contract, read_object

if TYPE_CHECKING:  # it imports TensorFlow
    from observability.tensorboard import History

log = logging.getLogger(__name__)

IMAGE = {"image.version": "IMAGE_VERSION", "image.source": "IMAGE_SOURCE", "mlflow.source.git.commit": "IMAGE_REVISION"}
"""Tags -> the variables of the image that have them."""


class Tracking:
    """The run on the job's tracking server, or none."""

    def __init__(self, tracker: Tracker | None, model_dir: Path) -> None:
        self._tracker = tracker
        self._model_dir = model_dir
        self._begun = False

    def callbacks(self, history: History, learning_rate: Callable[[], float]) -> list[Any]:
        """Connect, say what is wrong with the server, and return what hands the history over; after ProgressLog."""
        if self._tracker is None:
            return []
        # It imports Keras, which is to be imported after its environment is set.
        from observability.mlflow.callback import MlflowCallback

        self._tracker.begin()
        self._begun = True
        callback = MlflowCallback(self._tracker, history, learning_rate)
        callback.hand_over()  # now: a job whose training is complete does not train
        return [callback]

    def finish(self) -> None:
        """Log the test's result and the files of model_dir, and end the run; of a job that was stopped, no model."""
        if self._tracker is None or not self._begun:
            return
        self._begun = False
        try:
            self._log_results(self._tracker)
        except Exception as error:  # noqa: BLE001 - a trained model is worth more than its run on a server
            log.warning("mlflow: the run is incomplete: %s: %s", type(error).__name__, error)

    def _log_results(self, tracker: Tracker) -> None:
        run = json.loads((self._model_dir / "run.json").read_text(encoding="utf-8"))
        stopped, step = run["stopped"] is not None, run["steps"]["done"]
        values = {f"test:{name}": entry["value"] for name, entry in (run["test"] or {}).items()}
        tracker.log(step, {name: value for name, value in values.items() if isinstance(value, int | float)})
        files = result_files(self._model_dir)
        if stopped:
            files = {"": files[""]}
        record = tracker.finish(files, status="KILLED" if stopped else "FINISHED")
        log.info("mlflow: run %s has %d of %d metric values", record["run_id"], *record["points"].values())

    def fail(self) -> None:
        """End the run as failed, if it has begun."""
        if self._tracker is not None and self._begun:
            self._begun = False
            self._tracker.finish({}, status="FAILED")


@contextlib.contextmanager
def open_tracking(
    contract: Contract, parameters: Mapping[str, object], environ: Mapping[str, str], *, checkpoints: Path | None
) -> Iterator[Tracking]:
    """Read the job's tracking server, on the first host; raise ConfigurationError for an address that is none.

    `checkpoints` is the folder that keeps the run's id for a job that resumes, None if there are no checkpoints.
    """
    settings = read_settings(environ, contract.training_job_name)
    tracker = None
    if settings is not None and contract.current_host == contract.hosts[0]:
        tracker = Tracker(
            settings,
            parameters,
            tags(contract, environ),
            state_file=checkpoints / "mlflow.json" if checkpoints else None,
            unsent=contract.output_dir / "data" / "mlflow",
        )
    tracking = Tracking(tracker, contract.model_dir)
    try:
        yield tracking
    except BaseException:
        tracking.fail()
        raise
    tracking.finish()


def tags(contract: Contract, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what identifies the job: its name and ARN, image, commit, instance and hosts."""
    resources = read_object(contract.config_dir / "resourceconfig.json") or {}
    found = {
        "mlflow.source.name": "distilbert-trainer",
        "mlflow.source.type": "JOB",
        "training_job_name": contract.training_job_name,
        "training_job_arn": environ.get("TRAINING_JOB_ARN", ""),
        "image.digest": environ.get("IMAGE_DIGEST", ""),
        "instance_type": str(resources.get("current_instance_type", "")),
        "hosts": str(len(contract.hosts)),
        **{tag: environ.get(variable, "") for tag, variable in IMAGE.items()},
    }
    return {name: value for name, value in found.items() if value}
