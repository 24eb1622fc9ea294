"""Settings that exclude or need each other, by the API's documentation; its model does not say so.

check(job, diagnostics)
"""

from __future__ import annotations

import re

from launcher.checks.hyperparameters import image_setting
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job
from launcher.request.placeholders import NAMES

MAX_RUNTIME_SECONDS = 28 * 24 * 3600
"""Seconds; the documentation of MaxRuntimeInSeconds."""

TRACKING_URI = "environment.MLFLOW_TRACKING_URI"

_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:secret|password|passwd|token|credentials?|(?:api|access|private)_?key)(?:$|_)"
)


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add what contradicts itself in compute, time, network, tags and environment."""
    if job.account is not None and not re.fullmatch(r"[0-9]{12}", job.account):
        diagnostics.error("account", f"is {job.account!r}; twelve digits are needed, in quotes")
    _machines(job, diagnostics)
    _spot(job, diagnostics)
    _checkpoints(job, diagnostics)
    _epochs(job, diagnostics)
    _network(job, diagnostics)
    _tracking(job, diagnostics)
    for name in job.tags:
        if name.lower().startswith("aws:"):
            diagnostics.error(f"tags.{name}", "begins with aws:, which is reserved for AWS; choose another name")
    _secrets(job, diagnostics)
    _placeholders(job, diagnostics)


def is_secret(name: str, value: object = "") -> bool:
    """Tell whether an environment variable or hyperparameter looks like a credential."""
    return bool(_SECRET_NAME.search(name) or _ACCESS_KEY.search(str(value)))


def _machines(job: Job, diagnostics: Diagnostics) -> None:
    compute = job.compute
    ways = {
        "instance_type": compute.instance_type,
        "instance_groups": compute.instance_groups,
        "instance_preferences": compute.instance_preferences,
    }
    given = [name for name, value in ways.items() if value]
    for name in given[1:]:
        diagnostics.error(f"compute.{name}", f"excludes compute.{given[0]}; keep one of them")
    if compute.instance_groups and compute.instance_count is not None:
        diagnostics.error("compute.instance_count", "excludes compute.instance_groups; each group has its own")
    counts = {preference.instance_count is not None for preference in compute.instance_preferences or []}
    if len(counts) > 1 or (True in counts and compute.instance_count is not None):
        diagnostics.error(
            "compute.instance_preferences",
            "have instance_count on all of them, and none for compute, or only compute.instance_count",
        )
    if compute.instance_preferences and compute.enable_managed_spot_training:
        diagnostics.error(
            "compute.enable_managed_spot_training", "excludes compute.instance_preferences; keep one of them"
        )
    if compute.instance_preferences and compute.instance_placement_config:
        diagnostics.error(
            "compute.instance_placement_config", "excludes compute.instance_preferences; keep one of them"
        )
    if job.stopping_condition.max_runtime_in_seconds > MAX_RUNTIME_SECONDS:
        diagnostics.error(
            "stopping_condition.max_runtime_in_seconds",
            f"is {job.stopping_condition.max_runtime_in_seconds}; at most {MAX_RUNTIME_SECONDS} (28 days) are allowed",
        )


def _spot(job: Job, diagnostics: Diagnostics) -> None:
    condition, spot = job.stopping_condition, job.compute.enable_managed_spot_training
    wait, run = condition.max_wait_time_in_seconds, condition.max_runtime_in_seconds
    key = "stopping_condition.max_wait_time_in_seconds"
    if spot and wait is None:
        diagnostics.error(key, f"is missing: spot training needs it; at least max_runtime_in_seconds, which is {run}")
    if spot and wait is not None and wait < run:
        diagnostics.error(
            key, f"is {wait}, less than max_runtime_in_seconds, which is {run}; spot needs at least as much"
        )
    if not spot and wait is not None:
        diagnostics.error(key, "is for spot training only; set compute.enable_managed_spot_training or take it out")
    if spot and job.compute.keep_alive_period_in_seconds:
        diagnostics.error(
            "compute.keep_alive_period_in_seconds",
            "excludes spot training: a warm pool is never spot; keep one of them",
        )
    if spot and job.checkpoint_config is None:
        diagnostics.warning(
            "compute.enable_managed_spot_training", "is true without checkpoint_config: an interruption starts all over"
        )


def _checkpoints(job: Job, diagnostics: Diagnostics) -> None:
    if not job.check_image_contract:
        return
    enabled = image_setting(job, "enable_checkpointing")
    if job.checkpoint_config and enabled == "false":
        diagnostics.warning(
            "checkpoint_config", "is set, but hyperparameters.enable_checkpointing is false: the image writes none"
        )
    if enabled == "true" and job.checkpoint_config is None:
        diagnostics.warning(
            "hyperparameters.enable_checkpointing", "is true without checkpoint_config: checkpoints end with the host"
        )


def _epochs(job: Job, diagnostics: Diagnostics) -> None:
    if not job.check_image_contract or image_setting(job, "run_validation") != "false":
        return
    if image_setting(job, "export_epoch") == "best" or image_setting(job, "early_stopping_patience") not in {None, "0"}:
        diagnostics.error(
            "hyperparameters.run_validation",
            "is false, and export_epoch=best and early_stopping_patience compare epochs by their validation",
        )


def _network(job: Job, diagnostics: Diagnostics) -> None:
    networking = job.networking
    has_vpc = bool(networking.subnets and networking.security_group_ids)
    image_config = job.training_image_config
    if image_config and image_config.training_repository_access_mode == "Vpc" and not has_vpc:
        diagnostics.error(
            "training_image_config.training_repository_access_mode",
            "is 'Vpc' without a VPC; set networking.subnets and networking.security_group_ids",
        )
    if not networking.enable_network_isolation:
        return
    model = str(job.hyperparameters.get("model", "auto"))
    if job.check_image_contract and model != "auto" and not model.startswith("/"):
        diagnostics.error(
            "hyperparameters.model",
            f"is {model!r}, a hub's name, but networking.enable_network_isolation cuts the network;"
            " bring the weights in a `model` channel and leave it at auto",
        )
    if job.enable_remote_debug:
        diagnostics.error("enable_remote_debug", "needs a network, which networking.enable_network_isolation cuts")
    for place, is_set in (("mlflow_config", job.mlflow_config), (TRACKING_URI, _tracking_uri(job))):
        if is_set:
            diagnostics.warning(place, "is set, but networking.enable_network_isolation keeps the container from it")


def _tracking(job: Job, diagnostics: Diagnostics) -> None:
    """Judge the tracking server of the environment; that of mlflow_config is held against the API's own pattern."""
    uri = _tracking_uri(job)
    is_address = re.match(r"https?://[^/]", uri) or (uri.startswith("arn:") and ":mlflow-" in uri)
    if job.check_image_contract and uri and not is_address:
        diagnostics.error(
            TRACKING_URI,
            f"is {uri!r}; an http or https address, or the ARN of an MLflow App or tracking server is needed",
        )


def _tracking_uri(job: Job) -> str:
    return str(job.environment.get("MLFLOW_TRACKING_URI", "")).strip()


def _secrets(job: Job, diagnostics: Diagnostics) -> None:
    for section, values in (("environment", job.environment), ("hyperparameters", job.hyperparameters)):
        for name, value in values.items():
            if is_secret(name, value):
                diagnostics.warning(
                    f"{section}.{name}",
                    "looks like a credential, and whoever may describe the job can read it; let the role have access",
                )


def _placeholders(job: Job, diagnostics: Diagnostics) -> None:
    for section, values in (("environment", job.environment), ("hyperparameters", job.hyperparameters)):
        for name, value in values.items():
            found = next((known for known in NAMES if f"{{{known}}}" in str(value)), None)
            if found:
                diagnostics.warning(
                    f"{section}.{name}",
                    f"has {{{found}}}, which is sent as it is: only S3 URIs, ARNs and images are filled in",
                )
