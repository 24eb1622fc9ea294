"""Fine-tunes DistilBERT to predict a review's stars: from three channels of TFRecords to model.tar.gz's contents.

    python src/train.py --epochs 3 --learning_rate 5e-05

sagemaker-training runs this file with the job's hyperparameters as arguments. Read it top to bottom:
read the settings, choose the processor's instructions, check the data, load the weights, fit, evaluate, export, record.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from observability.mlflow.tracking import Tracking, open_tracking
from observability.profiler import profiler
from star_rating import logs, quiet_tensorflow
from star_rating.checkpointing.policy import checkpoint_path
from star_rating.contract import Contract
from star_rating.distributed.cluster import Cluster
from star_rating.failures import ExitCode, Failure, OtherHostError, StalledError, as_failure, write_failure
from star_rating.hardware import instruction_set, threads
from star_rating.hyperparameters import Hyperparameters
from star_rating.interruption import StopRequest
from star_rating.training.watchdog import Watchdog

if TYPE_CHECKING:
    from star_rating.data.channel import Channel
    from star_rating.model.pretrained_weights import PretrainedWeights
    from star_rating.model.weights import Weights

log = logging.getLogger("star_rating.train")


def main() -> int:
    """Train, and turn whatever goes wrong into an exit code, a sentence on stderr and SageMaker's failure file."""
    contract = Contract.from_environment(os.environ)
    logs.configure(writes_measurements=contract.current_host == contract.hosts[0])
    try:
        hyperparameters = Hyperparameters.from_arguments(sys.argv[1:]).for_hosts(len(contract.hosts))
        contract.require_readable_channels(needed_channels(hyperparameters))
        stall_seconds = hyperparameters.stall_timeout_minutes * 60
        checkpoints = checkpoint_path(contract, hyperparameters.enable_checkpointing)
        cluster = Cluster.of(contract, on_loss=lambda loss: end_at_once(loss, contract))
        with (
            StopRequest() as stop,
            open_tracking(contract, hyperparameters.as_dict(), os.environ, checkpoints=checkpoints) as tracking,
            Watchdog(stall_seconds, lambda stall: end_hanging(stall, contract, cluster)) as watchdog,
            profiler.start(contract, enabled=hyperparameters.enable_profiler) as profile,
            cluster,
        ):
            train_and_evaluate(hyperparameters, contract, cluster, stop, watchdog, profile, tracking=tracking)
    except Exception as error:  # noqa: BLE001 - the process's last line of defence
        return report_failure(error, contract.output_dir)
    leave_exit_code(ExitCode.SUCCESS)
    return ExitCode.SUCCESS


