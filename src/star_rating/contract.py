"""SageMaker's container contract, read once: where the channels are, where results go, who the hosts are.

    job = Contract.from_environment(os.environ)
    job.channels["train"]      # PosixPath('/opt/ml/input/data/train')

The toolkit (sagemaker-training) describes the contract to a training script in SM_* variables; without them
(`python src/train.py` by hand) the folders are looked for below SAGEMAKER_BASE_DIR, by default /opt/ml.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_rating.failures import ConfigurationError, DataError, nearest_name, quote

log = logging.getLogger(__name__)

ROOT = Path("/opt/ml")
CONFIG_DIR_VARIABLE = "TRAINING_CONFIG_DIR"
CHANNELS = ("train", "validation", "test", "model")
"""What the job's channels can be called; `model` holds weights (model/weights.py)."""
LONGEST_PATH = 255
"""Bytes: what any file system takes for one name."""


@dataclass(frozen=True)
class Contract:
    """One job's folders and hosts."""

    channels: Mapping[str, Path]
    """Channel name -> its folder."""
    config_dir: Path
    """Where SageMaker writes debughookconfig.json and the other config files."""
    model_dir: Path
    """Becomes model.tar.gz."""
    output_dir: Path
    """Holds the failure file, tensors/ and tensorboard/."""
    checkpoint_dir: Path
    """Mirrored to S3 all the time, if the job has a CheckpointConfig."""
    current_host: str
    hosts: tuple[str, ...]
    training_job_name: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Contract:
        """Read the contract from the toolkit's SM_* variables, or from the folders themselves."""
        base = Path(environ.get("SAGEMAKER_BASE_DIR", str(ROOT)))

        def folder(variable: str, default: str) -> Path:
            # The entry point hands the toolkit a folder of links (container/contract.py); messages name the real one.
            return Path(environ.get(variable, base / default)).resolve()

        data_dir = folder("SM_INPUT_DIR", "input") / "data"
        if "SM_CHANNELS" in environ:
            names = json.loads(environ["SM_CHANNELS"])
            channels = {
                name: Path(environ.get(f"SM_CHANNEL_{name.upper()}", data_dir / name)).resolve() for name in names
            }
        else:
            channels = {path.name: path for path in sorted(data_dir.glob("*")) if path.is_dir()}
        current_host = environ.get("SM_CURRENT_HOST", "algo-1")
        hosts: tuple[str, ...] = tuple(json.loads(environ["SM_HOSTS"])) if "SM_HOSTS" in environ else (current_host,)
        return cls(
            channels=channels,
            # Of the toolkit's config folder only the files are links: the entry point names the job's own.
            config_dir=folder(CONFIG_DIR_VARIABLE, str(folder("SM_INPUT_CONFIG_DIR", "input/config"))),
            model_dir=folder("SM_MODEL_DIR", "model"),
            output_dir=folder("SM_OUTPUT_DIR", "output"),
            checkpoint_dir=(base / "checkpoints").resolve(),
            current_host=current_host,
            hosts=hosts,
            training_job_name=environ.get("TRAINING_JOB_NAME", "local"),
        )

    def require_readable_channels(self, needed: Collection[str]) -> None:
        """Check how the job offers its channels, before anything is read of them.

        Raises DataError for one of ours in Pipe mode, and for one that differs from ours in case alone (the toolkit has
        one variable for both); warns of others, which are not read.
        """
        config = read_object(self.config_dir / "inputdataconfig.json") or {}
        for name in sorted({*self.channels, *config}):
            if name in CHANNELS:
                continue
            if (ours := name.casefold()) in CHANNELS:
                raise DataError(
                    f"The job has a channel {name!r}; this image reads {ours!r}, and their names differ in case alone. "
                    f"Call it {ours!r} in InputDataConfig, or remove it."
                )
            nearest = nearest_name(name, dict.fromkeys(CHANNELS))
            hint = f"; should it be called {nearest}?" if nearest else ""
            log.warning("channel %s is not read: this image reads %s%s", quote(name), ", ".join(CHANNELS), hint)
        for name in (*needed, "model"):
            entry = config.get(name)
            mode = str(entry.get("TrainingInputMode")) if isinstance(entry, Mapping) else ""
            data_dir = self.config_dir.with_name("data")
            is_pipe = not (data_dir / name).is_dir() and (data_dir / f"{name}_0").is_fifo()
            if mode.casefold() == "pipe" or is_pipe:
                raise DataError(
                    f"Channel {name!r} is in Pipe mode, which this image does not read. Set TrainingInputMode to File "
                    "or FastFile."
                )


def unused_folder(wanted: Path) -> Path:
    """Return `wanted`, or a folder beside it if an earlier run has left something there.

    For what cannot hold two runs, outside SageMaker: there, a run that was interrupted goes on in its folder.
    """
    folder, number = wanted, 1
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object, None if there is no such file; raise ConfigurationError for anything else in its place."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Make it a readable file.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON ({error}). SageMaker writes it; restore or remove it.") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path} holds no JSON object. SageMaker writes it; restore or remove it.")
    return value


def local_path(config: Mapping[str, Any], path: Path) -> Path | None:
    """Return a config's LocalPath, None if it has none; `path` is where the config was read."""
    value = config.get("LocalPath")
    if value is None or value == "":
        return None
    if not (is_path(value) and value.startswith("/")):
        raise ConfigurationError(f"{path}: LocalPath is {quote(value)}; a folder of the container is needed, from /.")
    return Path(value)


def is_path(value: object) -> bool:
    """Return whether a value can be the name of a file or folder."""
    return isinstance(value, str) and value.isprintable() and len(value.encode()) <= LONGEST_PATH
