"""Epoch checkpoints: weights, optimizer and epoch under /opt/ml/checkpoints, which SageMaker mirrors to S3.

checkpoints = Checkpoints(model, folder, fingerprint)
first_epoch = checkpoints.restore()        # 0 when there is none
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.failures import ConfigurationError

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints on disk: the newest, and the one before in case a write was cut off. Each deletion reaches S3 too."""


class Checkpoints(tf_keras.callbacks.Callback):
    """Restores the newest checkpoint, and writes one at each epoch's end."""

    def __init__(self, model: tf_keras.Model, folder: Path, fingerprint: Mapping[str, str | int]) -> None:
        super().__init__()
        self.folder = folder
        self.fingerprint = dict(fingerprint)
        self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        # The optimizer's slots must exist before a restore, or they come back empty.
        model.optimizer.build(model.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epochs_done=self.epochs_done)
        self.manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=KEPT, checkpoint_name="epoch")

    def restore(self) -> int:
        """Load the newest checkpoint if there is one; return the number of epochs that it holds."""
        newest = self.manager.latest_checkpoint
        if newest is None:
            log.info("checkpointing to %s; none there yet", self.folder)
            return 0
        self._check_fingerprint()
        self.manager.checkpoint.restore(newest).assert_existing_objects_matched()
        log.info("resumed from %s: %d epoch(s) done", newest, int(self.epochs_done))
        return int(self.epochs_done)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint."""
        del logs
        self.epochs_done.assign(epoch + 1)
        self._fingerprint_file.write_text(json.dumps(self.fingerprint, indent=2), encoding="utf-8")
        log.info("checkpoint written: %s", self.manager.save(checkpoint_number=epoch + 1))

    @property
    def _fingerprint_file(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / "fingerprint.json"

    def _check_fingerprint(self) -> None:
        saved = (
            json.loads(self._fingerprint_file.read_text(encoding="utf-8")) if self._fingerprint_file.exists() else {}
        )
        different = [name for name, value in self.fingerprint.items() if saved.get(name) != value]
        if different:
            raise ConfigurationError(
                f"The checkpoint in {self.folder} belongs to another run: {', '.join(different)} differ(s). "
                "Give the job an empty checkpoint path, or the settings and data of that run."
            )
