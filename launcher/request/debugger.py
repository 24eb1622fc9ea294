"""Debugger's and Profiler's part of CreateTrainingJob's request.

request = {..., **debugger(job, "star-rating-1"), **profiler(job)}
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from launcher.data import rule_evaluator_image
from launcher.job_file.schema import DebugRule, Job, ProfilerRule
from launcher.request import Request, omit_none, stringify


def debugger(job: Job, job_name: str) -> Request:
    """Return DebugHookConfig and DebugRuleConfigurations, or nothing where the hook is off."""
    hook = job.debug_hook_config
    if hook is None or not hook.enabled:
        return {}
    rules = {name: rule for name, rule in job.debug_rule_configurations.items() if rule.enabled}
    collections = {name: parameters for rule in rules.values() for name, parameters in rule.collections_to_save.items()}
    collections |= hook.collection_configurations
    return omit_none(
        DebugHookConfig=omit_none(
            S3OutputPath=hook.s3_output_path,
            LocalPath=hook.local_path,
            HookParameters=None if hook.hook_parameters is None else stringify(hook.hook_parameters),
            CollectionConfigurations=[
                omit_none(CollectionName=name, CollectionParameters=stringify(parameters) or None)
                for name, parameters in collections.items()
            ],
        ),
        DebugRuleConfigurations=[
            _rule(name, rule, job.region, _action_parameters(rule, job_name)) for name, rule in rules.items()
        ]
        or None,
    )


def profiler(job: Job) -> Request:
    """Return ProfilerConfig and ProfilerRuleConfigurations; off has to be said, silence leaves SageMaker's default."""
    config = job.profiler_config
    if config is None:
        return {}
    if not config.enabled:
        return {"ProfilerConfig": {"DisableProfiler": True}}
    rules = {name: rule for name, rule in job.profiler_rule_configurations.items() if rule.enabled}
    return omit_none(
        ProfilerConfig=omit_none(
            DisableProfiler=False,
            S3OutputPath=config.s3_output_path,
            ProfilingIntervalInMilliseconds=config.profiling_interval_in_milliseconds,
            ProfilingParameters=config.profiling_parameters,
        ),
        ProfilerRuleConfigurations=[_rule(name, rule, job.region, {}) for name, rule in rules.items()] or None,
    )


def _rule(name: str, rule: ProfilerRule, region: str, actions: Mapping[str, str]) -> Request:
    return omit_none(
        RuleConfigurationName=name,
        RuleEvaluatorImage=rule.rule_evaluator_image or rule_evaluator_image(region),
        InstanceType=rule.instance_type,
        VolumeSizeInGB=rule.volume_size_in_gb,
        LocalPath=rule.local_path,
        S3OutputPath=rule.s3_output_path,
        RuleParameters={"rule_to_invoke": name} | stringify(rule.rule_parameters) | dict(actions),
    )


def _action_parameters(rule: DebugRule, job_name: str) -> dict[str, str]:
    """Return `action_json` as AWS's SDK writes it: JSON whose quotes carry a backslash each."""
    wanted = rule.actions
    actions = []
    if wanted and wanted.stop_training:
        actions.append({"name": "stoptraining", "training_job_prefix": job_name})
    if wanted and wanted.email:
        actions.append({"name": "email", "endpoint": wanted.email})
    if wanted and wanted.sms:
        actions.append({"name": "sms", "endpoint": wanted.sms})
    return {"action_json": json.dumps(actions).replace('"', '\\"')} if actions else {}
