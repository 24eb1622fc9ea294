"""The image of a job: the engine's own, else pulled, as the platform does; a stop does not wait for the pull.

image = job_image(life, "distilbert-trainer:local")
"""

from __future__ import annotations

from launcher.local.disks.pace import CancelledError
from launcher.local.engine.engine import PullCancelledError
from launcher.local.engine.request import Image
from launcher.local.life.job_life import JobLife


def job_image(life: JobLife, name: str) -> Image:
    """Return an image; raise ImageMissingError, CancelledError."""
    try:
        image = life.world.engine.patiently(lambda: life.world.engine.image(name, life.cancelled))
    except PullCancelledError:
        raise CancelledError from None
    if life.cancelled.is_set():
        raise CancelledError
    return image
