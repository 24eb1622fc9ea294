"""The container command `rules`: evaluates rules over a tensor folder, at once or while a job writes it.

    docker run --rm -v "$PWD/my-job:/opt/ml" IMAGE rules /opt/ml/output/tensors

Statuses go to --output as JSON in DescribeTrainingJob's shape, whenever one changes, and to stdout as a table.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from observability.rules.configuration import ConfiguredRule, every_rule, read_configurations
from observability.rules.evaluation import Evaluation, table
from observability.rules.tensor_reader import TensorReader
from star_rating.failures import ConfigurationError, DataError, ExitCode, UsageError, as_failure, nearest_name

POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. `rules --help` lists the options.")


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; a user's error is a sentence, never a traceback."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(read_options(arguments), stop)
    except Exception as error:
        failure = as_failure(error)
        if failure.exit_code == ExitCode.BUG:
            log.exception("A defect")
        sys.stderr.write(f"error: {failure}\n")
        return failure.exit_code
    return ExitCode.SUCCESS


def run(options: argparse.Namespace, stop: threading.Event) -> None:
    """Evaluate the rules of a command line; raise Failure if they cannot be."""
    if not options.follow and not options.tensors.is_dir():
        raise DataError(f"{options.tensors} is no folder. Name the one that a job's tensors are in (output/tensors).")
    configured = _configured(options.config, profiler=options.profiler is not None)
    reader = TensorReader(options.tensors)
    evaluation = Evaluation(configured)
    _report(evaluation, options.output)
    while options.follow and not stop.is_set() and not reader.has_ended:
        if _evaluate(evaluation, reader, options.profiler, final=False):
            _report(evaluation, options.output)
        stop.wait(POLL_SECONDS)
    if not reader.has_steps and options.profiler is None:
        raise DataError(f"{options.tensors} has no tensors. SMDebug's hook writes them below index/ and events/.")
    _evaluate(evaluation, reader, options.profiler, final=True)
    evaluation.finish()
    if options.config is None:
        evaluation.leave_out_what_does_not_apply()
    _report(evaluation, options.output)
    if options.rule_output and options.profiler:
        evaluation.write_files(options.profiler, options.rule_output)
    sys.stdout.write(table(evaluation))


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; raise UsageError that names what is wrong."""
    parser = _Parser(prog="rules", description="Evaluate AWS's Debugger rules on saved tensors.", allow_abbrev=False)
    parser.add_argument("tensors", type=Path, metavar="TENSORS_DIR", help="what SMDebug's hook has written")
    parser.add_argument("--profiler", type=Path, metavar="DIR", help="what the profiler has written")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="DebugRuleConfigurations as JSON; default: every rule that applies"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="gets the statuses as JSON, whenever one changes")
    parser.add_argument("--rule-output", type=Path, metavar="DIR", help="gets a folder for each rule that writes files")
    parser.add_argument(
        "--follow", action="store_true", help="evaluate while a job writes, until its end marker or SIGTERM"
    )
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = {name: None for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - no public list
        nearest = nearest_name(unknown[0].partition("=")[0], known)
        meant = f" Did you mean {nearest}?" if nearest else " `rules --help` lists the options."
        raise UsageError(f"Unknown option {unknown[0]}.{meant}")
    return options


def _configured(config: Path | None, *, profiler: bool) -> list[ConfiguredRule]:
    if config is None:
        return every_rule(profiler=profiler)
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{config} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{config} is not JSON: {error}.") from None
    return read_configurations(document, str(config))


def _evaluate(evaluation: Evaluation, reader: TensorReader, profiler: Path | None, *, final: bool) -> bool:
    """Show the rules what is new; return whether a status has changed."""
    settled = [status for step in reader.new_steps(final=final) for status in evaluation.feed(step)]
    if not final:
        settled += evaluation.wait(time.time())
    if profiler is not None and (final or profiler.is_dir()):
        settled += evaluation.look_at_profiler(profiler)
    return bool(settled)


def _report(evaluation: Evaluation, output: Path | None) -> None:
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    statuses: list[dict[str, Any]] = evaluation.statuses()
    aside.write_text(json.dumps(statuses, indent=1) + "\n", encoding="utf-8")
    aside.replace(output)
