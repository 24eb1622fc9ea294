"""Every key of a job file, typed and closed: an unknown key is an error.

    launcher schema > job.schema.json      # the same as JSON Schema, for editors

Names are those of SageMaker's Python SDK v3: the API's own, in snake_case. Lists of named things (channels, rules,
collections) are tables here, keyed by their names. Limits that the API's model knows are not repeated:
request/shapes.py checks the finished request against that model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_INSTANCE_TYPE = "ml.c5.9xlarge"
DEFAULT_PROCESSING_INSTANCE_TYPE = "ml.c5.2xlarge"
InputMode = Literal["File", "FastFile", "Pipe"]
Distribution = Literal["FullyReplicated", "ShardedByS3Key"]

Scalar = bool | int | float | str

StringMap = dict[str, Scalar]
"""The API takes texts; a job file may say `save_interval = 10`."""


class Section(BaseModel):
    """A table of the job file: closed, typed without conversions, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class InstanceGroup(Section):
    """One group of a heterogeneous cluster."""

    instance_group_name: str
    instance_type: str
    instance_count: int


class InstancePreference(Section):
    """An instance type that will do."""

    instance_type: str
    instance_count: Annotated[int, Field(ge=1)] | None = None
    """Hosts of this type; on all preferences or on none, which then have compute.instance_count."""
    training_plan_arn: str | None = None


class PlacementSpecification(Section):
    """Where instances of an UltraServer go."""

    instance_count: int
    ultra_server_id: str | None = None


class InstancePlacement(Section):
    """Placement inside UltraServers."""

    enable_multiple_jobs: bool | None = None
    placement_specifications: list[PlacementSpecification] | None = None


class Compute(Section):
    """The machines, and how they are paid for."""

    instance_type: str | None = None
    """ml.c5.9xlarge, unless instance_groups or instance_preferences say otherwise."""
    instance_count: Annotated[int, Field(ge=1)] | None = None
    """Hosts; with instance_groups each group has its own."""
    volume_size_in_gb: Annotated[int, Field(ge=1)] = 30
    """Disk of each host, for channels, checkpoints and the model."""
    volume_kms_key_id: str | None = None
    enable_managed_spot_training: bool = False
    """Spare capacity at up to 90 % off; the job can be interrupted: set checkpoint_config too."""
    keep_alive_period_in_seconds: int | None = None
    """Warm pool: keep the hosts this long for a next job; billed, and not with spot."""
    instance_groups: list[InstanceGroup] | None = None
    instance_preferences: list[InstancePreference] | None = None
    """Best first; SageMaker takes what it has."""
    training_plan_arn: str | None = None
    instance_placement_config: InstancePlacement | None = None

    @model_validator(mode="before")
    @classmethod
    def _choose_machine(cls, values: Any) -> Any:  # noqa: ANN401 - not validated yet
        if (
            isinstance(values, dict)
            and not {"instance_type", "instance_groups", "instance_preferences"} & values.keys()
        ):
            return {**values, "instance_type": DEFAULT_INSTANCE_TYPE}
        return values


class Networking(Section):
    """What the containers can reach."""

    subnets: list[str] | None = None
    security_group_ids: list[str] | None = None
    enable_network_isolation: bool | None = None
    """No outbound calls at all; the image needs none."""
    enable_inter_container_traffic_encryption: bool | None = None


class StoppingCondition(Section):
    """When SageMaker ends the job by itself."""

    max_runtime_in_seconds: Annotated[int, Field(ge=1)] = 86400
    max_wait_time_in_seconds: Annotated[int, Field(ge=1)] | None = None
    """Spot only: waiting for capacity and running together; at least max_runtime_in_seconds."""
    max_pending_time_in_seconds: Annotated[int, Field(ge=1)] | None = None


