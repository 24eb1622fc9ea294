"""Where TensorBoard's files go.

The folder that SageMaker mirrors (tensorboardoutputconfig.json) if the job has one, else
/opt/ml/output/data/tensorboard, which becomes part of output.tar.gz; model.tar.gz only if asked.
"""

from __future__ import annotations

from pathlib import Path

from star_rating.config_file import local_path, read_object
from star_rating.contract import Contract


def tensorboard_folder(contract: Contract, *, in_model: bool) -> Path:
    """Return the folder; raise ConfigurationError for a damaged tensorboardoutputconfig.json."""
    if in_model:
        return contract.model_dir / "tensorboard"
    path = contract.config_dir / "tensorboardoutputconfig.json"
    config = read_object(path)
    if config is None:
        return contract.output_dir / "data" / "tensorboard"
    return local_path(config, path) or contract.output_dir / "tensorboard"
