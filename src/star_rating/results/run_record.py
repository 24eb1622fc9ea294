"""run.json: what ran, on what, from what, and what was decided; enough to run it again."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_rating.hardware.cpuinfo import read_processor

if TYPE_CHECKING:  # it imports TensorFlow, which takes seconds
    from star_rating.data.channel import Channel

PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "tf-keras",
    "transformers",
    "tokenizers",
    "sagemaker-training",
    "smdebug",
    "numpy",
    "protobuf",
)


def versions() -> dict[str, str]:
    """Return the versions that decide a run's numbers; a package that is not there is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """Return the processor and the number of cores that this process may use."""
    return {"processor": read_processor().name, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def image(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the image's labels, which the Dockerfile repeats as variables."""
    return {
        name.lower(): environ[f"IMAGE_{name}"]
        for name in ("VERSION", "REVISION", "SOURCE")
        if f"IMAGE_{name}" in environ
    }


def channels(opened: Mapping[str, Channel]) -> dict[str, Any]:
    """Return what identifies the data."""
    return {
        name: {
            "records": channel.records,
            "files": len(channel.files),
            "sha256": channel.sha256,
            "label_histogram": channel.stars,
        }
        for name, channel in opened.items()
    }


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamped = {"written_at": datetime.now(UTC).isoformat(timespec="seconds"), **record}
    path.write_text(json.dumps(stamped, indent=2), encoding="utf-8")
