"""What a hook's settings ask for and will not get: smdebug passes over it without a word.

for remark in remarks(settings.document):
    log.warning(remark)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from star_rating.failures import quote

UNREACHABLE = {
    "inputs": "it would hold the reviews themselves, which this image keeps out of what it writes",
    "layers": "the training step is one compiled graph, and smdebug sees into none",
}
"""Collections that stay empty in this image, and why."""
SCALARS = ("losses", "metrics", "sm_metrics")
NAMES_IGNORED = ("weights", "layers")
"""Collections that smdebug fills by kind, whatever their include_regex says."""

REDUCTION = re.compile(r"(abs_)?(min|max|mean|std|variance|sum|prod|l1_norm|l2_norm)")
SCHEDULE = re.compile(r"((train|eval|predict|global)\.)?(save_interval|save_steps|start_step|end_step)")
OF_BOTH = {"include_regex", "reductions", "save_raw_tensor", "save_shape"}
OF_THE_HOOK = OF_BOTH | {"save_all", "include_workers", "export_tensorboard", "tensorboard_dir"}
OF_A_COLLECTION = OF_BOTH | {"save_histogram"}


class UnsupportedSettingError(Exception):
    """A setting with which the hook cannot run at all."""


def remarks(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each setting that does nothing, or costs what nobody expects of it.

    Raises UnsupportedSettingError. `document` has debughookconfig.json's shape, checked by settings.py.
    """
    hook = document["HookParameters"]
    yield from _of_parameters("HookParameters", hook, OF_THE_HOOK)
    if str(hook.get("save_all", "")).lower() == "true":
        yield f"save_all does not reach the collections {', '.join(UNREACHABLE)}"
    for collection in document.get("CollectionConfigurations", []):
        name, parameters = collection["CollectionName"], collection["CollectionParameters"]
        yield from _of_parameters(f"collection {name}", parameters, OF_A_COLLECTION)
        if name in UNREACHABLE:
            yield f"collection {name} stays empty: {UNREACHABLE[name]}"
        if name in SCALARS and "reductions" in parameters:
            yield f"reductions of collection {name} are not made: its scalars are saved as they are"
        if name in NAMES_IGNORED and "include_regex" in parameters:
            yield f"include_regex of collection {name} does nothing; give it to a collection of your own name"


def _of_parameters(where: str, parameters: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    for name in parameters:
        if name not in known and not SCHEDULE.fullmatch(name):
            yield f"{where}: {quote(name)} is no setting of smdebug's, and does nothing"
    reductions = [reduction.strip() for reduction in parameters.get("reductions", "").split(",")]
    for reduction in filter(None, reductions):
        if not REDUCTION.fullmatch(reduction):
            raise UnsupportedSettingError(
                f"{where}: {quote(reduction)} is no reduction of smdebug's; known are min, max, mean, std, variance, "
                "sum, prod, l1_norm and l2_norm, each also with abs_ before it"
            )
    if any(reduction.endswith("l2_norm") for reduction in reductions):
        yield (
            f"{where}: smdebug's l2_norm of a matrix is its largest singular value, which takes seconds for an "
            "embedding; variance and abs_mean say as much for little"
        )
