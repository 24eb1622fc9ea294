"""From a job file to a finished, explained SageMaker training job, with nothing but boto3.

    import launcher

    job = launcher.load_job("job.toml", settings={"compute.instance_count": 1})
    training_job = launcher.TrainingJob.submit(launcher.build_request(job), region=job.region)
    training_job.show()

AWS is asked, as boto3 is set up; for the local SageMaker, pass `session=launcher.use_local()`. The command line
(`launcher --help`) is the same functions. Reading order: job_file/schema.py, request/training.py, checks/offline.py,
aws/session.py, aws/training_job.py, cli/main.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.aws.processing_job import ProcessingJob
    from launcher.aws.session import Session
    from launcher.aws.training_job import TrainingJob
    from launcher.checks.offline import build_processing_request, build_request
    from launcher.cli.local import use_local
    from launcher.job_file.load import load_job

    __version__: str

__all__ = [
    "ProcessingJob",
    "Session",
    "TrainingJob",
    "build_processing_request",
    "build_request",
    "load_job",
    "use_local",
]

_HOME = {
    "ProcessingJob": "launcher.aws.processing_job",
    "Session": "launcher.aws.session",
    "TrainingJob": "launcher.aws.training_job",
    "build_processing_request": "launcher.checks.offline",
    "build_request": "launcher.checks.offline",
    "load_job": "launcher.job_file.load",
    "use_local": "launcher.cli.local",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: `launcher --help` needs none of them."""
    import importlib  # noqa: PLC0415

    if name == "__version__":
        return _version()
    if name not in _HOME:
        raise AttributeError(f"module 'launcher' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def _version() -> str:
    """Return the installed version; in a checkout that is not installed, that of pyproject.toml."""
    import importlib.metadata  # noqa: PLC0415
    import tomllib  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    try:
        return importlib.metadata.version("distilbert-trainer")
    except importlib.metadata.PackageNotFoundError:
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])