class Channel(Section):
    """A channel's data: an S3 URI, or a directory of an EFS or FSx for Lustre file system."""

    s3_uri: str | None = None
    s3_data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"] = "S3Prefix"
    s3_data_distribution_type: Distribution | None = None
    """ShardedByS3Key deals whole objects out to the hosts; SageMaker's default is FullyReplicated."""
    attribute_names: list[str] | None = None
    """Of an augmented manifest."""
    instance_group_names: list[str] | None = None
    file_system_id: str | None = None
    file_system_type: Literal["EFS", "FSxLustre"] | None = None
    file_system_access_mode: Literal["ro", "rw"] | None = None
    directory_path: str | None = None
    content_type: str | None = None
    compression_type: Literal["None", "Gzip"] | None = None
    record_wrapper_type: Literal["None", "RecordIO"] | None = None
    input_mode: InputMode | None = None
    """This channel's own mode; otherwise training_input_mode."""
    shuffle_seed: int | None = None


class OutputData(Section):
    """Where model.tar.gz and output.tar.gz go."""

    s3_output_path: str = "s3://{bucket}/"
    kms_key_id: str | None = None
    compression_type: Literal["GZIP", "NONE"] | None = None
    """NONE leaves the model's files unpacked in S3."""


class CheckpointConfig(Section):
    """The folder that SageMaker keeps in step with S3; what the image writes into it is resumed from."""

    s3_uri: str
    local_path: str | None = None


class RetryStrategy(Section):
    """Retries after an internal error of the platform."""

    maximum_retry_attempts: int


class TrainingImageConfig(Section):
    """An image in a private registry of the job's own VPC."""

    training_repository_access_mode: Literal["Platform", "Vpc"]
    training_repository_credentials_provider_arn: str | None = None


class ModelPackageConfig(Section):
    """The model registry's group that the model joins."""

    model_package_group_arn: str
    source_model_package_arn: str | None = None


class ProcessingInstancePreference(Section):
    """An instance type that will do for prepare."""

    instance_type: str
    instance_count: Annotated[int, Field(ge=1)] | None = None
    """Hosts of this type; on all preferences or on none, which then have processing.instance_count."""


class Processing(Section):
    """`launcher process`: the image's prepare, from raw reviews to the channels, as a Processing job."""

    s3_input: str
    """Prefix of the raw reviews."""
    s3_output: str = "s3://{bucket}/"
    """Prefix under which train/, validation/ and test/ appear; a run removes what an earlier one wrote there."""
    arguments: list[str] = Field(default_factory=list)
    """Options of prepare, for example ["--max-seq-length", "64"]."""
    container_entrypoint: list[str] | None = None
    """A program of the image instead of its own entrypoint; `arguments` are then its, without the word `prepare`."""
    instance_type: str | None = None
    """ml.c5.2xlarge, unless instance_preferences say otherwise."""
    instance_count: Annotated[int, Field(ge=1)] | None = None
    """Hosts; 1, unless each preference has its own."""
    instance_preferences: list[ProcessingInstancePreference] | None = None
    """Best first; SageMaker takes what it has."""
    volume_size_in_gb: Annotated[int, Field(ge=1)] = 30
    max_runtime_in_seconds: Annotated[int, Field(ge=1)] = 3600
    s3_data_distribution_type: Distribution = "ShardedByS3Key"
    kms_key_id: str | None = None
    """Key that the channels are encrypted with; by default output_data_config's."""
    volume_kms_key_id: str | None = None
    """Key of the hosts' disks; by default compute's."""
    environment: StringMap = Field(default_factory=dict)
    """For prepare only; the table `environment` is the training job's."""


class DebugHookConfig(Section):
    """SMDebug's hook. `enabled = false` takes hook and rules out of the request."""

    enabled: bool = True
    s3_output_path: str = "s3://{bucket}/"
    local_path: str | None = None
    hook_parameters: StringMap | None = None
    collection_configurations: dict[str, StringMap] = Field(default_factory=dict)
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
    rule_parameters: StringMap = Field(default_factory=dict)


class DebugRule(ProfilerRule):
    """A rule that SageMaker evaluates beside the job, on the hook's tensors."""

    collections_to_save: dict[str, StringMap] = Field(default_factory=dict)
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


class ParameterRange(Section):
    """What `launcher tune` tries for a hyperparameter: numbers between two, whole ones if both are, or values."""

    min_value: int | float | None = None
    max_value: int | float | None = None
    scaling_type: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"
    values: list[Scalar] | None = None


