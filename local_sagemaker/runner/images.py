"""The image of a job: the engine's own, else pulled, as the platform does; a stop does not wait for the pull.

image = job_image(life, "distilbert-trainer:local")
"""

from __future__ import annotations

from local_sagemaker.docker_client.engine import PullCancelledError
from local_sagemaker.docker_client.request import Image
from local_sagemaker.runner.job_life import JobLife
from local_sagemaker.volumes.pace import CancelledError


def job_image(life: JobLife, name: str) -> Image:
    """Return an image; raise ImageMissingError, CancelledError."""
    try:
        image = life.world.engine.patiently(lambda: life.world.engine.image(name, life.cancelled))
    except PullCancelledError:
        raise CancelledError from None
    if life.cancelled.is_set():
        raise CancelledError
    return image
