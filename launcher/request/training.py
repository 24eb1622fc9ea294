"""A Job as CreateTrainingJob's request; pure, and the only place with the API's PascalCase names for it.

    request = training_request(job, "star-rating-2026-11-22-10-23-54-783")

What the job file leaves out is left out here too: SageMaker's own defaults stay SageMaker's.
"""

from __future__ import annotations

import datetime as dt
import re

from launcher.data import metric_definitions
from launcher.job_file.schema import Channel, Compute, Job
from launcher.request import Request, omit_none, stringify
from launcher.request.debugger import debugger, profiler
from launcher.request.placeholders import fill

_MAX_NAME_LENGTH = 63


def new_job_name(base_job_name: str, now: dt.datetime | None = None) -> str:
    """Return the base and the UTC time to the millisecond, cut to the 63 characters that a name may have."""
    now = now or dt.datetime.now(dt.UTC)
    stamp = now.strftime("%Y-%m-%d-%H-%M-%S-") + f"{now.microsecond // 1000:03d}"
    return f"{base_job_name[: _MAX_NAME_LENGTH - 1 - len(stamp)].rstrip('-')}-{stamp}"


def is_generated_name(job_name: str, base_job_name: str) -> bool:
    """Tell whether `new_job_name` has made a name of this base, or of one that begins with it."""
    stamp = re.search(r"-\d{4}(?:-\d\d){5}-\d{3}$", job_name)
    return stamp is not None and job_name.startswith(base_job_name[: _MAX_NAME_LENGTH - len(stamp[0])].rstrip("-"))


def training_request(job: Job, job_name: str) -> Request:
    """Return the request for a job of this name; raise JobFileError for a placeholder that has no value."""
    request = omit_none(
        TrainingJobName=job_name,
        RoleArn=job.role,
        AlgorithmSpecification=_algorithm(job),
        HyperParameters={name: str(value) for name, value in job.hyperparameters.items()} or None,
        InputDataConfig=[_channel(name, channel) for name, channel in job.input_data_config.items()] or None,
        OutputDataConfig=omit_none(
            S3OutputPath=job.output_data_config.s3_output_path,
            KmsKeyId=job.output_data_config.kms_key_id,
            CompressionType=job.output_data_config.compression_type,
        ),
        ResourceConfig=resource_config(job.compute),
        StoppingCondition=omit_none(
            MaxRuntimeInSeconds=job.stopping_condition.max_runtime_in_seconds,
            MaxWaitTimeInSeconds=job.stopping_condition.max_wait_time_in_seconds,
            MaxPendingTimeInSeconds=job.stopping_condition.max_pending_time_in_seconds,
        ),
        CheckpointConfig=job.checkpoint_config
        and omit_none(S3Uri=job.checkpoint_config.s3_uri, LocalPath=job.checkpoint_config.local_path),
        EnableManagedSpotTraining=job.compute.enable_managed_spot_training or None,
        RetryStrategy=job.retry_strategy and {"MaximumRetryAttempts": job.retry_strategy.maximum_retry_attempts},
        **_networking(job),
        Environment=stringify(job.environment) or None,
        Tags=[{"Key": key, "Value": value} for key, value in job.tags.items()] or None,
        **debugger(job, job_name),
        **profiler(job),
        **_tracking(job),
        **_operations(job),
    )
    return fill(request, job, job_name)


def _algorithm(job: Job) -> Request:
    metrics = metric_definitions() if job.metric_definitions is None else job.metric_definitions
    image_config = job.training_image_config
    provider = image_config and image_config.training_repository_credentials_provider_arn
    return omit_none(
        TrainingImage=job.training_image,
        TrainingInputMode=job.training_input_mode,
        MetricDefinitions=[{"Name": name, "Regex": regex} for name, regex in metrics.items()] or None,
        EnableSageMakerMetricsTimeSeries=job.enable_sagemaker_metrics_time_series,
        ContainerEntrypoint=job.container_entrypoint,
        ContainerArguments=job.container_arguments,
        TrainingImageConfig=image_config
        and omit_none(
            TrainingRepositoryAccessMode=image_config.training_repository_access_mode,
            TrainingRepositoryAuthConfig=provider and {"TrainingRepositoryCredentialsProviderArn": provider},
        ),
    )


