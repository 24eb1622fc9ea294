"""Everything below /opt/ml/model except run.json: exports, metrics, figures, sample predictions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observability.tensorboard import TensorBoardWriter
from star_rating.interruption import Stopped
from star_rating.results import export, figures, model_quality, predictions
from star_rating.results.evaluation import Evaluation, evaluate
from star_rating.results.inference import ModelFolder
from star_rating.training.fit import Fit
from star_rating.training.supervision import Supervision
from star_rating.training.work import Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifacts:
    """What was found while the artifacts were written."""

    test: Evaluation | None
    samples: list[tuple[str, int, float]]
    """Sentence, predicted stars, probability."""
    largest_export_difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return {
            "test": self.test.as_dict()["metrics"] if self.test else None,
            "samples": [
                {"sentence": text, "stars": stars, "probability": share} for text, stars, share in self.samples
            ],
            "largest_export_difference": self.largest_export_difference,
        }


def write_artifacts(
    work: Work, fit: Fit, weights_folder: Path, model_dir: Path, supervision: Supervision
) -> Artifacts | None:
    """Export and verify the model, evaluate the test channel if the job has one, and log what is worth reading.

    A job that was stopped has its model, and no test result. Of several hosts, all evaluate their part of the channel;
    the first alone writes, and the others return None.
    """
    if not work.cluster.is_first:
        _predict_test(work, fit, supervision)
        return None
    hyperparameters = work.hyperparameters
    length = hyperparameters.max_seq_length
    export.export_model(fit.model, weights_folder, model_dir, length, work.data["train"].processing)
    difference = export.verify_exports(fit.model, model_dir, length)
    figures.draw_training_curves(fit.history, model_dir / "metrics" / "training_curves.png")
    predicted = _predict_test(work, fit, supervision)
    confusion_matrix = model_dir / "metrics" / "confusion_matrix.png"
    test = _evaluate_test(predicted, confusion_matrix) if predicted else None
    samples = []
    if hyperparameters.run_sample_predictions:
        samples = predictions.predict_sentences(fit.model, ModelFolder(model_dir), predictions.SAMPLES)
        for sentence, stars, share in samples:
            log.info("sample prediction: %d star(s) with probability %.2f for %r", stars, share, sentence)
    if fit.board is not None:
        _show(fit.board, fit.step, test, confusion_matrix)
    return Artifacts(test, samples, difference)


def _predict_test(work: Work, fit: Fit, supervision: Supervision) -> predictions.Predictions | None:
    """Return the test channel's predictions; None if the job has no such channel, or was stopped."""
    batches = work.evaluation_batches("test")
    if batches is None:
        return None
    try:
        return work.predict(fit.model, batches, supervision)
    except Stopped:
        log.info("the test channel is not evaluated, as the job was stopped")
        return None


def _show(board: TensorBoardWriter, step: int, test: Evaluation | None, confusion_matrix: Path) -> None:
    """Put the test's result, if there is one, on the board, and end its files."""
    if test is not None:
        board.scalars("test", step, {"loss": test.loss, "accuracy": test.accuracy})
        board.image("test", step, "confusion matrix", confusion_matrix.read_bytes())
    board.close()


def _evaluate_test(predicted: predictions.Predictions, picture: Path) -> Evaluation:
    labels, logits, lengths = predicted
    test = evaluate(labels, logits, lengths)
    test.write(picture.parent / "evaluation.json")
    model_quality.write(picture.parent / "model_quality.json", labels, logits)
    predictions.write_predictions(picture.parent / "predictions.csv", labels, logits)
    figures.draw_confusion_matrix(test, picture, f"{test.records:,} test reviews")
    log.info("test %s", test.log_line())
    for line in test.table():
        log.info("test %s", line)
    return test
