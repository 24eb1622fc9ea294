"""Tensor folders written by smdebug's own writer, step by step.

tensors = SavedTensors(tmp_path, {"losses": ["loss"]})
tensors.save("TRAIN", loss=1.5)
tensors.end()
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from observability.debugger import smdebug_messages

END_MARKER = "training_job_end.ts"


class SavedTensors:
    """A folder as smdebug's hook leaves it; steps are global, and counted within each mode as well."""

    def __init__(self, folder: Path, collections: Mapping[str, Sequence[str]]) -> None:
        os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r".*\bsmdebug\b")
        smdebug_messages.install()
        from smdebug.core.collection_manager import CollectionManager

        self.folder = folder
        self.number = 0
        self.mode_steps: Counter[str] = Counter()
        manager = CollectionManager()
        for name, tensors in collections.items():
            manager.create_collection(name)
            for tensor in tensors:
                manager.get(name).add_tensor_name(tensor)
        manager.export(str(folder), "worker_0_collections.json")

    def save(self, mode: str, /, *, skip: int = 0, **tensors: Any) -> Path:
        """Write the next step of a mode, after `skip` steps that were not saved; return its event file."""
        from smdebug.core.modes import ModeKeys
        from smdebug.core.writer import FileWriter

        self.number += skip
        self.mode_steps[mode] += skip
        with FileWriter(str(self.folder), "worker_0", step=self.number) as writer:
            for name, value in tensors.items():
                array = np.atleast_1d(np.asarray(value))
                writer.write_tensor(array, name, mode=ModeKeys[mode], mode_step=self.mode_steps[mode])
            path = Path(writer.event_file_path)
        self.number += 1
        self.mode_steps[mode] += 1
        return path

    def index(self, number: int) -> Path:
        """Return a step's index file."""
        return next(self.folder.glob(f"index/*/{number:012d}_worker_0.json"))

    def end(self) -> None:
        """Write the end marker."""
        (self.folder / END_MARKER).touch()