def _channel(name: str, channel: Channel) -> Request:
    s3 = channel.s3_uri and omit_none(
        S3DataType=channel.s3_data_type,
        S3Uri=channel.s3_uri,
        S3DataDistributionType=channel.s3_data_distribution_type,
        AttributeNames=channel.attribute_names,
        InstanceGroupNames=channel.instance_group_names,
    )
    file_system = channel.file_system_id and omit_none(
        FileSystemId=channel.file_system_id,
        FileSystemType=channel.file_system_type,
        FileSystemAccessMode=channel.file_system_access_mode,
        DirectoryPath=channel.directory_path,
    )
    return omit_none(
        ChannelName=name,
        DataSource=omit_none(S3DataSource=s3, FileSystemDataSource=file_system),
        ContentType=channel.content_type,
        CompressionType=channel.compression_type,
        RecordWrapperType=channel.record_wrapper_type,
        InputMode=channel.input_mode,
        ShuffleConfig=None if channel.shuffle_seed is None else {"Seed": channel.shuffle_seed},
    )


def resource_config(compute: Compute) -> Request:
    """Return ResourceConfig: one type, groups of several, or preferences of which SageMaker takes one."""
    groups, preferences = compute.instance_groups, compute.instance_preferences
    has_own_counts = groups or any(preference.instance_count for preference in preferences or [])
    placement = compute.instance_placement_config
    return omit_none(
        InstanceType=compute.instance_type,
        InstanceCount=compute.instance_count or (None if has_own_counts else 1),
        VolumeSizeInGB=compute.volume_size_in_gb,
        VolumeKmsKeyId=compute.volume_kms_key_id,
        KeepAlivePeriodInSeconds=compute.keep_alive_period_in_seconds,
        InstanceGroups=groups
        and [
            {
                "InstanceGroupName": group.instance_group_name,
                "InstanceType": group.instance_type,
                "InstanceCount": group.instance_count,
            }
            for group in groups
        ],
        InstancePreferences=preferences
        and [
            omit_none(
                InstanceType=preference.instance_type,
                InstanceCount=preference.instance_count,
                TrainingPlanArns=preference.training_plan_arn and [preference.training_plan_arn],
            )
            for preference in preferences
        ],
        TrainingPlanArn=compute.training_plan_arn,
        InstancePlacementConfig=placement
        and omit_none(
            EnableMultipleJobs=placement.enable_multiple_jobs,
            PlacementSpecifications=placement.placement_specifications
            and [
                omit_none(InstanceCount=wanted.instance_count, UltraServerId=wanted.ultra_server_id)
                for wanted in placement.placement_specifications
            ],
        ),
    )


def _networking(job: Job) -> Request:
    networking = job.networking
    vpc = omit_none(SecurityGroupIds=networking.security_group_ids, Subnets=networking.subnets)
    return omit_none(
        VpcConfig=vpc or None,
        EnableNetworkIsolation=networking.enable_network_isolation,
        EnableInterContainerTrafficEncryption=networking.enable_inter_container_traffic_encryption,
    )


def _tracking(job: Job) -> Request:
    experiment, mlflow, tensorboard = job.experiment_config, job.mlflow_config, job.tensorboard_output_config
    return omit_none(
        TensorBoardOutputConfig=tensorboard
        and omit_none(S3OutputPath=tensorboard.s3_output_path, LocalPath=tensorboard.local_path),
        ExperimentConfig=omit_none(
            ExperimentName=experiment.experiment_name,
            TrialName=experiment.trial_name,
            TrialComponentDisplayName=experiment.trial_component_display_name,
            RunName=experiment.run_name,
        )
        if experiment and experiment.enabled
        else None,
        MlflowConfig=mlflow
        and omit_none(
            MlflowResourceArn=mlflow.mlflow_resource_arn,
            MlflowExperimentName=mlflow.mlflow_experiment_name,
            MlflowRunName=mlflow.mlflow_run_name,
        ),
    )


def _operations(job: Job) -> Request:
    def switch(name: str, *, value: bool | None) -> Request | None:
        return None if value is None else {name: value}

    package = job.model_package_config
    return omit_none(
        RemoteDebugConfig=switch("EnableRemoteDebug", value=job.enable_remote_debug),
        InfraCheckConfig=switch("EnableInfraCheck", value=job.enable_infra_check),
        SessionChainingConfig=switch("EnableSessionTagChaining", value=job.enable_session_tag_chaining),
        ModelPackageConfig=package
        and omit_none(
            ModelPackageGroupArn=package.model_package_group_arn,
            SourceModelPackageArn=package.source_model_package_arn,
        ),
    )
