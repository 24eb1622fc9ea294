"""The tables for what watches a job: Debugger, Profiler, TensorBoard, Experiments, MLflow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from launcher.job_file.section import Section, Texts


class DebugHookConfig(Section):
    """SMDebug's hook. `enabled = false` takes hook and rules out of the request."""

    enabled: bool = True
    s3_output_path: str = "s3://{bucket}/"
    local_path: str | None = None
    hook_parameters: Texts | None = None
    collection_configurations: dict[str, Texts] = Field(default_factory=dict)
    """Collection name -> its parameters."""


class RuleActions(Section):
    """What a Debugger rule does when it finds an issue; goes through the SNS topic SMDebugRules."""

    stop_training: bool = False
    email: str | None = None
    sms: str | None = None
    """A telephone number with its country, +15555550100."""


class ProfilerRule(Section):
    """A rule that SageMaker evaluates beside the job, on the profile."""

    enabled: bool = True
    rule_evaluator_image: str | None = None
    """By default AWS's image of the region."""
    instance_type: str | None = None
    volume_size_in_gb: int | None = None
    local_path: str | None = None
    s3_output_path: str | None = None
    rule_parameters: Texts = Field(default_factory=dict)


class DebugRule(ProfilerRule):
    """A rule that SageMaker evaluates beside the job, on the hook's tensors."""

    collections_to_save: dict[str, Texts] = Field(default_factory=dict)
    """Collections that the hook has to save for this rule, with their parameters."""
    actions: RuleActions | None = None


class ProfilerConfig(Section):
    """System metrics and the framework's profile. `enabled = false` switches SageMaker's own default off as well."""

    enabled: bool = True
    s3_output_path: str = "s3://{bucket}/"
    profiling_interval_in_milliseconds: Literal[100, 200, 500, 1000, 5000, 60000] | None = None
    profiling_parameters: dict[str, str] | None = None
    """As the API takes them: values are JSON texts."""


class TensorBoardOutputConfig(Section):
    """Where TensorBoard's files go while the job runs."""

    s3_output_path: str
    local_path: str | None = None


class ExperimentConfig(Section):
    """SageMaker Experiments (Studio Classic). `enabled = false` leaves it out."""

    enabled: bool = True
    experiment_name: str | None = None
    trial_name: str | None = None
    trial_component_display_name: str | None = None
    run_name: str | None = None


class MlflowConfig(Section):
    """A managed MLflow server that records the job."""

    mlflow_resource_arn: str
    mlflow_experiment_name: str | None = None
    mlflow_run_name: str | None = None
