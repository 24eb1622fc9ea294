"""One training job from its channels to model.tar.gz's contents: set up, fit, export, evaluate, record.

    Trainer(hyperparameters, contract, hardware, cluster, stop, watchdog, observers=observers).run(started)

Imports TensorFlow: its environment has to be prepared before this module is imported (src/train.py). Of several hosts
all set up, fit and evaluate; the chief alone writes what there is one of.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from star_rating.autotune.autotuner import Trial
from star_rating.autotune.compute_plan import ComputePlan, decide, has_gpu, plan_from_record
from star_rating.checkpointing.broadcast import broadcast_checkpoint
from star_rating.checkpointing.checkpoints import (
    CheckpointCallback,
    CheckpointManager,
    load_latest,
    threads_of_last_checkpoint,
)
from star_rating.checkpointing.run_state import run_fingerprint
from star_rating.contract import Contract
from star_rating.data.channel import Channel, open_channel, require_several_classes
from star_rating.data.leakage import check_leakage
from star_rating.data.pipeline import batches_in_a_pass, steps_per_epoch
from star_rating.data.records import Limits
from star_rating.distributed import collectives
from star_rating.distributed.channels import DistributedChannel, distribute_channel
from star_rating.distributed.cluster import Cluster
from star_rating.distributed.strategy import Strategy, make_strategy
from star_rating.hardware import HardwareInfo
from star_rating.hardware.calibration import Work, calibrate, matrix_products
from star_rating.hardware.threads import Threads
from star_rating.hyperparameters import Hyperparameters
from star_rating.interruption import Stopped, StopRequest
from star_rating.logs import History
from star_rating.model import pretrained_weights, weights
from star_rating.model.optimizer import current_learning_rate
from star_rating.model.train_step import TrainableClassifier, build_model
from star_rating.model.xla import pad_to_buckets
from star_rating.results import export, model_quality, predictions, run_record
from star_rating.results.calibration import UNCALIBRATED, Calibration, fit_temperature
from star_rating.results.evaluation import Evaluation, evaluate
from star_rating.results.inference import ModelFolder
from star_rating.training.best_epoch import BestEpochCallback
from star_rating.training.loop import FitLoop, LifecycleCallback
from star_rating.training.nonfinite import NonFiniteGuard
from star_rating.training.observers import Observers
from star_rating.training.progress import ProgressLogger
from star_rating.training.watchdog import FIRST_STEP_PATIENCE, Watchdog

log = logging.getLogger(__name__)

CALIBRATION_TOKENS = 2048
"""At most, of the products that choose the threads: some tenths of a second each on a few cores."""


@dataclass(frozen=True)
class FitResult:
    """A fit that has ended, or was stopped."""

    model: TrainableClassifier
    history: History
    step: int
    """Training steps done, those before a resume included."""
    total_steps: int
    skipped_steps: list[int]
    exported: Mapping[str, Any]
    """Which epoch's weights the model has, and why."""
    checkpoints: Mapping[str, Any]
    debugger: Mapping[str, Any]
    xla: Mapping[str, Any] | None
    """What XLA compiled; None without it."""
    seconds: float


