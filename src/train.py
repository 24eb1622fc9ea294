"""Fine-tunes DistilBERT to predict a review's stars: from three channels of TFRecords to model.tar.gz's contents.

    python src/train.py --epochs 3 --learning_rate 5e-05

sagemaker-training runs this file with the job's hyperparameters as arguments. Read it top to bottom:
read the settings, choose the processor's instructions, check the data, load the weights, fit, evaluate, export, record.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

from star_rating import logs, quiet_tensorflow
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError, ExitCode, as_failure, write_failure
from star_rating.hyperparameters import Hyperparameters
from star_rating.training import instruction_set

log = logging.getLogger("star_rating.train")


def main() -> int:
    """Train, and turn whatever goes wrong into an exit code, a sentence on stderr and SageMaker's failure file."""
    logs.configure()
    contract = Contract.from_environment(os.environ)
    try:
        hyperparameters = Hyperparameters.from_arguments(sys.argv[1:])
        train_and_evaluate(hyperparameters, contract)
    except Exception as error:  # noqa: BLE001 - the process's last line of defence
        return report_failure(error, contract.output_dir)
    leave_exit_code(ExitCode.SUCCESS)
    return ExitCode.SUCCESS


def train_and_evaluate(hyperparameters: Hyperparameters, contract: Contract) -> None:
    """Run one job."""
    started = time.monotonic()
    if len(contract.hosts) > 1:
        raise ConfigurationError(
            f"The job has {len(contract.hosts)} hosts, and this image trains on one: several would train several "
            "unrelated models. Set instance_count=1."
        )

    # TensorFlow reads its environment when it is imported: the instruction set has to be chosen before that, and a
    # mistyped hyperparameter should not wait for an import of several seconds. Hence the imports in here.
    instructions = instruction_set.choose(os.environ)
    quiet_tensorflow.load()
    import tf_keras

    from star_rating.data.channel import open_channel, require_several_classes
    from star_rating.model import checkpoint, weights
    from star_rating.results import run_record
    from star_rating.results.artifacts import write_artifacts
    from star_rating.results.export import require_space
    from star_rating.training import acceleration
    from star_rating.training.fit import fit

    # Weights and data: what can be wrong with them is said before the first step.
    source = weights.resolve(hyperparameters.model, contract.channels, os.environ)
    pretrained = checkpoint.load(source.folder)
    data = {
        name: open_channel(
            name,
            contract.channels.get(name),
            max_seq_length=hyperparameters.max_seq_length,
            vocabulary_size=pretrained.config.vocab_size,
            tokenizer_sha256=source.tokenizer_sha256,
        )
        for name in needed_channels(hyperparameters)
    }
    require_several_classes(data["train"])
    require_space(contract.model_dir, pretrained)
    for name, channel in data.items():
        log.info(
            "channel %s: %d reviews in %d file(s), stars %s", name, channel.records, len(channel.files), channel.stars
        )

    # From here on every random number follows from the seed.
    tf_keras.utils.set_random_seed(hyperparameters.seed)
    accelerated = acceleration.decide(
        hyperparameters.use_xla, hyperparameters.use_amp, instructions, gpu=acceleration.has_gpu()
    )
    accelerated.apply()
    trained = fit(hyperparameters, contract, source, pretrained, data, accelerated)
    artifacts = write_artifacts(hyperparameters, trained, data, source.folder, contract.model_dir)

    total = time.monotonic() - started
    run_record.write(
        contract.model_dir / "run.json",
        {
            "training_job_name": contract.training_job_name,
            "image": run_record.image(os.environ),
            "versions": run_record.versions(),
            "machine": run_record.machine(),
            "hyperparameters": hyperparameters.as_dict(),
            "weights": source.as_dict(),
            "channels": run_record.channels(data),
            "acceleration": accelerated.record(),
            "debugger": trained.debugger,
            "epochs_resumed": trained.first_epoch,
            "history": trained.history.as_dict(),
            **artifacts.as_dict(),
            "seconds": {"first_step": trained.history.first_step_seconds, "fit": trained.seconds, "total": total},
        },
    )
    log.info("done in %.0f s; the model is in %s", total, contract.model_dir)


def needed_channels(hyperparameters: Hyperparameters) -> list[str]:
    """Return the channels that these hyperparameters read."""
    wanted = {"train": True, "validation": hyperparameters.run_validation, "test": hyperparameters.run_test}
    return [name for name, read in wanted.items() if read]


def report_failure(error: Exception, output_dir: Path) -> int:
    """Say once what went wrong, and return the exit code; the traceback of a defect goes to the log alone."""
    failure = as_failure(error)
    if failure.exit_code == ExitCode.BUG:
        log.error("traceback of the defect below", exc_info=error)
    write_failure(failure, output_dir)
    print(f"error: {failure}", file=sys.stderr, flush=True)  # noqa: T201 - beside the log, where `docker run` shows it
    leave_exit_code(failure.exit_code)
    return failure.exit_code


def leave_exit_code(exit_code: ExitCode) -> None:
    """Tell the entry point: sagemaker-training turns every failure of a script into exit code 1."""
    if "TRAINING_EXIT_CODE_FILE" in os.environ:
        Path(os.environ["TRAINING_EXIT_CODE_FILE"]).write_text(str(int(exit_code)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
