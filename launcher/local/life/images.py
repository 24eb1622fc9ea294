"""The image of a job: the engine's own, else pulled, with ECR's credentials as the platform does.

training_image(world, "distilbert-trainer:local")
"""

from __future__ import annotations

from launcher.local.engine.request import Image
from launcher.local.life.world import World
from launcher.local.state import ACCOUNT

_ECR = {"username": "AWS", "password": f"{ACCOUNT}-auth-token"}
"""What moto's GetAuthorizationToken decodes to."""


def training_image(world: World, name: str) -> Image:
    """Return an image; raise ImageMissingError."""
    registry = name.partition("/")[0]
    is_private = "." in registry or ":" in registry or registry == "localhost"
    return world.engine.image(name, _ECR if is_private else None)
