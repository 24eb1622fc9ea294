"""What the debugger's hook shall save: SageMaker's config files, or this image's defaults in the same shape.

    settings = read_settings(contract, on_sagemaker=True)
    settings.document["LocalPath"]                            # '/opt/ml/output/tensors'

SageMaker writes debughookconfig.json from CreateTrainingJob's DebugHookConfig, with texts for values, and
tensorboardoutputconfig.json from its TensorBoardOutputConfig. `unsupported_settings` yields what smdebug would ignore
without a word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_rating.contract import Contract, is_path, local_path, read_object
from star_rating.failures import ConfigurationError, quote

log = logging.getLogger(__name__)

DEFAULT_SAVE_INTERVAL = 10
"""Steps, in a job without debughookconfig.json; the notebook's setting. smdebug's own default is 500."""

PACED = ("weights", "biases", "gradients")
"""Collections as large as the model: without debughookconfig.json they are saved as DEFAULT_REDUCTIONS, at a pace."""
DEFAULT_REDUCTIONS = "min,max,mean,variance,abs_mean,abs_max"
"""What rules ask of large tensors, in a few bytes; the tensors themselves would be a gigabyte in a few saved steps."""

ON_SAGEMAKER = "TRAINING_JOB_NAME"
"""The variable by which smdebug itself tells a SageMaker job."""

SMDEBUG_COLLECTIONS = frozenset(
    {"all", "default", "weights", "biases", "gradients", "losses", "metrics", "inputs", "outputs", "layers"}
    | {"sm_metrics", "optimizer_variables"}
)
"""Collections that smdebug fills by itself; any other needs an include_regex."""

BOOLEANS = frozenset({"save_all", "export_tensorboard", "save_histogram", "save_raw_tensor", "save_shape"})
NOT_AS_TEXT = frozenset({"save_raw_tensor", "save_shape"})
"""Booleans that smdebug itself cannot read from SageMaker's texts; it fails on "true"."""

_MODE = r"(?:(?:train|eval|predict|global)\.)?"
_WHOLE_NUMBER = re.compile(_MODE + r"(?:save_interval|start_step|end_step)$")
_WHOLE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class DebuggerSettings:
    """What the hook shall save, and where."""

    document: dict[str, Any]
    """In debughookconfig.json's shape, with every part."""
    paced: tuple[str, ...] = ()
    """Collections that are saved less often where that would take too much of the time."""
    configured: bool = True
    """Whether the job has a debughookconfig.json; SageMaker uploads the tensors of no other."""


def read_settings(contract: Contract, *, on_sagemaker: bool) -> DebuggerSettings:
    """Return the hook's settings: what debughookconfig.json says, or the defaults where there is none.

    A damaged file raises ConfigurationError.
    """
    path = contract.config_dir / "debughookconfig.json"
    given = read_object(path)
    settings = (
        DebuggerSettings(_defaults(), PACED, configured=False)
        if given is None
        else DebuggerSettings(_checked(given, path))
    )
    document = settings.document
    document["LocalPath"] = document.get("LocalPath") or str(contract.output_dir / "tensors")
    _place_tensorboard(document, contract, on_sagemaker=on_sagemaker)
    return settings


def _defaults() -> dict[str, Any]:
    return {
        "HookParameters": {"save_interval": str(DEFAULT_SAVE_INTERVAL)},
        "CollectionConfigurations": [
            {"CollectionName": name, "CollectionParameters": {"reductions": DEFAULT_REDUCTIONS}} for name in PACED
        ],
    }


def tensorboard_config(contract: Contract) -> Path:
    """Return where SageMaker writes tensorboardoutputconfig.json."""
    return contract.config_dir / "tensorboardoutputconfig.json"


