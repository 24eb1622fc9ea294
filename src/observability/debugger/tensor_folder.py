"""A folder of saved tensors: where a run's go, and what is in it by its index files.

folder = free_folder(Path("/opt/ml/output/tensors"), on_sagemaker=False)
count_steps(folder)                      # {"TRAIN": 28, "EVAL": 3}
names_saved(folder)                      # {"loss", "accuracy", "smdebug/reductions/mean/gradients/..."}
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from star_rating.contract import unused_folder

log = logging.getLogger(__name__)


def free_folder(wanted: Path, *, on_sagemaker: bool) -> Path:
    """Return where the tensors go: `wanted`, or a new folder beside it if an earlier run's tensors are there.

    smdebug cannot keep two runs apart: it refuses a folder with an end marker, and mixes steps in one without.
    """
    if on_sagemaker:
        # A job that was interrupted goes on in its folder; the file by which the dead process claimed it has to go.
        (wanted / "claim.smd").unlink(missing_ok=True)
        return wanted
    folder = unused_folder(wanted)
    if folder != wanted:
        log.info("debugger: %s holds the tensors of an earlier run; this run's go to %s", wanted, folder)
    return folder


def count_steps(folder: Path) -> dict[str, int]:
    """Return mode -> number of steps in a tensor folder."""
    return dict(Counter(index["meta"]["mode"] for index in _indexes(folder)))


def names_saved(folder: Path) -> set[str]:
    """Return the names of the tensors and reductions in a tensor folder."""
    return {entry["tensorname"] for index in _indexes(folder) for entry in index["tensor_payload"]}


def _indexes(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("index/*/*_worker_0.json"):
        yield json.loads(path.read_text(encoding="utf-8"))