def train_and_evaluate(
    hyperparameters: Hyperparameters,
    contract: Contract,
    cluster: Cluster,
    stop: StopRequest,
    watchdog: Watchdog,
    profile: profiler.Profiler | profiler.NullProfiler,
    *,
    tracking: Tracking,
) -> None:
    """Run one job, or what there is time for once `stop` is requested."""
    started = time.monotonic()
    # TensorFlow reads its environment when it is imported: instruction set and threads have to be chosen before that,
    # and a mistyped hyperparameter should not wait for an import of several seconds. Hence the imports in here.
    instructions = instruction_set.choose(os.environ)
    thread_pools = threads.choose(os.environ)
    from observability.rules.configuration import read_rules

    read_rules(hyperparameters.debugger_rules)  # fit does when there is something to evaluate; a mistake shows now
    cluster.meet(hyperparameters.host_wait_minutes * 60, lambda: watchdog.beat("waiting for the other hosts"))
    quiet_tensorflow.load()
    import tf_keras

    from star_rating.autotune import compute_plan
    from star_rating.checkpointing.checkpoints import load_latest
    from star_rating.checkpointing.run_state import fingerprint, steps_per_epoch
    from star_rating.data.channel import require_several_classes
    from star_rating.distributed import collectives
    from star_rating.distributed.part import work_of
    from star_rating.model import pretrained_weights, weights
    from star_rating.results import run_record
    from star_rating.results.export import require_space
    from star_rating.training.fit import fit

    collectives.start(cluster)
    # Weights and data: what can be wrong with them is said before the first step.
    source = weights.resolve(hyperparameters.model, contract.channels, os.environ)
    pretrained = pretrained_weights.load(source.folder)
    cluster.require_same({**hyperparameters.as_dict(), "weights": source.sha256, **run_record.versions()})
    data = open_channels(hyperparameters, contract, cluster, pretrained, source, watchdog)
    require_several_classes(data["train"])
    require_space(contract.model_dir, pretrained)
    for name, channel in data.items():
        log.info(
            "channel %s: %d reviews in %d file(s), stars %s", name, channel.records, len(channel.files), channel.stars
        )

    work = work_of(hyperparameters, data, cluster)
    print_of_run = fingerprint(hyperparameters, source, data["train"])
    checkpointing = work.checkpointing(lambda: load_latest(hyperparameters, contract, print_of_run), print_of_run)
    machine = compute_plan.Machine(instructions, thread_pools, gpu=compute_plan.has_gpu())
    # It may measure, in a child process that ends in time by itself.
    with watchdog.paused():
        accelerated = work.acceleration(
            pretrained,
            hyperparameters.epochs * steps_per_epoch(hyperparameters, data["train"]),
            machine,
            checkpointing.state.acceleration if checkpointing.state else None,
        )
    accelerated.apply()
    # From here on every random number follows from the seed.
    tf_keras.utils.set_random_seed(hyperparameters.seed)
    supervision = work.supervision(stop, watchdog, profile)
    trained = fit(
        work, contract, pretrained, accelerated, checkpointing=checkpointing, supervision=supervision, tracking=tracking
    )
    hosts = work.hosts(trained.model)
    # Not before: it brings matplotlib, and the first step does not have to wait for that.
    from star_rating.results.artifacts import write_artifacts

    artifacts = write_artifacts(work, trained, source.folder, contract.model_dir, supervision)

    profile_record = profile.finish()
    total = time.monotonic() - started
    if artifacts is None:
        cluster.together()
        log.info("done in %.0f s; the model is with %s", total, cluster.hosts[0])
        return

    run_record.write(
        contract.model_dir / "run.json",
        {
            "training_job_name": contract.training_job_name,
            "image": run_record.image(os.environ),
            "versions": run_record.versions(),
            "machine": run_record.machine(),
            "hosts": hosts,
            "hyperparameters": hyperparameters.as_dict(),
            "weights": source.as_dict(),
            "channels": run_record.channels(data),
            "acceleration": {**accelerated.record(), "compiled_step": trained.xla},
            "debugger": trained.debugger,
            "profiler": profile_record,
            "steps": {"done": trained.step, "of": trained.total_steps, "skipped": trained.skipped_steps},
            "stopped": stop.record(),
            "checkpoints": trained.checkpoints,
            "history": trained.history.as_dict(),
            **artifacts.as_dict(),
            "seconds": {"first_step": trained.history.first_step_seconds, "fit": trained.seconds, "total": total},
        },
    )
    cluster.together()
    log.info("done in %.0f s; the model is in %s", total, contract.model_dir)
    if stop.is_requested:
        log.info("stopped by %s at step %d, %.1f s ago", stop.by, trained.step, stop.seconds)


def open_channels(
    hyperparameters: Hyperparameters,
    contract: Contract,
    cluster: Cluster,
    pretrained: PretrainedWeights,
    source: Weights,
    watchdog: Watchdog,
) -> dict[str, Channel]:
    """Check the channels that this job reads, those of several hosts also against each other."""
    from star_rating.data.channel import open_channel
    from star_rating.data.leakage import check_leakage
    from star_rating.data.records import Limits
    from star_rating.distributed.channels import share

    def beat() -> None:
        watchdog.beat("reading the channels")

    data = {
        name: open_channel(
            name,
            contract.channels.get(name),
            max_seq_length=hyperparameters.max_seq_length,
            vocabulary_size=pretrained.config.vocab_size,
            tokenizer=source.tokenizer,
            shared=cluster.size > 1,
            on_progress=beat,
        )
        for name in needed_channels(hyperparameters)
    }
    if cluster.size > 1:
        data = {name: share(cluster, channel, contract.channels.get(name)) for name, channel in data.items()}
    check_leakage(data, Limits(hyperparameters.max_seq_length, pretrained.config.vocab_size), beat)
    return data


def needed_channels(hyperparameters: Hyperparameters) -> list[str]:
    """Return the channels that these hyperparameters read."""
    wanted = {"train": True, "validation": hyperparameters.run_validation, "test": hyperparameters.run_test}
    return [name for name, read in wanted.items() if read]


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
