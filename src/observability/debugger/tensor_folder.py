"""A folder of saved tensors: where a run's go, what its index files list, and the copy in output.tar.gz.

folder = free_folder(Path("/opt/ml/output/tensors"), on_sagemaker=False)
count_steps(folder)                      # {"TRAIN": 28, "EVAL": 3}
names_saved(folder)                      # {"loss", "accuracy", "smdebug/reductions/mean/gradients/..."}

The platform uploads tensors only for jobs with a DebugHookConfig, which new accounts cannot have. Without one,
`keep_result` writes /opt/ml/output/data/debugger: rules.json, in the shape of DescribeTrainingJob's
DebugRuleEvaluationStatuses, and tensors/, which the command `rules` and smdebug's create_trial read: all saved steps,
or as many, evenly apart, as fit into LARGEST_TENSORS.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


LARGEST_TENSORS = 16 << 20
"""Bytes of saved steps; a step of DistilBERT's default reductions has about 60 kB."""

END_MARKER = "training_job_end.ts"


@dataclass(frozen=True)
class _StepFiles:
    index: Path
    events: Path

    @property
    def size(self) -> int:
        return self.index.stat().st_size + self.events.stat().st_size


def keep_result(
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
    steps = [_step_files(tensors, index) for index in sorted(tensors.glob("index/*/*.json"))]
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


def _step_files(tensors: Path, index: Path) -> _StepFiles:
    meta = json.loads(index.read_text(encoding="utf-8"))["meta"]
    return _StepFiles(index, tensors / meta["event_file_name"])