def _place_tensorboard(document: dict[str, Any], contract: Contract, *, on_sagemaker: bool) -> None:
    """Make the export work outside SageMaker as inside; say which setting SageMaker ignores."""
    parameters = document["HookParameters"]
    path = tensorboard_config(contract)
    output = read_object(path)
    if on_sagemaker:
        if output is None and {"export_tensorboard", "tensorboard_dir"} & parameters.keys():
            log.warning(
                "debugger: HookParameters' export_tensorboard and tensorboard_dir do nothing on SageMaker unless the "
                "job has a TensorBoardOutputConfig"
            )
        elif "tensorboard_dir" in parameters:
            log.warning("debugger: tensorboard_dir does nothing on SageMaker: TensorBoardOutputConfig has the folder")
        return
    if output is not None:
        folder = output.get("LocalPath") or "tensorboard"
        if not is_path(folder):
            raise ConfigurationError(f"{path}: LocalPath is {quote(folder)}; the name of a folder is needed.")
        parameters.setdefault("tensorboard_dir", folder)
    if "tensorboard_dir" in parameters:
        # A relative path would be below the container's working directory, which nobody mounts.
        parameters["tensorboard_dir"] = str(contract.output_dir / parameters["tensorboard_dir"])


def _checked(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check what smdebug would fail on later, or misread; return a copy with every part that may be missing."""
    folder = local_path(settings, path)
    parameters = _parameters(settings.get("HookParameters"), f"{path}: HookParameters")
    collections = settings.get("CollectionConfigurations") or []
    if not isinstance(collections, list):
        raise ConfigurationError(f"{path}: CollectionConfigurations is not a list; write one, or leave the key out.")
    return {
        "LocalPath": str(folder) if folder else None,
        "HookParameters": parameters,
        "CollectionConfigurations": [
            _collection(entry, f"{path}: CollectionConfigurations[{index}]") for index, entry in enumerate(collections)
        ],
    }


def _collection(entry: object, where: str) -> dict[str, Any]:
    name = entry.get("CollectionName") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not name:
        raise ConfigurationError(f"{where} has no CollectionName; name what is to be saved, for example losses.")
    parameters = _parameters(entry.get("CollectionParameters"), f"{where} ({name[:80]})")
    if name not in SMDEBUG_COLLECTIONS and not parameters.get("include_regex"):
        raise ConfigurationError(
            f"{where}: {quote(name)} is not one of smdebug's collections ({', '.join(sorted(SMDEBUG_COLLECTIONS))}); "
            "give it an include_regex in its CollectionParameters."
        )
    return {"CollectionName": name, "CollectionParameters": parameters}


def _parameters(value: object, where: str) -> dict[str, str | bool]:
    """Return parameters as texts, which is how SageMaker sends them, but for those that smdebug cannot read so."""
    if value is None:
        return {}
    if not isinstance(value, dict) or any(isinstance(item, dict | list) for item in value.values()):
        raise ConfigurationError(f"{where} must be an object of name and text.")
    parameters = {name: str(item) for name, item in value.items() if item is not None}
    for name, text in parameters.items():
        _check_parameter(name, text, where)
    if not parameters.get("reductions", "").strip():
        parameters.pop("reductions", None)  # smdebug would save neither reductions nor tensors
    return {name: text.lower() == "true" if name in NOT_AS_TEXT else text for name, text in parameters.items()}


def _check_parameter(name: str, text: str, where: str) -> None:
    if _WHOLE_NUMBER.match(name):
        least = 1 if name.endswith("interval") else 0
        if not _WHOLE.fullmatch(text.strip()) or int(text) < least:
            raise ConfigurationError(f"{where}: {name[:80]} is {quote(text)}; a whole number from {least} is needed.")
    elif name.endswith("save_steps"):
        if not all(_WHOLE.fullmatch(step.strip()) for step in text.split(",")):
            raise ConfigurationError(
                f"{where}: {name[:80]} is {quote(text)}; write steps with commas between, as in '0,10'."
            )
    elif name in BOOLEANS:
        if text.lower() not in ("true", "false"):
            raise ConfigurationError(f"{where}: {name} is {quote(text)}; true or false is needed.")
    elif name == "include_regex":
        for pattern in text.split(","):
            try:
                re.compile(pattern.strip())
            except (re.error, OverflowError, RecursionError) as error:
                raise ConfigurationError(
                    f"{where}: include_regex {quote(pattern)} does not compile: {error}."
                ) from None


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


def unsupported_settings(document: Mapping[str, Any]) -> Iterator[str]:
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
