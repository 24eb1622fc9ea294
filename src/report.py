"""Prints what a training run is worth: its test scores beside the baselines, confusion matrix, sample predictions.

docker run --rm -v $PWD/model:/opt/ml/model -v $PWD/channels:/opt/ml/input/data IMAGE report
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from star_rating import quiet_tensorflow
from star_rating.failures import ConfigurationError, DataError, ExitCode, Failure


def main() -> int:
    """Read the model folder and the channels, and print the report."""
    parser = argparse.ArgumentParser(
        prog="report", description="Report on a trained model, with baselines computed anew."
    )
    parser.add_argument(
        "--model-dir", type=Path, default=Path("/opt/ml/model"), help="what training left (default: %(default)s)"
    )
    parser.add_argument(
        "--channels", type=Path, default=Path("/opt/ml/input/data"), help="train/ and test/ (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        for line in report(arguments.model_dir, arguments.channels):
            print(line)  # noqa: T201 - this command's output
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)  # noqa: T201
        return failure.exit_code
    return ExitCode.SUCCESS


def report(model_dir: Path, channels: Path) -> Iterator[str]:
    """Yield the report's lines; raise Failure where a file that it needs is missing."""
    evaluation = _read_json(model_dir / "metrics" / "evaluation.json")
    run = _read_json(model_dir / "run.json")
    for name in ("train", "test"):
        if not (channels / name).is_dir():
            raise DataError(
                f"{channels / name} is missing: the baselines need the channels of the run. Mount them there."
            )
    yield ""
    yield f"{evaluation['records']} test reviews, {run['channels']['train']['records']} train reviews"
    yield f"weights: {run['weights']['name']} ({run['weights']['source']})"
    yield ""
    yield from _scores(evaluation, channels, run["hyperparameters"]["max_seq_length"])
    yield ""
    yield from _confusion_matrix(evaluation)
    if run["samples"]:
        yield ""
        yield "sample predictions"
        for sample in run["samples"]:
            yield f"  {'*' * sample['stars']:<5} {sample['probability']:4.0%}  {sample['sentence']}"


def _read_json(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is missing: report on the model folder of a finished run with run_test=True."
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is damaged ({error}); train again.") from None


def _scores(evaluation: Mapping[str, Any], channels: Path, max_seq_length: int) -> Iterator[str]:
    quiet_tensorflow.import_tensorflow()
    from star_rating.results import baseline

    train = baseline.read_channel(channels / "train", max_seq_length)
    test = baseline.read_channel(channels / "test", max_seq_length)
    classes = len(evaluation["per_class"])
    linear = baseline.tf_idf_logistic_regression(train, test, classes)
    largest = baseline.largest_class(train[1], test[1], classes)
    trained = {name: entry["value"] for name, entry in evaluation["metrics"].items()}
    yield f"{'':38}{'accuracy':>9}{'within one star':>17}{'macro F1':>10}"
    rows = {
        "this model": (trained["accuracy"], trained["within_one_star"], trained["macro_f1"]),
        "baseline: TF-IDF, logistic regression": (linear.accuracy, linear.within_one_star, linear.macro_f1),
        "baseline: always the largest class": (largest.accuracy, largest.within_one_star, largest.macro_f1),
    }
    for name, (accuracy, within, f1) in rows.items():
        yield f"{name:38}{accuracy:>9.3f}{within:>17.3f}{f1:>10.3f}"


def _confusion_matrix(evaluation: Mapping[str, Any]) -> Iterator[str]:
    stars = list(evaluation["per_class"])
    yield f"{'confusion matrix':18}{'predicted':>10}"
    yield f"{'true':>18}" + "".join(f"{star + ' star':>8}" for star in stars) + f"{'recall':>9}"
    for star, row in zip(stars, evaluation["confusion_matrix"]["counts"], strict=True):
        recall = f"{evaluation['per_class'][star]['recall']:.0%}" if any(row) else "-"
        yield f"{star + ' star':>18}" + "".join(f"{count:>8}" for count in row) + f"{recall:>9}"


if __name__ == "__main__":
    sys.exit(main())
