"""Debugger and Profiler: what a rule needs, and where AWS has them.

check(job, diagnostics)

Neither may ever be the reason that a job cannot run: each message names the switch that leaves it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from launcher.checks.hyperparameters import image_setting
from launcher.data import rule_evaluator_image
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job, ProfilerRule, StringMap

_PHONE = re.compile(r"\+[0-9]{5,15}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add rules without what they watch, without an image, and actions that cannot be sent."""
    hook = job.debug_hook_config
    hook_on = hook is not None and hook.enabled
    debug_rules = {name: rule for name, rule in job.debug_rule_configurations.items() if rule.enabled}
    if hook is None and debug_rules:
        diagnostics.error("debug_rule_configurations", "need debug_hook_config, which saves what they read; add it")
    if hook_on:
        _hook_in_the_image(job, diagnostics, has_rules=bool(debug_rules))
        _images("debug_rule_configurations", debug_rules, job.region, "debugger", diagnostics)
        _collections(job, diagnostics)
    for name, rule in debug_rules.items():
        _actions(f"debug_rule_configurations.{name}.actions", rule.actions, diagnostics)

    profiler = job.profiler_config
    profiler_rules = {name: rule for name, rule in job.profiler_rule_configurations.items() if rule.enabled}
    if profiler is None and profiler_rules:
        diagnostics.error("profiler_rule_configurations", "need profiler_config, which makes what they read; add it")
    if profiler is not None and profiler.enabled:
        _images("profiler_rule_configurations", profiler_rules, job.region, "profiler", diagnostics)
    for feature, key in closed_features(job).items():
        diagnostics.warning(
            key,
            "is for accounts that used Debugger before 2026-07-30: in another one AWS refuses the submission; "
            f"enabled = false or --without {feature} leaves it out, and the image's own results are there all the same",
            about_aws=True,
        )


def closed_features(job: Job) -> dict[str, str]:
    """Return what AWS takes from accounts only that used Debugger before 2026-07-30: name -> key of the job file."""
    hook, profiler = job.debug_hook_config, job.profiler_config
    features = {"debugger": (hook, "debug_hook_config"), "profiler": (profiler, "profiler_config")}
    return {name: key for name, (config, key) in features.items() if config is not None and config.enabled}


def _hook_in_the_image(job: Job, diagnostics: Diagnostics, *, has_rules: bool) -> None:
    if not job.check_image_contract:
        return
    if image_setting(job, "enable_sagemaker_debugger") == "false":
        key, message = "hyperparameters.enable_sagemaker_debugger", "is false, so the image saves no tensors;"
    elif (job.compute.instance_count or 1) > 1:
        count = job.compute.instance_count
        key, message = "compute.instance_count", f"is {count}, and the image saves tensors on one host only;"
    else:
        return
    if has_rules:
        diagnostics.error(key, f"{message} the rules would wait for them: set it otherwise, or add --without debugger")
    else:
        diagnostics.warning(key, f"{message} debug_hook_config does nothing")


def _images(table: str, rules: Mapping[str, ProfilerRule], region: str, feature: str, diagnostics: Diagnostics) -> None:
    if rule_evaluator_image(region):
        return
    for name, rule in rules.items():
        if rule.rule_evaluator_image is None:
            diagnostics.error(
                f"{table}.{name}.rule_evaluator_image",
                f"is missing: AWS names no rule image for region {region!r}; give one, or add --without {feature}",
            )


def _collections(job: Job, diagnostics: Diagnostics) -> None:
    seen: dict[str, tuple[str, StringMap]] = {}
    assert job.debug_hook_config is not None
    wanted = [
        (f"debug_rule_configurations.{rule_name}.collections_to_save.{name}", name, parameters)
        for rule_name, rule in job.debug_rule_configurations.items()
        if rule.enabled
        for name, parameters in rule.collections_to_save.items()
    ]
    wanted += [
        (f"debug_hook_config.collection_configurations.{name}", name, parameters)
        for name, parameters in job.debug_hook_config.collection_configurations.items()
    ]
    for key, name, parameters in wanted:
        first, others = seen.setdefault(name, (key, parameters))
        if others != parameters:
            diagnostics.error(key, f"differs from {first}; a collection is saved in one way")


def _actions(key: str, actions: object, diagnostics: Diagnostics) -> None:
    email, sms = getattr(actions, "email", None), getattr(actions, "sms", None)
    if email is not None and not _EMAIL.fullmatch(email):
        diagnostics.error(f"{key}.email", f"is {email!r}, which is no e-mail address")
    if sms is not None and not _PHONE.fullmatch(sms):
        diagnostics.error(f"{key}.sms", f"is {sms!r}; write the number with its country, as +15555550100")
