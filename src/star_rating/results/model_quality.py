"""The evaluation in the shape that SageMaker's Model Registry shows: ModelMetrics.ModelQuality.Statistics.

    write(model_dir / "metrics" / "model_quality.json", labels, logits)

Keys and meaning are those of Model Monitor's multiclass model quality, which the registry and Studio read:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html. To register the model, give
CreateModelPackage ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": ...}}}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from star_rating.results.evaluation import Floats, Integers, confusion_of

SAMPLES = 5
SAMPLE_SHARE = 0.8
"""How Model Monitor computes a standard deviation: over random samples of the records."""
FEWEST_RECORDS = 200
"""Below it there is no standard deviation."""
UNKNOWN = "NaN"
"""What Model Monitor writes for one that it does not compute; JSON has no such number."""


def write(path: Path, labels: Integers, logits: Floats) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(model_quality(labels, logits), indent=2), encoding="utf-8")


def model_quality(labels: Integers, logits: Floats) -> dict[str, Any]:
    """Return the document for labels [records] and logits [records, classes]; the classes are named by their stars."""
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    whole = weighted_scores(confusion_of(labels, predicted, classes))
    # Seeded, so that the same predictions give the same file.
    draws = np.random.default_rng(0)
    size = int(SAMPLE_SHARE * len(labels))
    samples = []
    for _ in range(SAMPLES if len(labels) >= FEWEST_RECORDS else 0):
        rows = draws.choice(len(labels), size, replace=False)
        samples.append(weighted_scores(confusion_of(labels[rows], predicted[rows], classes)))
    confusion = {
        str(true + 1): {str(column + 1): int(count) for column, count in enumerate(row)}
        for true, row in enumerate(confusion_of(labels, predicted, classes))
    }
    metrics = {
        name: {
            "value": value,
            "standard_deviation": float(np.std([sample[name] for sample in samples])) if samples else UNKNOWN,
        }
        for name, value in whole.items()
    }
    return {"multiclass_classification_metrics": {"confusion_matrix": confusion, **metrics}}


def weighted_scores(confusion: Integers) -> dict[str, float]:
    """Return accuracy and the scores weighted by the classes' records, of the model and of the best constant answer."""
    constant = np.zeros_like(confusion)
    support = confusion.sum(axis=1)
    constant[:, support.argmax()] = support
    return _scores(confusion, "") | _scores(constant, "_best_constant_classifier")


def _scores(confusion: Integers, suffix: str) -> dict[str, float]:
    hits, support, predictions = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(predictions, 1), hits / np.maximum(support, 1)

    def mean(of_classes: Floats) -> float:
        return float((of_classes * support).sum() / support.sum())

    def f_score(beta: float) -> Floats:
        # In counts: of a class without record and prediction it is 0, as in scikit-learn.
        denominator = beta**2 * support + predictions
        return np.asarray((1 + beta**2) * hits / np.maximum(denominator, 1))

    scores = {
        "accuracy": float(hits.sum() / support.sum()),
        "weighted_recall": mean(recall),
        "weighted_precision": mean(precision),
        "weighted_f0_5": mean(f_score(0.5)),
        "weighted_f1": mean(f_score(1.0)),
        "weighted_f2": mean(f_score(2.0)),
    }
    return {f"{name}{suffix}": value for name, value in scores.items()}