class Trainer:
    """One host's part in a job; a job of one host is a cluster of one."""

    weights: weights.Weights
    pretrained: pretrained_weights.PretrainedWeights
    data: Mapping[str, Channel]
    strategy: Strategy
    steps_per_epoch: int
    checkpointing: CheckpointManager
    plan: ComputePlan

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        contract: Contract,
        hardware: HardwareInfo,
        cluster: Cluster,
        stop: StopRequest,
        watchdog: Watchdog,
        *,
        observers: Observers,
    ) -> None:
        self.hyperparameters = hyperparameters
        self.contract = contract
        self.hardware = hardware
        self.cluster = cluster
        self.stop = stop
        self.watchdog = watchdog
        self.observers = observers

    def run(self, started: float) -> None:
        """Run the job, or what there is time for once a stop is requested; `started` as time.monotonic() counts."""
        self.set_up()
        fitted = self.fit()
        hosts = self.strategy.host_records(fitted.model.trainable_variables, self.data)
        found: dict[str, Any] = {}
        calibration = self.calibrate(fitted)
        if self.cluster.is_chief:
            found["largest_export_difference"] = self.export(fitted, calibration)
        test = self.evaluate(fitted, calibration)
        if self.cluster.is_chief:
            found |= {
                "test": test.as_dict()["metrics"] if test else None,
                "calibration": test.calibration if test else calibration.as_dict(),
                "samples": self.predict_samples(fitted, calibration),
            }
        profile = self.observers.finish()
        total_seconds = time.monotonic() - started
        if self.cluster.is_chief:
            self._write_record(fitted, hosts, profile, found, total_seconds)
        self.cluster.barrier()
        place = f"in {self.contract.model_dir}" if self.cluster.is_chief else f"with {self.cluster.hosts[0]}"
        log.info("done in %.0f s; the model is %s", total_seconds, place)
        if self.stop.is_requested and self.cluster.is_chief:
            log.info("stopped by %s at step %d, %.1f s ago", self.stop.by, fitted.step, self.stop.seconds)

    def set_up(self) -> None:
        """Load weights, data and checkpoint, and plan the computation: what can be wrong is said before the first step.

        Afterwards every random number follows from the seed.
        """
        settings, contract = self.hyperparameters, self.contract
        self.weights = weights.resolve(settings.model, contract.channels, os.environ)
        self.pretrained = pretrained_weights.load(self.weights.folder).with_pooling(settings.pooling, settings.seed)
        self.hardware = dataclasses.replace(self.hardware, threads=self._choose_threads(), gpu=has_gpu())
        collectives.start(self.cluster)  # before TensorFlow's first operation, and after what chooses its threads
        self.cluster.require_same({**settings.as_dict(), "weights": self.weights.sha256, **run_record.versions()})
        self.data = self._open_channels()
        train = self.data["train"]
        require_several_classes(train)
        export.require_space(contract.model_dir, self.pretrained)
        for name, channel in self.data.items():
            log.info(
                "channel %s: %d reviews in %d file(s), stars %s",
                name,
                channel.records,
                len(channel.files),
                channel.stars,
            )
        batch_size = settings.train_batch_size
        self.strategy = make_strategy(self.cluster, self.stop, train, batch_size, settings.max_seq_length)
        self.steps_per_epoch = steps_per_epoch(train, batch_size, settings.train_steps_per_epoch)
        fingerprint = run_fingerprint(settings, self.weights, train)
        self.checkpointing = broadcast_checkpoint(
            self.cluster,
            lambda: load_latest(settings, contract, fingerprint),
            fingerprint,
            train.shards if isinstance(train, DistributedChannel) else None,
        )
        with self.watchdog.paused():  # it may measure, in a child process that ends in time by itself
            self.plan = self._plan_computation()
        self.plan.apply()
        tf_keras.utils.set_random_seed(settings.seed)

    def fit(self) -> FitResult:
        """Train, or go on from the checkpoint; evaluate the validation channel, if given, after each epoch.

        A requested stop ends the fit between two batches, with a checkpoint.
        """
        started = time.monotonic()
        settings, total_steps = self.hyperparameters, self._total_steps
        model = build_model(settings, self.pretrained, total_steps, self.strategy, self.data["train"].label_histogram)
        compiled = model.compile_with_xla(self.plan.compare_with_xla) if self.plan.mode.xla else None
        log.info("training %d epoch(s) of %d steps", settings.epochs, self.steps_per_epoch)

        progress = ProgressLogger(History(), settings.epochs, self.steps_per_epoch, settings.log_every_steps)
        guard = NonFiniteGuard(progress, settings.skip_nonfinite_steps, self._records_of_batch, self.checkpointing.last)
        best = BestEpochCallback(settings, progress.history)
        checkpoints = CheckpointCallback(
            self.checkpointing,
            settings,
            self.plan.record(),
            progress,
            guard,
            best,
            critical_section=self.cluster.critical_section,
        )
        if checkpoints.resume(model):
            self.stop.enable_graceful_stop()
        if progress.epochs_ended == settings.epochs or model.stop_training:
            log.info("training was complete; what is left is evaluation and export")
        self.watchdog.heartbeat("the first step", patience=FIRST_STEP_PATIENCE)
        callbacks = self.observers.attach(
            [guard, progress, best, checkpoints, self._lifecycle()],
            progress,
            validation_batches=self._validation_batches(),
            learning_rate=lambda: current_learning_rate(model.optimizer),
            on_finding=self.stop.request,
        )
        try:
            FitLoop(model, self._training_batches, self._evaluation_batches("validation"), progress, callbacks).run()
        except Stopped:
            log.info(
                "stopping at step %d of %d, %.1f s after %s asked for it",
                progress.step,
                total_steps,
                self.stop.seconds,
                self.stop.by,
            )
            checkpoints.write()
        exported = best.select(model, progress.step)
        seconds = time.monotonic() - started
        return FitResult(
            model=model,
            history=progress.history,
            step=progress.step,
            total_steps=total_steps,
            skipped_steps=guard.skipped,
            exported=exported,
            checkpoints=checkpoints.record(seconds),
            debugger=self.observers.finish_fit(seconds),
            xla=compiled.record() if compiled else None,
            seconds=seconds,
        )

    def calibrate(self, fitted: FitResult) -> Calibration:
        """Fit the temperature of the exported probabilities on the validation channel, if the job has one."""
        predicted = self._predict(fitted, "validation")
        return fit_temperature(predicted.labels, predicted.logits) if predicted else UNCALIBRATED

    def export(self, fitted: FitResult, calibration: Calibration) -> float:
        """Write the model in both formats, load it back, draw the curves; return the largest difference of logits."""
        # Not earlier: it brings matplotlib, and the first step does not have to wait for that.
        from star_rating.results import figures

        model_dir, length = self.contract.model_dir, self.hyperparameters.max_seq_length
        processing = self.data["train"].processing
        export.export_model(fitted.model, self.weights.folder, model_dir, length, processing, calibration)
        difference = export.verify_exports(fitted.model, model_dir, length)
        figures.draw_training_curves(fitted.history, model_dir / "metrics" / "training_curves.png")
        return difference

    def evaluate(self, fitted: FitResult, calibration: Calibration) -> Evaluation | None:
        """Evaluate the test channel; the chief writes and logs the result. None without one, or after a stop."""
        predicted = self._predict(fitted, "test")
        if predicted is None:
            return None
        labels, logits, lengths = predicted
        test = dataclasses.replace(
            evaluate(labels, logits, lengths, calibration.temperature),
            calibration={**calibration.as_dict(), **calibration.effect(labels, logits)},
        )
        if self.cluster.is_chief:
            from star_rating.results import figures

            metrics = self.contract.model_dir / "metrics"
            test.write(metrics / "evaluation.json")
            model_quality.write(metrics / "model_quality.json", labels, logits)
            predictions.write_predictions(metrics / "predictions.csv", labels, logits, calibration.temperature)
            confusion_matrix = metrics / "confusion_matrix.png"
            figures.draw_confusion_matrix(test, confusion_matrix, f"{test.records:,} test reviews")
            log.info("test %s", test.log_line())
            for line in test.table():
                log.info("test %s", line)
            self.observers.show_test(fitted.step, {"loss": test.loss, "accuracy": test.accuracy}, confusion_matrix)
        return test

    def predict_samples(self, fitted: FitResult, calibration: Calibration) -> list[dict[str, Any]]:
        """Predict a few sentences for the eye, if asked to; return what run.json keeps."""
        if not self.hyperparameters.run_sample_predictions:
            return []
        folder = ModelFolder(self.contract.model_dir)
        samples = predictions.predict_sentences(fitted.model, folder, predictions.SAMPLES, calibration.temperature)
        for sentence, stars, probability in samples:
            log.info("sample prediction: %d star(s) with probability %.2f for %r", stars, probability, sentence)
        return [
            {"sentence": sentence, "stars": stars, "probability": probability}
            for sentence, stars, probability in samples
        ]

    def _predict(self, fitted: FitResult, channel: str) -> predictions.Predictions | None:
        """Return all hosts' predictions of a channel; None if the job has no such channel, or was stopped."""
        batches = self._evaluation_batches(channel)
        if batches is None:
            return None
        try:
            guarded = self._lifecycle().guarded(batches, "evaluation")
            return predictions.predict_channel(fitted.model, guarded, self.strategy)
        except Stopped:
            log.info("the %s channel is not evaluated, as the job was stopped", channel)
            return None

    def _write_record(
        self,
        fitted: FitResult,
        hosts: list[dict[str, Any]],
        profile: Mapping[str, Any],
        found: Mapping[str, Any],
        total_seconds: float,
    ) -> None:
        run_record.write(
            self.contract.model_dir / "run.json",
            {
                "training_job_name": self.contract.training_job_name,
                "image": run_record.image(os.environ),
                "versions": run_record.versions(),
                "machine": run_record.machine(),
                "hosts": hosts,
                "hyperparameters": self.hyperparameters.as_dict(),
                "weights": self.weights.as_dict(),
                "channels": run_record.channels(self.data),
                "acceleration": {**self.plan.record(), "compiled_step": fitted.xla},
                "debugger": fitted.debugger,
                "profiler": profile,
                "steps": {"done": fitted.step, "of": fitted.total_steps, "skipped": fitted.skipped_steps},
                "stopped": self.stop.record(),
                "exported": fitted.exported,
                "checkpoints": fitted.checkpoints,
                "history": fitted.history.as_dict(),
                **found,
                "seconds": {
                    "first_step": fitted.history.first_step_seconds,
                    "fit": fitted.seconds,
                    "total": total_seconds,
                },
            },
        )

    @property
    def _total_steps(self) -> int:
        return self.hyperparameters.epochs * self.steps_per_epoch

    def _open_channels(self) -> dict[str, Channel]:
        """Check the channels that this job reads, those of several hosts also against each other."""
        settings, folders, vocabulary_size = (
            self.hyperparameters,
            self.contract.channels,
            self.pretrained.config.vocab_size,
        )

        def on_progress() -> None:
            self.watchdog.heartbeat("reading the channels")

        data = {
            name: open_channel(
                name,
                folders.get(name),
                max_seq_length=settings.max_seq_length,
                vocabulary_size=vocabulary_size,
                tokenizer=self.weights.tokenizer,
                shared=self.cluster.size > 1,
                on_progress=on_progress,
            )
            for name in settings.needed_channels
        }
        if self.cluster.size > 1:
            data = {
                name: distribute_channel(self.cluster, channel, folders.get(name)) for name, channel in data.items()
            }
        check_leakage(data, Limits(settings.max_seq_length, vocabulary_size), on_progress)
        return data

    def _choose_threads(self) -> Threads:
        """Decide on the chief, by a measurement where cores have hardware threads; the others do the same."""
        settings, config, threads = self.hyperparameters, self.pretrained.config, self.hardware.threads
        tokens = min(settings.train_batch_size * settings.max_seq_length // 2, CALIBRATION_TOKENS)

        def make_work() -> Work:
            return matrix_products(tokens, config.dim, config.hidden_dim)

        chosen = None
        if self.cluster.is_chief:
            enabled = settings.enable_checkpointing
            chosen = calibrate(
                threads, make_work, lambda: threads_of_last_checkpoint(self.contract, enabled), os.environ
            )
        record = self.cluster.broadcast(chosen.record() if chosen else None)
        return chosen or calibrate(threads, make_work, lambda: record, os.environ)

    def _plan_computation(self) -> ComputePlan:
        """Decide on the chief, from what it has of each batch; the others do the same."""
        train, plan = self.data["train"], None
        if self.cluster.is_chief:
            local_batch_size = self.strategy.local_batch_size(train, self.hyperparameters.train_batch_size)
            trial = Trial(
                dataclasses.replace(self.hyperparameters, train_batch_size=local_batch_size),
                self.pretrained,
                self.strategy.local_channel(train),
                self._total_steps,
            )
            state = self.checkpointing.state
            plan = decide(trial, self.hardware, state.acceleration if state else None)
        record = self.cluster.broadcast(plan.record() if plan else None)
        return plan or plan_from_record(record, self.hardware)

    def _lifecycle(self) -> LifecycleCallback:
        return LifecycleCallback(self.stop, self.watchdog, self.strategy)

    def _training_batches(self, step: int) -> tf.data.Dataset:
        """Return the endless batches after `step` steps; under XLA, of few shapes."""
        settings, train = self.hyperparameters, self.data["train"]
        batches = self.strategy.training_batches(
            train, settings.train_batch_size, settings.max_seq_length, seed=settings.seed, first_batch=step
        )
        if not self.plan.mode.xla:
            return batches
        return pad_to_buckets(batches, self.strategy.local_batch_size(train, settings.train_batch_size))

    def _records_of_batch(self, batch: int) -> list[Any]:
        """Return file and record of what this host has of a batch, from 0."""
        settings = self.hyperparameters
        return self.strategy.records_of_batch(
            self.data["train"], settings.train_batch_size, seed=settings.seed, batch=batch
        )

    def _evaluation_batches(self, channel: str) -> tf.data.Dataset | None:
        """Return the batches of "validation" or "test"; None if the job has no such evaluation."""
        if channel not in self.data:
            return None
        batch_size, steps = self.hyperparameters.evaluation_size(channel)
        return self.strategy.evaluation_batches(
            self.data[channel], batch_size, self.hyperparameters.max_seq_length, steps=steps
        )

    def _validation_batches(self) -> int:
        """Return the number of batches that each epoch ends with, on one host."""
        if "validation" not in self.data:
            return 0
        batch_size, steps = self.hyperparameters.evaluation_size("validation")
        batches = batches_in_a_pass(self.data["validation"], batch_size)
        return min(batches, steps or batches)
