"""Turn raw reviews into the TFRecord channels that train.py reads.

    python src/prepare.py --input data --output channels --weights weights

As a SageMaker Processing job it needs no --input and no --output: it reads /opt/ml/processing/input and writes
/opt/ml/processing/output/{train,validation,test}. star_rating/preparation/prepare.py has the steps.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from star_rating import logs
from star_rating.data.files import printable
from star_rating.data.text_processing import TRUNCATE, TextProcessing
from star_rating.failures import ExitCode, UsageError, as_failure, nearest_name
from star_rating.interruption import unwind_on_stop
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.processing_job import ProcessingJob, base_dir, leave_message
from star_rating.preparation.reporting import summary
from star_rating.preparation.reviews import READERS, Columns
from star_rating.preparation.split import SPLITS

_T = TypeVar("_T")

DEFAULT_SHARES = (0.90, 0.05, 0.05)
MAX_POSITIONS = 512
"""What BERT's and DistilBERT's position embeddings hold."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. `prepare --help` lists the options.")


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; a user's error is a sentence, never a traceback."""
    logs.configure()
    unwind_on_stop("The output may not be complete: start the same command again.")
    base = base_dir(os.environ)
    try:
        settings = read_settings(arguments, ProcessingJob.from_environment(os.environ))
        sys.stdout.write(summary(prepare(settings)) + f"\nWritten to {printable(settings.output)}\n")
    except Exception as error:
        failure = as_failure(error)
        if failure.exit_code == ExitCode.BUG:
            logging.getLogger("star_rating").exception("A defect")
        sys.stderr.write(f"error: {failure}\n")
        leave_message(failure, base)
        return failure.exit_code
    return ExitCode.SUCCESS


def read_settings(arguments: Sequence[str], job: ProcessingJob) -> PrepareSettings:
    """Return the settings of a command line; raise UsageError that names the option, its value and what is allowed."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = {name: None for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - no public list
        nearest = nearest_name(unknown[0].partition("=")[0], known)
        meant = f" Did you mean {nearest}?" if nearest else " `prepare --help` lists the options."
        raise UsageError(f"Unknown option {unknown[0]}.{meant}")
    given = _given_splits(options, job)
    inputs: list[Path] | None = options.input or ([job.input_dir] if job.input_dir else None)
    return PrepareSettings(
        inputs=() if given else tuple(_needed("--input", inputs)),
        given=given,
        drop_leaks=options.drop_leaks,
        processing=TextProcessing(options.truncate, options.keep_html),
        output=_needed("--output", options.output or job.output_dir),
        weights=Path(_needed("--weights", options.weights or os.environ.get("DISTILBERT_WEIGHTS"))),
        review_format=options.format,
        columns=Columns(options.review_body_column, options.star_rating_column, options.review_id_column),
        max_seq_length=options.max_seq_length,
        shares=options.split or DEFAULT_SHARES,
        seed=options.seed,
        balance=options.balance,
        max_broken_share=options.max_broken_share,
        overwrite=options.overwrite,
        host=job.current_host,
        hosts=job.hosts,
        shard_by_host=options.shard_by_host,
    )


def _given_splits(options: argparse.Namespace, job: ProcessingJob) -> tuple[tuple[Path, ...], ...]:
    """Return the inputs of --train, --validation and --test; () where none is named."""
    given = tuple(tuple(getattr(options, name) or ()) for name in SPLITS)
    if not any(given):
        if options.drop_leaks:
            raise UsageError("--drop-leaks needs --train and another split: --input is split so that nothing leaks.")
        return ()
    for option, value in (("--input", options.input), ("--split", options.split)):
        if value:
            raise UsageError(f"{option} splits reviews, --train, --validation and --test bring their splits. Use one.")
    if options.drop_leaks and not (given[0] and any(given[1:])):
        raise UsageError("--drop-leaks needs --train, and --validation or --test.")
    if options.drop_leaks and len(job.hosts) > 1 and not options.shard_by_host:
        raise UsageError(
            "--drop-leaks on several hosts needs --shard-by-host and inputs that are FullyReplicated: a host cannot "
            "see what another one reads."
        )
    return given


def _needed(option: str, value: _T | None) -> _T:
    if not value:
        raise UsageError(f"{option} is missing. `prepare --help` says what it is.")
    return value


def _parser() -> _Parser:
    parser = _Parser(
        prog="prepare", description="Turn raw reviews into the TFRecord channels that train reads.", allow_abbrev=False
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--input",
        nargs="+",
        action="extend",
        type=_path,
        metavar="PATH",
        help="files of reviews, or folders of them; several add up",
    )
    for name in SPLITS:
        where.add_argument(
            f"--{name}",
            nargs="+",
            action="extend",
            type=_path,
            metavar="PATH",
            help=f"in place of --input: what {name} is made of, split by you; any of the three",
        )
    where.add_argument("--output", type=_path, metavar="FOLDER", help="gets train/, validation/ and test/")
    where.add_argument(
        "--weights", type=_path, metavar="FOLDER", help="holds the tokenizer.json to use; default: $DISTILBERT_WEIGHTS"
    )
    where.add_argument("--overwrite", action="store_true", help="replace the records of an earlier run")
    where.add_argument(
        "--shard-by-host",
        action="store_true",
        help="all hosts see all files (FullyReplicated): write only this host's share",
    )
    reading = parser.add_argument_group("reading")
    reading.add_argument("--format", choices=list(READERS), help="of every file; default: by name (gzip by content)")
    reading.add_argument("--review-body-column", default="review_body", metavar="NAME", help="default: %(default)s")
    reading.add_argument("--star-rating-column", default="star_rating", metavar="NAME", help="default: %(default)s")
    reading.add_argument("--review-id-column", metavar="NAME", help="default: review_id, where a file has it")
    reading.add_argument(
        "--max-broken-share", type=_share, default=0.01, metavar="SHARE", help="of rows, 0 to 1; default: %(default)s"
    )
    making = parser.add_argument_group("making")
    making.add_argument(
        "--max-seq-length", type=_whole(3, MAX_POSITIONS), default=64, metavar="TOKENS", help="default: %(default)s"
    )
    making.add_argument(
        "--truncate",
        choices=list(TRUNCATE),
        default="head",
        help="of a longer review: its first tokens, or its first quarter and its last three; default: %(default)s",
    )
    making.add_argument("--keep-html", action="store_true", help="leave HTML entities and <br /> as they are")
    making.add_argument("--split", type=_split, metavar="PERCENT", help="train,validation,test; default: 90,5,5")
    making.add_argument(
        "--drop-leaks", action="store_true", help="leave out of --train what --validation or --test has, too"
    )
    making.add_argument("--seed", type=_whole(0, 2**63 - 1), default=42, help="of the split; default: %(default)s")
    making.add_argument("--balance", action="store_true", help="cut each split's classes to its smallest one")
    return parser


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell unset?")
    return Path(text)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,19}", text) else -1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return number

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share


def _split(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        train = validation = test = math.nan
    if not (min(train, validation, test) >= 0 and math.isclose(train + validation + test, 100)):
        raise argparse.ArgumentTypeError(f"{text!r} is not three percentages that add up to 100, such as 90,5,5")
    return train / 100, validation / 100, test / 100


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
