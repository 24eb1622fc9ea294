"""Config files that are damaged, in the image: what the container accepts, sagemaker-training and train.py can read.

The container reads them as in test_fuzz_config_files.py; here the toolkit's own code goes on from there, to
the arguments and variables that it starts train.py with. Hypothesis comes from this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests.helpers.containers import SOURCES, Containers

pytestmark = pytest.mark.image

HELPERS = Path(__file__).parents[1] / "helpers"

FEED = """
import os, sys, tempfile
from pathlib import Path
os.environ["SAGEMAKER_BASE_DIR"] = tempfile.mkdtemp()
from sagemaker_training import environment
from configuration import read_configuration
from contract import toolkit_base
from failure import ContainerError
from tests.helpers.config_files import SAGEMAKERS, damaged
from tests.helpers.fuzzing import feed
from star_rating.contract import Contract
from star_rating.failures import HyperparameterError
from star_rating.hyperparameters import Hyperparameters

root = Path(tempfile.mkdtemp())
config = root / "input" / "config"
config.mkdir(parents=True)
variables = dict(os.environ)

def read(file):
    path = config / file[0]
    path.write_bytes(file[1])
    try:
        configuration = read_configuration(root)
        with toolkit_base(root, Path("/opt/distilbert-trainer/src"), configuration) as base:
            start(base / "input" / "config")
    finally:
        path.unlink(missing_ok=True)

def start(folder):
    os.environ.clear()
    os.environ.update(variables)
    environment.hyperparameters_file_dir = str(folder / "hyperparameters.json")
    environment.input_data_config_file_dir = str(folder / "inputdataconfig.json")
    environment.resource_config_file_dir = str(folder / "resourceconfig.json")
    job = environment.Environment()
    arguments = job.to_cmd_args()
    environment.write_env_vars(job.to_env_vars())
    words = [*arguments, *(f"{name}={value}" for name, value in os.environ.items())]
    # What Linux takes of one argument or variable; fsencode refuses what is not to be encoded.
    assert all(len(os.fsencode(word)) < 131072 and "\\0" not in word for word in words)
    Contract.from_environment(os.environ)
    Hyperparameters.from_arguments(arguments)

print("toolkit:", feed(read, damaged(SAGEMAKERS), int(sys.argv[1]), (ContainerError, HyperparameterError)))
"""


def test_what_the_container_accepts_starts_the_program(containers: Containers, scaled: Callable[..., int]) -> None:
    number = scaled(3000)
    packages = Path(hypothesis.__file__).parents[1]
    files = [packages / name for name in ("hypothesis", "_hypothesis_globals.py", "sortedcontainers")]
    mounts = [f"--volume={file}:/fuzz/{file.name}:ro" for file in files]
    mounts.append(f"--volume={HELPERS}:/fuzz/tests/helpers:ro")
    path = f"--env=PYTHONPATH=/fuzz:{SOURCES}:/opt/distilbert-trainer/container"
    result = containers.run(["-c", FEED, str(number)], ["--entrypoint", "python", path, *mounts], timeout=200)
    assert result.exit_code == 0, result.log
    assert f"toolkit: {number:,} inputs" in result.log
