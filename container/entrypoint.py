"""The container's first process: reads the command, runs it as PID 1 should, and exits with its code.

docker run IMAGE train          ->  python container/entrypoint.py train
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import process_group
import toolkit
from failure import ContainerError, ExitCode, report

USAGE = r"""distilbert-trainer: fine-tunes DistilBERT to predict the star rating of a review.

usage: docker run [docker's options] IMAGE COMMAND [options]

commands
  train      train under SageMaker's container contract: channels in /opt/ml/input/data,
             hyperparameters in /opt/ml/input/config/hyperparameters.json, results in
             /opt/ml/model. Missing config files get defaults. Takes no options.
  prepare    turn reviews (TSV, CSV, JSON Lines, Parquet) into the TFRecord channels that
             train reads. `prepare --help` lists its options.
  report     print what a training run has achieved. `report --help` lists its options.
  serve      answer SageMaker's hosting contract with the model in /opt/ml/model: GET /ping and
             POST /invocations on port 8080. Takes no options; its settings are variables
             (SERVE_MAX_BATCH, SERVE_MAX_DELAY_MS, ...; docs/serving.md has all of them).
  predict    predict the stars of files of reviews with the model in /opt/ml/model.
             `predict --help` lists its options.
  rules      evaluate AWS's Debugger rules on saved tensors, at once or while a job writes
             them (--follow). `rules --help` lists its options.
  smoke      prepare, train a few steps and check every artifact, on data in the image.
  metrics    print the MetricDefinitions (JSON) that read train's log.

examples
  Does the image work on this machine? About a minute, no network, nothing mounted.
    docker run --rm --network none IMAGE smoke

  From reviews to channels: my-job/input/data/{train,validation,test}.
    mkdir -p my-job
    docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/reviews:/reviews:ro" \
        -v "$PWD/my-job:/opt/ml" IMAGE prepare --input /reviews --output /opt/ml/input/data

  From channels to a model, which arrives in my-job/model.
    docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/my-job:/opt/ml" IMAGE train

  From a model to predictions, over HTTP and for a file.
    docker run --rm -p 8080:8080 -v "$PWD/my-job/model:/opt/ml/model:ro" IMAGE serve
    docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/my-job/model:/opt/ml/model:ro" \
        -v "$PWD/reviews:/reviews" IMAGE predict --input /reviews/new.csv.gz \
        --output /reviews/predictions.parquet

  Hyperparameters: a flat JSON object, names and values.
    mkdir -p my-job/input/config
    echo '{"epochs": "1", "learning_rate": "3e-5"}' > my-job/input/config/hyperparameters.json

stopping
  SIGTERM (docker stop, SageMaker's stop, a spot interruption) and Ctrl-C ask for an
  orderly end, for which there are 110 seconds; a second signal ends the job at once.
  serve answers what it has taken, at most for 25 seconds, and ends with code 0.
  `docker stop` itself waits 10 seconds unless told: docker stop --time 120.

exit codes
  0 success; 1 a defect of the image; 2 the command line; 10 a hyperparameter; 11 the data;
  12 the weights; 13 a config file or folder; 14 disk full; 15 the loss is not finite;
  16 an export; 17 memory refused; 18 stalled; 19 another host lost; 20 the Debugger;
  128+N killed by signal N (137: out of memory, or somebody's SIGKILL).
  The sentence in /opt/ml/output/failure says what went wrong and what to change.
"""

PROGRAMS = {
    "prepare": [str(toolkit.PROGRAM_DIR / "prepare.py")],
    "report": [str(toolkit.PROGRAM_DIR / "report.py")],
    "serve": [str(toolkit.PROGRAM_DIR / "serve.py")],
    "predict": [str(toolkit.PROGRAM_DIR / "predict.py")],
    "rules": ["-m", "observability.rules"],
    "metrics": ["-m", "star_rating.logs"],
}
"""Command -> the program that Python runs for it."""

WITHOUT_OPTIONS = ("train", "smoke", "serve")

_HELP = ("--help", "-h", "help")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    process_group.block_signals()
    try:
        return _dispatch(arguments)
    except ContainerError as error:
        report(error)
        return error.exit_code


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments:
        sys.stderr.write(USAGE)
        return ExitCode.USAGE
    command, *options = arguments
    if command in _HELP:
        sys.stdout.write(USAGE)
        return ExitCode.SUCCESS
    if command in WITHOUT_OPTIONS and options:
        raise ContainerError(ExitCode.USAGE, _no_options(command, options))
    if command == "train":
        return toolkit.train()
    if command == "smoke":
        from smoke import smoke  # noqa: PLC0415 - the other commands start faster without

        return smoke()
    if command in PROGRAMS:
        return _run(command, options)
    raise ContainerError(ExitCode.USAGE, _unknown(command))


def _run(command: str, options: Sequence[str]) -> int:
    path = os.pathsep.join(filter(None, (str(toolkit.PROGRAM_DIR), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return process_group.run([sys.executable, *PROGRAMS[command], *options], environment).exit_code


def _no_options(command: str, options: Sequence[str]) -> str:
    message = f"{command} takes no options, but was given {' '.join(options)}."
    if command == "serve":
        return f"{message} Its settings are variables (docker run --env SERVE_MAX_BATCH=64)."
    if command != "train":
        return message
    return (
        f'{message} Hyperparameters belong in /opt/ml/input/config/hyperparameters.json, for example {{"epochs": "3"}}.'
    )


def _unknown(command: str) -> str:
    import difflib  # noqa: PLC0415 - only a typing error needs it

    known = dict.fromkeys((*WITHOUT_OPTIONS, *PROGRAMS))
    nearest = difflib.get_close_matches(command, known, n=1, cutoff=0.5)
    advice = f"Did you mean {nearest[0]}?" if nearest else f"Known are {', '.join(known)}."
    return f"There is no command {command!r}. {advice} --help says what each does."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
