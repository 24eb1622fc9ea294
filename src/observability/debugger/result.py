"""What is left of the debugger on SageMaker without a DebugHookConfig: a folder in output.tar.gz.

    keep(Path("/opt/ml/output/data/debugger"), tensors=Path("/opt/ml/output/tensors"), statuses=evaluation.statuses())

The platform uploads tensors only for jobs with a DebugHookConfig, which new accounts cannot have. The folder has
rules.json, in the shape of DescribeTrainingJob's DebugRuleEvaluationStatuses, and tensors/, which the command `rules`
and smdebug's create_trial read: all saved steps, or as many, evenly apart, as fit into LARGEST_TENSORS.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LARGEST_TENSORS = 16 << 20
"""Bytes of saved steps; a step of DistilBERT's default reductions has about 60 kB."""

END_MARKER = "training_job_end.ts"


@dataclass(frozen=True)
class _SavedStep:
    index: Path
    events: Path

    @property
    def size(self) -> int:
        return self.index.stat().st_size + self.events.stat().st_size


def keep(
    folder: Path, tensors: Path | None, statuses: Sequence[Mapping[str, Any]], largest: int = LARGEST_TENSORS
) -> None:
    """Write the folder; what cannot be written is a line in the log, as a trained model is worth more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.json").write_text(json.dumps(statuses, indent=1) + "\n", encoding="utf-8")
        kept, saved = (0, 0) if tensors is None else _keep_tensors(tensors, folder / "tensors", largest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("debugger: %s is incomplete: %s: %s", folder, type(error).__name__, error)
        return
    log.info("debugger: the rules' verdicts and %d of %d saved steps are in %s", kept, saved, folder)


def _keep_tensors(tensors: Path, folder: Path, largest: int) -> tuple[int, int]:
    steps = [_saved_step(tensors, index) for index in sorted(tensors.glob("index/*/*.json"))]
    sizes = [step.size for step in steps]
    stride = next((n for n in range(1, len(steps) + 1) if sum(sizes[::n]) <= largest), len(steps) + 1)
    kept = steps[::stride] if stride <= len(steps) else []
    if kept:
        shutil.copytree(tensors / "collections", folder / "collections", dirs_exist_ok=True)
    for step in kept:
        for file in (step.events, step.index):
            target = folder / file.relative_to(tensors)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    if kept:
        (folder / END_MARKER).touch()
    return len(kept), len(steps)


def _saved_step(tensors: Path, index: Path) -> _SavedStep:
    meta = json.loads(index.read_text(encoding="utf-8"))["meta"]
    return _SavedStep(index, tensors / meta["event_file_name"])
