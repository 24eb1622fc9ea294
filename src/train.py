"""Fine-tunes DistilBERT to predict a review's stars: from three channels of TFRecords to model.tar.gz's contents.

    python src/train.py --epochs 3 --learning_rate 5e-05

sagemaker-training runs this file with the job's hyperparameters as arguments. It reads them, prepares TensorFlow's
environment, and hands over to star_rating/training/trainer.py; whatever goes wrong becomes an exit code.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import time
from pathlib import Path

from star_rating import logs, quiet_tensorflow
from star_rating.contract import Contract
from star_rating.distributed.cluster import Cluster
from star_rating.failures import ExitCode, Failure, OtherHostError, StalledError, as_failure, write_failure
from star_rating.hardware import prepare_tensorflow
from star_rating.hyperparameters import Hyperparameters
from star_rating.interruption import StopRequest
from star_rating.training.observers import Observers
from star_rating.training.watchdog import Watchdog

log = logging.getLogger("star_rating.train")


def main() -> int:
    """Train, and turn whatever goes wrong into an exit code, a sentence on stderr and SageMaker's failure file."""
    contract = Contract.from_environment(os.environ)
    logs.configure(writes_measurements=contract.current_host == contract.hosts[0])
    try:
        train(contract)
    except Exception as error:  # noqa: BLE001 - the process's last line of defence
        return report_failure(error, contract.output_dir)
    leave_exit_code(ExitCode.SUCCESS)
    return ExitCode.SUCCESS


def train(contract: Contract) -> None:
    """Prepare the environment that TensorFlow reads when it is imported, and run the job."""
    started = time.monotonic()
    hyperparameters = Hyperparameters.from_arguments(sys.argv[1:]).resolve_batch_size(len(contract.hosts))
    contract.require_readable_channels(hyperparameters.needed_channels)
    stall_seconds = hyperparameters.stall_timeout_minutes * 60
    cluster = Cluster.of(contract, on_peer_failure=lambda failure: end_at_once(failure, contract))
    with (
        StopRequest() as stop,
        Observers.start(contract, hyperparameters) as observers,
        Watchdog(stall_seconds, lambda stall: end_hanging(stall, contract, cluster)) as watchdog,
        cluster,
    ):
        hardware = prepare_tensorflow(os.environ)
        cluster.rendezvous(
            hyperparameters.host_wait_minutes * 60, lambda: watchdog.heartbeat("waiting for the other hosts")
        )
        quiet_tensorflow.import_tensorflow()
        from star_rating.training.trainer import Trainer

        Trainer(hyperparameters, contract, hardware, cluster, stop, watchdog, observers=observers).run(started)


def report_failure(error: Exception, output_dir: Path) -> int:
    """Say once what went wrong, and return the exit code; the traceback of a defect goes to the log alone."""
    failure = as_failure(error)
    if failure.exit_code == ExitCode.BUG and not isinstance(failure, OtherHostError):
        log.error("traceback of the defect below", exc_info=error)
    write_failure(failure, output_dir)
    print(f"error: {failure}", file=sys.stderr, flush=True)  # noqa: T201 - beside the log, where `docker run` shows it
    leave_exit_code(failure.exit_code)
    return failure.exit_code


def end_hanging(stall: StalledError, contract: Contract, cluster: Cluster) -> None:
    """End the process from the watchdog's thread: the main thread hangs, and cannot be told to."""
    try:
        cluster.fail(stall)
        log.error("where each thread is:")
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
    finally:
        end_at_once(stall, contract)


def end_at_once(failure: Failure, contract: Contract) -> None:
    """Report a failure and end the process, whatever its main thread waits for."""
    report_failure(failure, contract.output_dir)
    sys.stdout.flush()
    os._exit(failure.exit_code)


def leave_exit_code(exit_code: ExitCode) -> None:
    """Tell the entry point: sagemaker-training turns every failure of a script into exit code 1."""
    if "TRAINING_EXIT_CODE_FILE" in os.environ:
        with contextlib.suppress(OSError):  # a full disk, say: what went wrong has been reported already
            Path(os.environ["TRAINING_EXIT_CODE_FILE"]).write_text(str(int(exit_code)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
