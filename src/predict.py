"""Predict the stars of files of reviews with a trained model.

    python src/predict.py --input reviews.csv.gz --output predictions.parquet

Reads what `prepare` reads; a row of the output for each row of the input. A run that was killed goes on where it was,
started again with the same options. star_rating/serving/files.py has the steps.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from star_rating import logs
from star_rating.data.files import printable
from star_rating.failures import ExitCode, UsageError, as_failure, nearest_name
from star_rating.interruption import unwind_on_stop

if TYPE_CHECKING:
    from star_rating.serving.files import Job


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. `predict --help` lists the options.")


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; a user's error is a sentence, never a traceback."""
    logs.configure()
    unwind_on_stop("Rows that are done are kept: the same command goes on from there.")
    try:
        from star_rating.serving.settings import Settings

        settings = Settings.from_environment(os.environ)
        job, model = read_job(arguments, settings.model)
        from star_rating.serving.files import check_output, predict_files

        check_output(job.output, overwrite=job.overwrite)
        from star_rating.serving.engine import Engine

        outcome = predict_files(job, Engine.load(model), max_batch=settings.max_batch)
        resumed = f", {outcome.resumed:,} of them by an earlier run" if outcome.resumed else ""
        sys.stdout.write(
            f"{outcome.rows:,} rows{resumed}; {outcome.without_prediction:,} have no prediction (column problem says "
            f"why); {outcome.rate:,.0f} rows a second\n"
            f"Written to {printable(job.output)}\n"
        )
    except Exception as error:
        failure = as_failure(error)
        if failure.exit_code == ExitCode.BUG:
            logging.getLogger("star_rating").exception("A defect")
        sys.stderr.write(f"error: {failure}\n")
        return failure.exit_code
    return ExitCode.SUCCESS


def read_job(arguments: Sequence[str], model: Path) -> tuple[Job, Path]:
    """Return the job of a command line and the model's folder; raise UsageError that names the option."""
    from star_rating.preparation.reviews import READERS, Columns
    from star_rating.serving.files import Job

    parser = _Parser(prog="predict", description="Predict the stars of files of reviews.", allow_abbrev=False)
    parser.add_argument(
        "--input",
        nargs="+",
        action="extend",
        type=_path,
        metavar="PATH",
        help="files of reviews, or folders",
    )
    parser.add_argument("--output", type=_path, metavar="FILE", help="ends in .csv, .jsonl or .parquet")
    parser.add_argument("--model", type=_path, default=model, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace the output of an earlier run")
    parser.add_argument("--format", choices=list(READERS), help="of every file; default: by name (gzip by content)")
    parser.add_argument("--review-body-column", default="review_body", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--review-id-column", metavar="NAME", help="default: review_id, where a file has it")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = {name: None for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - no public list
        nearest = nearest_name(unknown[0].partition("=")[0], known)
        meant = f" Did you mean {nearest}?" if nearest else " `predict --help` lists the options."
        raise UsageError(f"Unknown option {unknown[0]}.{meant}")
    for option, value in (("--input", options.input), ("--output", options.output)):
        if not value:
            raise UsageError(f"{option} is missing. `predict --help` says what it is.")
    job = Job(
        inputs=tuple(options.input),
        output=options.output,
        review_format=options.format,
        columns=Columns(options.review_body_column, None, options.review_id_column),
        overwrite=options.overwrite,
    )
    return job, options.model


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell unset?")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
