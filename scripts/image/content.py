"""Whether two images are the same but for the time of their building.

difference(published_config, inspect("distilbert-trainer:local"))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RUN = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels"),
    *("Shell", "StopSignal", "User", "Volumes", "WorkingDir"),
)
"""What of the configuration decides on how a container of the image runs."""


def difference(published: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """Return in what a registry's config blob and an engine's record differ; "" for the same layers and settings.

    Their times of building, and the history's, are left out: two builds of one commit differ in nothing else.
    """
    theirs, ours = published["rootfs"]["diff_ids"], image["RootFS"]["Layers"]
    changed = [
        str(number)
        for number in range(max(len(theirs), len(ours)))
        if theirs[number : number + 1] != ours[number : number + 1]
    ]
    settings = [name for name in _RUN if (published["config"].get(name) or None) != (image["Config"].get(name) or None)]
    said = []
    if changed:
        said.append(f"layers {', '.join(changed)} of {len(ours)}")
    if settings:
        said.append(f"settings {', '.join(settings)}")
    return ", ".join(said)