class Tuning(Section):
    """`launcher tune`: many training jobs of this file, with other hyperparameters each, look for the best ones."""

    objective_metric_name: str
    """One of the metric definitions, for example validation:accuracy."""
    objective_type: Literal["Minimize", "Maximize"] | None = None
    """Left out: Minimize for a loss, Maximize for anything else."""
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    parameter_ranges: dict[str, ParameterRange] = Field(default_factory=dict)
    """Hyperparameter -> its range; the others are those of `hyperparameters`."""
    max_number_of_training_jobs: Annotated[int, Field(ge=1)] | None = None
    """Left out for Grid, which tries every combination."""
    max_parallel_training_jobs: Annotated[int, Field(ge=1)] = 1
    max_runtime_in_seconds: int | None = None
    """Of the whole tuning job."""
    training_job_early_stopping_type: Literal["Off", "Auto"] | None = None
    """Auto stops training jobs that are worse than the median."""
    target_objective_metric_value: float | None = None
    """The tuning job ends when a training job reaches it."""
    max_number_of_training_jobs_not_improving: int | None = None
    """The tuning job ends after this many training jobs without a better one."""
    min_resource: int | None = None
    """Hyperband: epochs that every training job gets at least."""
    max_resource: int | None = None
    """Hyperband: epochs of a training job that is not stopped."""
    random_seed: int | None = None
    warm_start_from: list[str] = Field(default_factory=list)
    """Earlier tuning jobs to learn from."""
    warm_start_type: Literal["IdenticalDataAndAlgorithm", "TransferLearning"] = "IdenticalDataAndAlgorithm"


class Job(Section):
    """A whole job file.

    `{account}`, `{region}`, `{bucket}` and `{job_name}` are filled in wherever an S3 URI, ARN or image is asked for;
    environment, hyperparameters, tags and arguments are sent as they are.
    """

    base_job_name: str = "star-rating"
    """Job names are this, a hyphen and the time."""
    region: str
    """Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's."""
    account: str | None = None
    """Twelve digits, in quotes; what {account} stands for."""
    bucket: str = "sagemaker-{region}-{account}"
    """What {bucket} stands for; the default is the SageMaker SDK's default bucket."""
    role: str
    """ARN of the role that the job runs as."""
    training_image: str
    """registry/repository@sha256:digest, or :tag."""
    training_input_mode: InputMode = "File"
    container_entrypoint: list[str] | None = None
    container_arguments: list[str] | None = None
    enable_sagemaker_metrics_time_series: bool | None = None
    check_image_contract: bool = True
    """Hold hyperparameters, channels and hosts against what this project's image takes; false for another image."""
    hyperparameters: StringMap = Field(default_factory=dict)
    metric_definitions: dict[str, str] | None = None
    """Metric name -> regular expression; left out: those of the image's own log format."""
    compute: Compute = Field(default_factory=Compute)
    """The machines."""
    networking: Networking = Networking()
    stopping_condition: StoppingCondition = StoppingCondition()
    input_data_config: dict[str, Channel] = Field(default_factory=dict)
    """Channel name -> its data."""
    output_data_config: OutputData = OutputData()
    checkpoint_config: CheckpointConfig | None = None
    retry_strategy: RetryStrategy | None = None
    environment: StringMap = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    debug_hook_config: DebugHookConfig | None = None
    debug_rule_configurations: dict[str, DebugRule] = Field(default_factory=dict)
    """Rule name -> the rule; AWS's own name (rule_to_invoke in rule_parameters overrides it)."""
    profiler_config: ProfilerConfig | None = None
    profiler_rule_configurations: dict[str, ProfilerRule] = Field(default_factory=dict)
    tensorboard_output_config: TensorBoardOutputConfig | None = None
    experiment_config: ExperimentConfig | None = None
    mlflow_config: MlflowConfig | None = None
    training_image_config: TrainingImageConfig | None = None
    model_package_config: ModelPackageConfig | None = None
    enable_remote_debug: bool | None = None
    enable_infra_check: bool | None = None
    enable_session_tag_chaining: bool | None = None
    processing: Processing | None = None
    tuning: Tuning | None = None
