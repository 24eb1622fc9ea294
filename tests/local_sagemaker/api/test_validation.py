"""Wrong requests to the local SageMaker: each is answered with the real service's error code and constraint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.local_server import BUCKET, PROCESSING, TRAINING, ApiServer, call, changed, serving

Changes = dict[str, Any]

VALIDATION, SERIALIZATION = "ValidationException", "SerializationException"

CHANNEL = "InputDataConfig.0"
SOURCE = f"{CHANNEL}.DataSource.S3DataSource"
ALGORITHM = "AlgorithmSpecification"

GROUPS = [
    {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
    {"InstanceGroupName": "b", "InstanceType": "ml.c5.2xlarge", "InstanceCount": 1},
]
IN_GROUPS: Changes = {"ResourceConfig": {"InstanceGroups": GROUPS, "VolumeSizeInGB": 30}}
RULE = {"RuleConfigurationName": "LossNotDecreasing", "RuleEvaluatorImage": "rules:latest"}


def at(place: str, shown: str, constraint: str) -> str:
    """Return the message of a single broken constraint of the model."""
    value = f"Value {shown} at" if shown else "Value at"
    return f"1 validation error detected: {value} '{place}' failed to satisfy constraint: {constraint}"


def missing(place: str) -> str:
    return at(place, "null", "Member must not be null")


WRONG_TRAINING: dict[str, tuple[Changes, str, str]] = {
    # The model: what has to be there
    "no name": ({"TrainingJobName": None}, VALIDATION, missing("trainingJobName")),
    "no role": ({"RoleArn": None}, VALIDATION, missing("roleArn")),
    "no output": ({"OutputDataConfig": None}, VALIDATION, missing("outputDataConfig")),
    "no output path": ({"OutputDataConfig": {}}, VALIDATION, missing("outputDataConfig.s3OutputPath")),
    "no algorithm": ({ALGORITHM: None}, VALIDATION, missing("algorithmSpecification")),
    "no resources": ({"ResourceConfig": None}, VALIDATION, missing("resourceConfig")),
    "no input mode": (
        {f"{ALGORITHM}.TrainingInputMode": None},
        VALIDATION,
        missing("algorithmSpecification.trainingInputMode"),
    ),
    "a channel without a source": (
        {f"{CHANNEL}.DataSource": None},
        VALIDATION,
        missing("inputDataConfig.1.member.dataSource"),
    ),
    "a channel without a name": (
        {"InputDataConfig.1.ChannelName": None},
        VALIDATION,
        missing("inputDataConfig.2.member.channelName"),
    ),
    "a channel without a type of data": (
        {f"{SOURCE}.S3DataType": None},
        VALIDATION,
        missing("inputDataConfig.1.member.dataSource.s3DataSource.s3DataType"),
    ),
    "a metric without a pattern": (
        {f"{ALGORITHM}.MetricDefinitions.1.Regex": None},
        VALIDATION,
        missing("algorithmSpecification.metricDefinitions.2.member.regex"),
    ),
    "a checkpoint without a place": ({"CheckpointConfig": {}}, VALIDATION, missing("checkpointConfig.s3Uri")),
    "a hook without a place": (
        {"DebugHookConfig.S3OutputPath": None},
        VALIDATION,
        missing("debugHookConfig.s3OutputPath"),
    ),
    "a rule without an image": (
        {"DebugRuleConfigurations.0.RuleEvaluatorImage": None},
        VALIDATION,
        missing("debugRuleConfigurations.1.member.ruleEvaluatorImage"),
    ),
    "a tag without a value": ({"Tags.0.Value": None}, VALIDATION, missing("tags.1.member.value")),
    "half a VPC": ({"VpcConfig": {"Subnets": ["subnet-1"]}}, VALIDATION, missing("vpcConfig.securityGroupIds")),
    "retries without a number": ({"RetryStrategy": {}}, VALIDATION, missing("retryStrategy.maximumRetryAttempts")),
    # The model: enumerations
    "an instance type that does not exist": (
        {"ResourceConfig.InstanceType": "ml.t9.medium"},
        VALIDATION,
        at("resourceConfig.instanceType", "'ml.t9.medium'", "Member must satisfy enum value set: [ml.m4.xlarge, "),
    ),
    "an instance type of EC2": (
        {"ResourceConfig.InstanceType": "c5.9xlarge"},
        VALIDATION,
        at("resourceConfig.instanceType", "'c5.9xlarge'", "Member must satisfy enum value set: ["),
    ),
    "an input mode in lower case": (
        {f"{ALGORITHM}.TrainingInputMode": "file"},
        VALIDATION,
        at(
            "algorithmSpecification.trainingInputMode",
            "'file'",
            "Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
    ),
    "a distribution": (
        {f"{SOURCE}.S3DataDistributionType": "Sharded"},
        VALIDATION,
        (
            "'Sharded' at 'inputDataConfig.1.member.dataSource.s3DataSource.s3DataDistributionType' failed to satisfy "
            "constraint: Member must satisfy enum value set: [FullyReplicated, ShardedByS3Key]"
        ),
    ),
    "a type of data": (
        {f"{SOURCE}.S3DataType": "Prefix"},
        VALIDATION,
        "Member must satisfy enum value set: [ManifestFile, S3Prefix, AugmentedManifestFile",
    ),
    "a compression of a channel": (
        {f"{CHANNEL}.CompressionType": "Zip"},
        VALIDATION,
        "Member must satisfy enum value set: [None, Gzip]",
    ),
    "a record wrapper": (
        {f"{CHANNEL}.RecordWrapperType": "TFRecord"},
        VALIDATION,
        "Member must satisfy enum value set: [None, RecordIO]",
    ),
    "a compression of the model": (
        {"OutputDataConfig.CompressionType": "gzip"},
        VALIDATION,
        at("outputDataConfig.compressionType", "'gzip'", "Member must satisfy enum value set: [GZIP, NONE]"),
    ),
    "a repository's access": (
        {f"{ALGORITHM}.TrainingImageConfig": {"TrainingRepositoryAccessMode": "Private"}},
        VALIDATION,
        "Member must satisfy enum value set: [Platform, Vpc]",
    ),
    "a rule's instance type": (
        {"DebugRuleConfigurations.0.InstanceType": "ml.huge"},
        VALIDATION,
        "Value 'ml.huge' at 'debugRuleConfigurations.1.member.instanceType' failed to satisfy constraint: Member must",
    ),
    # The model: patterns
    "a name with an underscore": (
        {"TrainingJobName": "star_rating"},
        VALIDATION,
        at(
            "trainingJobName",
            "'star_rating'",
            "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
    ),
    "a name with a slash": ({"TrainingJobName": "a/../../b"}, VALIDATION, "Value 'a/../../b' at 'trainingJobName'"),
    "a name that ends with a dash": ({"TrainingJobName": "a-"}, VALIDATION, "regular expression pattern"),
    "a name with a line break": ({"TrainingJobName": "a\nb"}, VALIDATION, "regular expression pattern"),
    "a role that is a user": (
        {"RoleArn": "arn:aws:iam::123456789012:user/me"},
        VALIDATION,
        at(
            "roleArn",
            "'arn:aws:iam::123456789012:user/me'",
            r"Member must satisfy regular expression pattern: arn:aws[a-z\-]*:iam::\d{12}:role/",
        ),
    ),
    "an output that is a folder": (
        {"OutputDataConfig.S3OutputPath": "/tmp/jobs"},
        VALIDATION,
        at(
            "outputDataConfig.s3OutputPath",
            "'/tmp/jobs'",
            "Member must satisfy regular expression pattern: (https|s3)://([^/]+)/?(.*)",
        ),
    ),
    "a channel's place without a bucket": ({f"{SOURCE}.S3Uri": "s3:///train"}, VALIDATION, "Value 's3:///train' at"),
    "a channel's name with a space": (
        {f"{CHANNEL}.ChannelName": "my data"},
        VALIDATION,
        (
            r"at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: Member must satisfy regular "
            r"expression pattern: [A-Za-z0-9\.\-_]+"
        ),
    ),
    "an image with a space": (
        {f"{ALGORITHM}.AlgorithmName": "my algorithm", f"{ALGORITHM}.TrainingImage": None},
        VALIDATION,
        "Value 'my algorithm' at 'algorithmSpecification.algorithmName' failed to satisfy constraint",
    ),
    "a subnet": (
        {"VpcConfig": {"Subnets": ["subnet 1"], "SecurityGroupIds": ["sg-1"]}},
        VALIDATION,
        (
            "at 'vpcConfig.subnets' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must have length "
            r"less than or equal to 32, Member must have length greater than or equal to 0, Member "
            r"must satisfy regular "
            r"expression pattern: [-0-9a-zA-Z]+]"
        ),
    ),
    "an experiment's name": ({"ExperimentConfig": {"ExperimentName": "my_one"}}, VALIDATION, "experimentName' failed"),
    "an environment's name": (
        {"Environment": {"MY-VAR": "secret-value"}},
        VALIDATION,
        at(
            "environment",
            "",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 512, Member must have "
            "length greater than or equal to 0, Member must satisfy regular expression pattern: "
            "[a-zA-Z_][a-zA-Z0-9_]*]",
        ),
    ),
    # The model: lengths and ranges
    "a name of 64 characters": (
        {"TrainingJobName": "a" * 64},
        VALIDATION,
        (
            f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: Member must have "
            "length less than or "
            "equal to 63; "
        ),
    ),
    "a role that is a name": (
        {"RoleArn": "Exec"},
        VALIDATION,
        (
            "2 validation errors detected: Value 'Exec' at 'roleArn' failed to satisfy constraint: "
            "Member must have length "
            "greater than or equal to 20; Value 'Exec' at 'roleArn' failed to satisfy constraint: Member must satisfy"
        ),
    ),
    "an image of 256 characters": (
        {f"{ALGORITHM}.TrainingImage": "i" * 256},
        VALIDATION,
        (
            "at 'algorithmSpecification.trainingImage' failed to satisfy constraint: Member must "
            "have length less than or "
            "equal to 255"
        ),
    ),
    "21 channels": (
        {"InputDataConfig": [{**TRAINING["InputDataConfig"][0], "ChannelName": f"c{number}"} for number in range(21)]},
        VALIDATION,
        "at 'inputDataConfig' failed to satisfy constraint: Member must have length less than or equal to 20",
    ),
    "no channels in a list": (
        {"InputDataConfig": []},
        VALIDATION,
        at("inputDataConfig", "'[]'", "Member must have length greater than or equal to 1"),
    ),
    "101 hyperparameters": (
        {"HyperParameters": {f"h{number}": "1" for number in range(101)}},
        VALIDATION,
        "at 'hyperParameters' failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
    "a hyperparameter that is too long": (
        {"HyperParameters.model": "m" * 2501},
        VALIDATION,
        (
            "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: [Member must have "
            "length less than or equal to 2500, Member must have length greater than or equal to 0, "
            "Member must satisfy "
            "regular expression pattern: .*]"
        ),
    ),
    "a hyperparameter's name that is too long": (
        {f"HyperParameters.{'h' * 257}": "1"},
        VALIDATION,
        (
            "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint: "
            "[Member must have length "
            "less than or equal to 256, "
        ),
    ),
    "an environment value that is too long": (
        {"Environment": {"TOKEN": "secret" * 100}},
        VALIDATION,
        at("environment", "", "Map value must satisfy constraint: [Member must have length less than or equal to 512"),
    ),
    "41 metrics": (
        {f"{ALGORITHM}.MetricDefinitions": [{"Name": f"m{number}", "Regex": "(x)"} for number in range(41)]},
        VALIDATION,
        (
            "at 'algorithmSpecification.metricDefinitions' failed to satisfy constraint: Member must "
            "have length less than "
            "or equal to 40"
        ),
    ),
    "a metric's pattern of 501 characters": (
        {f"{ALGORITHM}.MetricDefinitions.0.Regex": "x" * 501},
        VALIDATION,
        (
            "at 'algorithmSpecification.metricDefinitions.1.member.regex' failed to satisfy "
            "constraint: Member must have "
            "length less than or equal to 500"
        ),
    ),
    "an argument of 257 characters": (
        {f"{ALGORITHM}.ContainerArguments": ["train", "x" * 257]},
        VALIDATION,
        (
            "at 'algorithmSpecification.containerArguments' failed to satisfy constraint: Member "
            "must satisfy constraint: "
            "[Member must have length less than or equal to 256"
        ),
    ),
    "no arguments in a list": (
        {f"{ALGORITHM}.ContainerArguments": []},
        VALIDATION,
        at("algorithmSpecification.containerArguments", "'[]'", "Member must have length greater than or equal to 1"),
    ),
    "21 rules": (
        {"DebugRuleConfigurations": [{**RULE, "RuleConfigurationName": f"r{number}"} for number in range(21)]},
        VALIDATION,
        "at 'debugRuleConfigurations' failed to satisfy constraint: Member must have length less than or equal to 20",
    ),
    "21 hook parameters": (
        {"DebugHookConfig.HookParameters": {f"p{number}": "1" for number in range(21)}},
        VALIDATION,
        "at 'debugHookConfig.hookParameters' failed to satisfy constraint: Member must have length less than or equal",
    ),
    "51 tags": (
        {"Tags": [{"Key": f"k{number}", "Value": "v"} for number in range(51)]},
        VALIDATION,
        "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
    ),
    "an empty tag": ({"Tags.0.Key": ""}, VALIDATION, at("tags.1.member.key", "''", "Member must have length greater")),
    "no time to run": (
        {"StoppingCondition.MaxRuntimeInSeconds": 0},
        VALIDATION,
        at("stoppingCondition.maxRuntimeInSeconds", "'0'", "Member must have value greater than or equal to 1"),
    ),
    "a pending time that is too short": (
        {"StoppingCondition.MaxPendingTimeInSeconds": 60},
        VALIDATION,
        at("stoppingCondition.maxPendingTimeInSeconds", "'60'", "Member must have value greater than or equal to 1800"),
    ),
    "31 retries": (
        {"RetryStrategy": {"MaximumRetryAttempts": 31}},
        VALIDATION,
        at("retryStrategy.maximumRetryAttempts", "'31'", "Member must have value less than or equal to 30"),
    ),
    "a warm pool of a day": (
        {"ResourceConfig.KeepAlivePeriodInSeconds": 86_400},
        VALIDATION,
        at("resourceConfig.keepAlivePeriodInSeconds", "'86400'", "Member must have value less than or equal to 21600"),
    ),
    "less than no hosts": (
        {"ResourceConfig.InstanceCount": -1},
        VALIDATION,
        at("resourceConfig.instanceCount", "'-1'", "Member must have value greater than or equal to 0"),
    ),
    "six instance groups": (
        {"ResourceConfig": {"InstanceGroups": [{**GROUPS[0], "InstanceGroupName": f"g{n}"} for n in range(6)]}},
        VALIDATION,
        "at 'resourceConfig.instanceGroups' failed to satisfy constraint: Member must have length less than or equal",
    ),
    "two things at once": (
        {"RetryStrategy": {"MaximumRetryAttempts": 0}, "OutputDataConfig": {}},
        VALIDATION,
        "2 validation errors detected: ",
    ),
    # Types: the protocol's own error
    "a number as text": (
        {"ResourceConfig.InstanceCount": "1"},
        SERIALIZATION,
        "STRING_VALUE can not be converted to an Integer",
    ),
    "a hyperparameter that is a number": (
        {"HyperParameters.epochs": 3},
        SERIALIZATION,
        "NUMBER_VALUE can not be converted to a String",
    ),
    "a hyperparameter that is true": (
        {"HyperParameters.use_xla": True},
        SERIALIZATION,
        "TRUE_VALUE can not be converted to a String",
    ),
    "a switch as text": (
        {"EnableManagedSpotTraining": "true"},
        SERIALIZATION,
        "STRING_VALUE can not be converted to a Boolean",
    ),
    "a list as text": ({"InputDataConfig": "train"}, SERIALIZATION, "Unexpected value type in payload"),
    "a text as list": ({"RoleArn": ["x"]}, SERIALIZATION, "Start of list found where not expected"),
    "a text as object": (
        {"TrainingJobName": {"a": "b"}},
        SERIALIZATION,
        "Start of structure or map found where not expected",
    ),
    # Beyond the model: algorithm
    "neither image nor algorithm": (
        {f"{ALGORITHM}.TrainingImage": None},
        VALIDATION,
        "You must specify either TrainingImage or AlgorithmName",
    ),
    "image and algorithm": ({f"{ALGORITHM}.AlgorithmName": "mine"}, VALIDATION, "and not both"),
    "an algorithm that does not exist": (
        {f"{ALGORITHM}.AlgorithmName": "mine", f"{ALGORITHM}.TrainingImage": None},
        VALIDATION,
        "Unable to find Algorithm: mine",
    ),
    "an empty image": ({f"{ALGORITHM}.TrainingImage": " "}, VALIDATION, "TrainingImage must not be empty"),
    "an image in a VPC without one": (
        {f"{ALGORITHM}.TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}},
        VALIDATION,
        "VpcConfig is required when TrainingRepositoryAccessMode is Vpc",
    ),
    "a metric twice": (
        {f"{ALGORITHM}.MetricDefinitions.1.Name": "train:loss"},
        VALIDATION,
        "Metric names must be unique in MetricDefinitions: [train:loss]",
    ),
    "a metric's pattern that is none": (
        {f"{ALGORITHM}.MetricDefinitions.0.Regex": "loss=([0-9.+"},
        VALIDATION,
        "Invalid Regex 'loss=([0-9.+' of metric train:loss",
    ),
    # Beyond the model: hosts and time
    "no hosts": (
        {"ResourceConfig.InstanceCount": 0},
        VALIDATION,
        at("resourceConfig.instanceCount", "'0'", "Member must have value greater than or equal to 1"),
    ),
    "no instance type": (
        {"ResourceConfig.InstanceType": None},
        VALIDATION,
        "InstanceType and InstanceCount must be specified",
    ),
    "groups and a type": (
        {"ResourceConfig.InstanceGroups": GROUPS},
        VALIDATION,
        "InstanceType or InstanceCount cannot be specified with InstanceGroups",
    ),
    "a group twice": (
        {"ResourceConfig": {"InstanceGroups": [GROUPS[0], GROUPS[0]], "VolumeSizeInGB": 30}},
        VALIDATION,
        "Instance group names must be unique: [a]",
    ),
    "an empty group": (
        {"ResourceConfig": {"InstanceGroups": [{**GROUPS[0], "InstanceCount": 0}], "VolumeSizeInGB": 30}},
        VALIDATION,
        "Value '0' at 'resourceConfig.instanceGroups.1.member.instanceCount' failed to satisfy constraint",
    ),
    "no disk": (
        {"ResourceConfig.VolumeSizeInGB": 0},
        VALIDATION,
        at("resourceConfig.volumeSizeInGB", "'0'", "Member must have value greater than or equal to 1"),
    ),
    "29 days": (
        {"StoppingCondition.MaxRuntimeInSeconds": 29 * 86_400},
        VALIDATION,
        at(
            "stoppingCondition.maxRuntimeInSeconds", "'2505600'", "Member must have value less than or equal to 2419200"
        ),
    ),
    "a wait without spot": (
        {"StoppingCondition.MaxWaitTimeInSeconds": 7200},
        VALIDATION,
        "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
    ),
    "spot without a wait": (
        {"EnableManagedSpotTraining": True},
        VALIDATION,
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    "spot with a short wait": (
        {"EnableManagedSpotTraining": True, "StoppingCondition.MaxWaitTimeInSeconds": 3599},
        VALIDATION,
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    "a warm pool of spot": (
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition.MaxWaitTimeInSeconds": 3600,
            "ResourceConfig.KeepAlivePeriodInSeconds": 600,
        },
        VALIDATION,
        "KeepAlivePeriodInSeconds is not supported when EnableManagedSpotTraining is set to true",
    ),
    "a shell in an isolated job": (
        {"EnableNetworkIsolation": True, "RemoteDebugConfig": {"EnableRemoteDebug": True}},
        VALIDATION,
        "EnableRemoteDebug is not supported when EnableNetworkIsolation is set to true",
    ),
    # Beyond the model: channels
    "a channel twice": (
        {"InputDataConfig.1.ChannelName": "train"},
        VALIDATION,
        "Channel names must be unique in InputDataConfig: [train]",
    ),
    "a channel with two sources": (
        {
            f"{CHANNEL}.DataSource.FileSystemDataSource": {
                "FileSystemId": "fs-0123456789a",
                "FileSystemAccessMode": "ro",
                "FileSystemType": "EFS",
                "DirectoryPath": "/data",
            }
        },
        VALIDATION,
        "Exactly one source must be specified in DataSource of channel train",
    ),
    "a channel with no source": ({f"{CHANNEL}.DataSource": {}}, VALIDATION, "Exactly one source must be specified"),
    "a file system without a VPC": (
        {
            f"{CHANNEL}.DataSource": {
                "FileSystemDataSource": {
                    "FileSystemId": "fs-0123456789a",
                    "FileSystemAccessMode": "ro",
                    "FileSystemType": "EFS",
                    "DirectoryPath": "/data",
                }
            }
        },
        VALIDATION,
        "VpcConfig is required for the FileSystemDataSource of channel train",
    ),
    "nothing in S3": (
        {f"{SOURCE}.S3Uri": f"s3://{BUCKET}/nothing/"},
        VALIDATION,
        (
            f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/" given in input data source. '
            "Please ensure that the "
            "bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix"
        ),
    ),
    "a bucket that does not exist": (
        {f"{SOURCE}.S3Uri": "s3://of-somebody-else/train/"},
        VALIDATION,
        'No S3 objects found under S3 URL "s3://of-somebody-else/train/"',
    ),
    "a manifest that is not there": (
        {f"{SOURCE}.S3DataType": "ManifestFile"},
        VALIDATION,
        "No S3 objects found under S3 URL",
    ),
    "a name that is no bucket": (
        {f"{SOURCE}.S3Uri": "s3://My_Bucket/train/"},
        VALIDATION,
        "Invalid S3 URI 's3://My_Bucket/train/' in channel train: 'My_Bucket' is no name of a bucket",
    ),
    "an output that climbs": (
        {"OutputDataConfig.S3OutputPath": f"s3://{BUCKET}/jobs/../../etc"},
        VALIDATION,
        "in OutputDataConfig: its key has '..' as a part",
    ),
    "checkpoints that climb": (
        {"CheckpointConfig.S3Uri": f"s3://{BUCKET}/../x"},
        VALIDATION,
        "in CheckpointConfig: its key has '..' as a part",
    ),
    "FastFile from a manifest": (
        {f"{CHANNEL}.InputMode": "FastFile", f"{SOURCE}.S3DataType": "ManifestFile"},
        VALIDATION,
        "FastFile input mode only supports S3DataType S3Prefix; channel train has ManifestFile",
    ),
    "an augmented manifest as files": (
        {f"{SOURCE}.S3DataType": "AugmentedManifestFile", f"{SOURCE}.AttributeNames": ["text"]},
        VALIDATION,
        "S3DataType AugmentedManifestFile is only supported in Pipe input mode; channel train has File",
    ),
    "an augmented manifest without attributes": (
        {f"{SOURCE}.S3DataType": "AugmentedManifestFile", f"{CHANNEL}.InputMode": "Pipe"},
        VALIDATION,
        "AttributeNames must be specified for the AugmentedManifestFile of channel train",
    ),
    "attributes of a prefix": ({f"{SOURCE}.AttributeNames": ["text"]}, VALIDATION, "AttributeNames are only supported"),
    "Gzip as files": ({f"{CHANNEL}.CompressionType": "Gzip"}, VALIDATION, "Gzip is only supported in Pipe input mode"),
    "RecordIO as files": (
        {f"{CHANNEL}.RecordWrapperType": "RecordIO"},
        VALIDATION,
        "only supported in Pipe input mode",
    ),
    "a group that is not there": (
        IN_GROUPS | {f"{SOURCE}.InstanceGroupNames": ["c"]},
        VALIDATION,
        "Channel train names instance groups that do not exist: [c]",
    ),
    "some channels in groups": (
        IN_GROUPS | {f"{SOURCE}.InstanceGroupNames": ["a"]},
        VALIDATION,
        "Some channels have assigned instance groups: [train] while others not: [validation]",
    ),
    # Beyond the model: Debugger, Profiler, experiments, tags
    "rules without a hook": (
        {"DebugHookConfig": None},
        VALIDATION,
        "DebugHookConfig must be specified when DebugRuleConfigurations are specified",
    ),
    "a collection twice": (
        {"DebugHookConfig.CollectionConfigurations": [{"CollectionName": "losses"}, {"CollectionName": "losses"}]},
        VALIDATION,
        "Collection names must be unique in DebugHookConfig: [losses]",
    ),
    "a rule twice": (
        {"DebugRuleConfigurations": [RULE, RULE]},
        VALIDATION,
        "Rule configuration names must be unique: [LossNotDecreasing]",
    ),
    "profiler rules without a profiler": (
        {"ProfilerConfig": {"DisableProfiler": True}},
        VALIDATION,
        "ProfilerRuleConfigurations cannot be specified when DisableProfiler is set to true",
    ),
    "profiler rules alone": (
        {"ProfilerConfig": None},
        VALIDATION,
        "ProfilerConfig must be specified when ProfilerRuleConfigurations are specified",
    ),
    "a profiler's interval": (
        {"ProfilerConfig.ProfilingIntervalInMilliseconds": 300},
        VALIDATION,
        "ProfilingIntervalInMilliseconds must be one of [100, 200, 500, 1000, 5000, 60000], it is 300",
    ),
    "checkpoints in the model": (
        {"CheckpointConfig.LocalPath": "/opt/ml/model/checkpoints"},
        VALIDATION,
        "Invalid LocalPath '/opt/ml/model/checkpoints' in CheckpointConfig",
    ),
    "tensors in a folder that climbs": (
        {"DebugHookConfig.LocalPath": "/opt/ml/output/../../../etc"},
        VALIDATION,
        "in DebugHookConfig: an absolute path is needed",
    ),
    "a tag twice": (
        {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
        VALIDATION,
        "Tag keys must be unique: [a]",
    ),
    "a tag of AWS": (
        {"Tags.0.Key": "aws:owner"},
        VALIDATION,
        "Tag keys starting with 'aws:' are reserved: [aws:owner]",
    ),
    "an experiment that does not exist": (
        {"ExperimentConfig": {"ExperimentName": "nothing"}},
        "ResourceNotFound",
        "Experiment 'arn:aws:sagemaker:us-east-1:123456789012:experiment/nothing' does not exist.",
    ),
    "a trial that does not exist": (
        {"ExperimentConfig": {"TrialName": "nothing"}},
        "ResourceNotFound",
        "Trial 'arn:aws:sagemaker:us-east-1:123456789012:experiment-trial/nothing' does not exist.",
    ),
    # What the local SageMaker has not
    "a training plan": (
        {"ResourceConfig.TrainingPlanArn": "arn:aws:sagemaker:us-east-1:123456789012:training-plan/mine"},
        VALIDATION,
        "ResourceConfig.TrainingPlanArn is not available: the local SageMaker has one kind of capacity",
    ),
}

WRONG_PROCESSING: dict[str, tuple[Changes, str, str]] = {
    "no resources": ({"ProcessingResources": None}, VALIDATION, missing("processingResources")),
    "no image": ({"AppSpecification.ImageUri": None}, VALIDATION, missing("appSpecification.imageUri")),
    "no hosts": (
        {"ProcessingResources.ClusterConfig.InstanceCount": 0},
        VALIDATION,
        at(
            "processingResources.clusterConfig.instanceCount",
            "'0'",
            "Member must have value greater than or equal to 1",
        ),
    ),
    "101 hosts": (
        {"ProcessingResources.ClusterConfig.InstanceCount": 101},
        VALIDATION,
        "Member must have value less than or equal to 100",
    ),
    "a type of spot": (
        {"ProcessingResources.ClusterConfig.InstanceType": "ml.none"},
        VALIDATION,
        "Value 'ml.none' at 'processingResources.clusterConfig.instanceType' failed to satisfy constraint: Member must",
    ),
    "an upload mode": (
        {"ProcessingOutputConfig.Outputs.0.S3Output.S3UploadMode": "Never"},
        VALIDATION,
        "Member must satisfy enum value set: [Continuous, EndOfJob]",
    ),
    "six days over": (
        {"StoppingCondition.MaxRuntimeInSeconds": 777_601},
        VALIDATION,
        at("stoppingCondition.maxRuntimeInSeconds", "'777601'", "Member must have value less than or equal to 777600"),
    ),
    "an input twice": (
        {"ProcessingInputs": [PROCESSING["ProcessingInputs"][0]] * 2},
        VALIDATION,
        "Input names must be unique in ProcessingInputs: [reviews]",
    ),
    "a folder for two inputs": (
        {"ProcessingInputs": [{**PROCESSING["ProcessingInputs"][0], "InputName": name} for name in ("a", "b")]},
        VALIDATION,
        "LocalPath must be unique in ProcessingInputs: [/opt/ml/processing/input]",
    ),
    "an output twice": (
        {"ProcessingOutputConfig.Outputs": [PROCESSING["ProcessingOutputConfig"]["Outputs"][0]] * 2},
        VALIDATION,
        "Output names must be unique in ProcessingOutputConfig: [channels]",
    ),
    "an input elsewhere": (
        {"ProcessingInputs.0.S3Input.LocalPath": "/etc"},
        VALIDATION,
        "Invalid LocalPath '/etc' in input reviews: it must be below /opt/ml/processing",
    ),
    "an output that climbs": (
        {"ProcessingOutputConfig.Outputs.0.S3Output.LocalPath": "/opt/ml/processing/../../../etc"},
        VALIDATION,
        "in output channels: it must be below /opt/ml/processing",
    ),
    "an input that is nothing": ({"ProcessingInputs": [{"InputName": "a"}]}, VALIDATION, "S3Input must be specified"),
}

WRONG_CALLS: dict[str, tuple[str, object, str, str]] = {
    "describe what is not there": (
        "DescribeTrainingJob",
        {"TrainingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "stop what is not there": (
        "StopTrainingJob",
        {"TrainingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "delete what is not there": (
        "DeleteTrainingJob",
        {"TrainingJobName": "nothing"},
        "ResourceNotFound",
        "training-job/nothing does not exist.",
    ),
    "describe another thing's name": (
        "DescribeTrainingJob",
        {"TrainingJobName": "../x"},
        VALIDATION,
        "expression pattern",
    ),
    "a Processing job that is not there": (
        "DescribeProcessingJob",
        {"ProcessingJobName": "nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "101 results": (
        "ListTrainingJobs",
        {"MaxResults": 101},
        VALIDATION,
        at("maxResults", "'101'", "Member must have value less than or equal to 100"),
    ),
    "a status that is none": (
        "ListTrainingJobs",
        {"StatusEquals": "Done"},
        VALIDATION,
        at(
            "statusEquals",
            "'Done'",
            "Member must satisfy enum value set: [InProgress, Completed, Failed, Stopping, Stopped",
        ),
    ),
    "an order that is none": (
        "ListTrainingJobs",
        {"SortOrder": "Up"},
        VALIDATION,
        "value set: [Ascending, Descending]",
    ),
    "a token from elsewhere": ("ListTrainingJobs", {"NextToken": "bm90aGluZw=="}, VALIDATION, "Invalid NextToken"),
    "a time as text": (
        "ListTrainingJobs",
        {"CreationTimeAfter": "today"},
        SERIALIZATION,
        "STRING_VALUE can not be converted to a Timestamp",
    ),
    "search nothing": ("Search", {}, VALIDATION, missing("resource")),
    "search for an animal": ("Search", {"Resource": "Horse"}, VALIDATION, "at 'resource' failed to satisfy constraint"),
    "search what is not here": ("Search", {"Resource": "Pipeline"}, VALIDATION, "Resource Pipeline is not available"),
    "a filter without a value": (
        "Search",
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "x", "Operator": "Equals"}]}},
        VALIDATION,
        "Value must be specified for the filter x with operator Equals",
    ),
    "an operator that is none": (
        "Search",
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "x", "Operator": "Like", "Value": "y"}]}},
        VALIDATION,
        "at 'searchExpression.filters.1.member.operator' failed to satisfy constraint: Member must satisfy enum value",
    ),
    "tags of nothing": (
        "ListTags",
        {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/nothing"},
        VALIDATION,
        "Requested resource not found.",
    ),
    "a trial of nothing": (
        "CreateTrial",
        {"TrialName": "t", "ExperimentName": "nothing"},
        "ResourceNotFound",
        "Experiment 'arn:aws:sagemaker:us-east-1:123456789012:experiment/nothing' does not exist.",
    ),
    "an artifact that is not there": (
        "DescribeArtifact",
        {"ArtifactArn": f"arn:aws:sagemaker:us-east-1:123456789012:artifact/{'0' * 32}"},
        "ResourceNotFound",
        "does not exist.",
    ),
    "an operation that is not here": (
        "UpdateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        "UnknownOperationException",
        "UpdateEndpoint is not available: the local SageMaker has",
    ),
    "an operation that is nowhere": ("MakeCoffee", {}, "UnknownOperationException", "no operation 'MakeCoffee'"),
    "no JSON": ("CreateTrainingJob", b"{", SERIALIZATION, "Unable to parse the body"),
    "a list": ("CreateTrainingJob", [], SERIALIZATION, "Unexpected value type in payload"),
    "a tower of brackets": ("CreateTrainingJob", b"[" * 100_000, SERIALIZATION, "Unable to parse the body"),
    "more than a request may have": (
        "CreateTrainingJob",
        b" " * ((4 << 20) + 1),
        "RequestEntityTooLargeException",
        "A request may have 4194304 bytes",
    ),
}


VARIANT = {"VariantName": "all", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CONFIG = {"EndpointConfigName": "c", "ProductionVariants": [VARIANT]}

TRANSFORM: dict[str, Any] = {
    "TransformJobName": "t",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}},
    "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out/"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}

WRONG_HOSTING: dict[str, tuple[str, Any, str]] = {
    "no variants": ("CreateEndpointConfig", {"EndpointConfigName": "c"}, missing("productionVariants")),
    "an unknown model": ("CreateEndpointConfig", CONFIG, "Could not find model"),
    "two variants": (
        "CreateEndpointConfig",
        CONFIG | {"ProductionVariants": [VARIANT, VARIANT | {"VariantName": "b"}]},
        "2 ProductionVariants are not available",
    ),
    "a variant twice": (
        "CreateEndpointConfig",
        CONFIG | {"ProductionVariants": [VARIANT, VARIANT]},
        "Variant names must be unique in ProductionVariants: [all]",
    ),
    "two instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.InitialInstanceCount": 2}),
        "InitialInstanceCount 2 of variant all is not available",
    ),
    "no instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.InstanceType": None}),
        "InstanceType and InitialInstanceCount, or ServerlessConfig, must be specified for variant all",
    ),
    "serverless with instances": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}}),
        "InstanceType and InitialInstanceCount must not be specified",
    ),
    "capture": (
        "CreateEndpointConfig",
        CONFIG
        | {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 1,
                "DestinationS3Uri": "s3://bucket/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}],
            }
        },
        "DataCaptureConfig.EnableCapture is not available",
    ),
    "async": (
        "CreateEndpointConfig",
        CONFIG | {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}},
        "AsyncInferenceConfig is not available",
    ),
    "scaling": (
        "CreateEndpointConfig",
        changed(CONFIG, {"ProductionVariants.0.ManagedInstanceScaling": {"Status": "ENABLED"}}),
        "ManagedInstanceScaling of variant all is not available",
    ),
    "no configuration": (
        "CreateEndpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c".',
    ),
    "transform with no model": ("CreateTransformJob", TRANSFORM, "Could not find model"),
    "transform of another kind": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformInput.SplitType": "RecordIO"}),
        "SplitType RecordIO is not available",
    ),
    "transform with two instances": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformResources.InstanceCount": 2}),
        "TransformResources.InstanceCount must be 1",
    ),
    "transform that joins": (
        "CreateTransformJob",
        TRANSFORM | {"DataProcessing": {"JoinSource": "Input"}},
        "DataProcessing.JoinSource is not available",
    ),
    "transform that filters": (
        "CreateTransformJob",
        TRANSFORM | {"DataProcessing": {"InputFilter": "$[1:]"}},
        "DataProcessing.InputFilter is not available",
    ),
    "transform of no bucket": (
        "CreateTransformJob",
        changed(TRANSFORM, {"TransformOutput.S3OutputPath": "s3://_/out"}),
        "Invalid S3 URI 's3://_/out' in TransformOutput",
    ),
    "describe no transform job": (
        "DescribeTransformJob",
        {"TransformJobName": "t"},
        "Requested resource not found.",
    ),
    "describe no endpoint": ("DescribeEndpoint", {"EndpointName": "e"}, 'Could not find endpoint "arn:'),
    "delete no endpoint": ("DeleteEndpoint", {"EndpointName": "e"}, 'Could not find endpoint "arn:'),
    "delete no configuration": ("DeleteEndpointConfig", {"EndpointConfigName": "e"}, "Could not find endpoint conf"),
}


RANGE = {"Name": "learning_rate", "MinValue": "1e-6", "MaxValue": "1e-3", "ScalingType": "Logarithmic"}
TUNING: dict[str, Any] = {
    "HyperParameterTuningJobName": "tune",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "test:accuracy"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [RANGE]},
    },
    "TrainingJobDefinition": {
        "StaticHyperParameters": {"epochs": "3"},
        "AlgorithmSpecification": {
            field: TRAINING["AlgorithmSpecification"][field]
            for field in ("TrainingImage", "TrainingInputMode", "MetricDefinitions")
        },
    }
    | {
        field: TRAINING[field]
        for field in ("RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    },
}
OF_TUNING = "HyperParameterTuningJobConfig"
FIRST_RANGE = f"{OF_TUNING}.ParameterRanges.ContinuousParameterRanges.0"
OF_TRAINING = "TrainingJobDefinition"

WRONG_TUNING: dict[str, tuple[Changes, str]] = {
    "no strategy": ({f"{OF_TUNING}.Strategy": None}, missing("hyperParameterTuningJobConfig.strategy")),
    "a long name": ({"HyperParameterTuningJobName": "t" * 33}, "Member must have length less than or equal to 32"),
    "no definition": ({OF_TRAINING: None}, "TrainingJobDefinition must be specified"),
    "autotune": ({"Autotune": {"Mode": "Enabled"}}, "Autotune is not available"),
    "two definitions": ({"TrainingJobDefinitions": [TUNING[OF_TRAINING]]}, "TrainingJobDefinitions is not available"),
    "two configurations of resources": (
        {f"{OF_TRAINING}.HyperParameterTuningResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1}},
        "ResourceConfig and HyperParameterTuningResourceConfig must not both be specified",
    ),
    "no objective": ({f"{OF_TUNING}.HyperParameterTuningJobObjective": None}, "Objective must be specified"),
    "an unknown objective": (
        {f"{OF_TUNING}.HyperParameterTuningJobObjective.MetricName": "speed"},
        "Objective metric speed is not in MetricDefinitions: [train:loss, test:accuracy]",
    ),
    "no limit": (
        {f"{OF_TUNING}.ResourceLimits.MaxNumberOfTrainingJobs": None},
        "MaxNumberOfTrainingJobs must be specified for the strategy Bayesian",
    ),
    "more at once than at all": (
        {f"{OF_TUNING}.ResourceLimits.MaxParallelTrainingJobs": 5},
        "MaxParallelTrainingJobs 5 must not be greater than MaxNumberOfTrainingJobs 4",
    ),
    "a grid of numbers": (
        {f"{OF_TUNING}.Strategy": "Grid", f"{OF_TUNING}.ResourceLimits.MaxNumberOfTrainingJobs": None},
        "The strategy Grid takes categorical ranges only; learning_rate is Continuous",
    ),
    "early stopping of Hyperband": (
        {f"{OF_TUNING}.Strategy": "Hyperband", f"{OF_TUNING}.TrainingJobEarlyStoppingType": "Auto"},
        "TrainingJobEarlyStoppingType must be Off for the strategy Hyperband",
    ),
    "no ranges": ({f"{OF_TUNING}.ParameterRanges": None}, "At least one hyperparameter range must be specified"),
    "a range twice": (
        {f"{OF_TUNING}.ParameterRanges.ContinuousParameterRanges": [RANGE, RANGE]},
        "Hyperparameter names must be unique in ParameterRanges: [learning_rate]",
    ),
    "static and tuned": (
        {f"{OF_TRAINING}.StaticHyperParameters.learning_rate": "1"},
        "Hyperparameter learning_rate is in StaticHyperParameters and in ParameterRanges",
    ),
    "a word for a number": ({f"{FIRST_RANGE}.MinValue": "low"}, "MinValue 'low' of learning_rate is not a number"),
    "a range upside down": ({f"{FIRST_RANGE}.MaxValue": "1e-9"}, "must be less than MaxValue 1e-9"),
    "the logarithm of 0": ({f"{FIRST_RANGE}.MinValue": "0"}, "must be greater than 0 for the scaling Logarithmic"),
    "reversed from 1 on": (
        {f"{FIRST_RANGE}.ScalingType": "ReverseLogarithmic", f"{FIRST_RANGE}.MaxValue": "1"},
        "must be within [0, 1) for the scaling ReverseLogarithmic",
    ),
    "a wrong training job": (
        {f"{OF_TRAINING}.ResourceConfig.InstanceCount": 0},
        "Member must have value greater than or equal to 1",
    ),
    "no data": (
        {f"{OF_TRAINING}.InputDataConfig.0.DataSource.S3DataSource.S3Uri": f"s3://{BUCKET}/nothing"},
        "No S3 objects found under S3 URL",
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


def refused(server: ApiServer, operation: str, request: object) -> tuple[str, str]:
    status, answer = call(server, operation, request)
    assert 400 <= status < 500
    return answer["__type"], answer.get("message") or answer["Message"]


@pytest.mark.parametrize("name", WRONG_TRAINING)
def test_a_wrong_training_job_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    changes, code, constraint = WRONG_TRAINING[name]
    got, message = refused(server, "CreateTrainingJob", changed(TRAINING, changes))
    assert (got, constraint in message) == (code, True), message
    assert "secret" not in message
    assert server.jobs.list("training") == []


@pytest.mark.parametrize("name", WRONG_PROCESSING)
def test_a_wrong_processing_job_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    changes, code, constraint = WRONG_PROCESSING[name]
    got, message = refused(server, "CreateProcessingJob", changed(PROCESSING, changes))
    assert (got, constraint in message) == (code, True), message
    assert server.jobs.list("processing") == []


@pytest.mark.parametrize("name", WRONG_HOSTING)
def test_a_wrong_endpoint_is_refused(server: ApiServer, name: str) -> None:
    operation, request, sentence = WRONG_HOSTING[name]
    got, message = refused(server, operation, request)
    assert (got, sentence in message) == (VALIDATION, True), message


@pytest.mark.parametrize("name", WRONG_TUNING)
def test_a_wrong_tuning_job_is_refused(server: ApiServer, name: str) -> None:
    changes, sentence = WRONG_TUNING[name]
    got, message = refused(server, "CreateHyperParameterTuningJob", changed(TUNING, changes))
    assert (got, sentence in message) == (VALIDATION, True), message


def test_a_tuning_job_is_there_once(server: ApiServer) -> None:
    assert call(server, "CreateHyperParameterTuningJob", TUNING)[0] == 200
    assert refused(server, "CreateHyperParameterTuningJob", TUNING)[0] == "ResourceInUse"
    name = {"HyperParameterTuningJobName": "tune"}
    status, tuning = call(server, "DescribeHyperParameterTuningJob", name)
    static = tuning[OF_TRAINING]["StaticHyperParameters"]
    assert (status, static) == (200, {"epochs": "3", "_tuning_objective_metric": "test:accuracy"})
    assert refused(server, "DeleteHyperParameterTuningJob", name)[0] == "ResourceInUse"
    missing_one = {"HyperParameterTuningJobName": "missing"}
    for operation in ("Describe", "Stop", "Delete"):
        assert refused(server, f"{operation}HyperParameterTuningJob", missing_one)[0] == "ResourceNotFound"


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    operation, request, code, constraint = WRONG_CALLS[name]
    got, message = refused(server, operation, request)
    assert (got, constraint in message) == (code, True), message


def test_there_are_at_least_eighty_wrong_requests() -> None:
    assert len(WRONG_TRAINING) + len(WRONG_PROCESSING) + len(WRONG_CALLS) >= 80


def test_what_the_tables_change_is_right_as_it_is(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        assert call(local, "CreateTrainingJob", TRAINING)[0] == 200
        assert call(local, "CreateProcessingJob", PROCESSING)[0] == 200
        in_groups = changed(TRAINING, IN_GROUPS | {"TrainingJobName": "in-groups"})
        assert call(local, "CreateTrainingJob", in_groups)[0] == 200


DEBUGGER = ("DebugHookConfig", "DebugRuleConfigurations", "ProfilerConfig", "ProfilerRuleConfigurations")


@pytest.mark.parametrize("field", DEBUGGER)
def test_a_new_account_may_not_use_debugger(tmp_path: Path, field: str) -> None:
    needed = {"DebugRuleConfigurations": "DebugHookConfig", "ProfilerRuleConfigurations": "ProfilerConfig"}.get(field)
    request = changed(TRAINING, {other: None for other in DEBUGGER if other not in (field, needed)})
    with serving(tmp_path, "new") as server:
        status, answer = call(server, "CreateTrainingJob", request)
        assert (status, answer["__type"]) == (400, "ValidationException")
        assert field in answer["message"].partition(" cannot be specified")[0].split(", ")
        assert "2026-07-30" in answer["message"]
        assert server.jobs.list("training") == []


def test_a_new_account_trains_without_debugger_and_cannot_turn_it_on_later(tmp_path: Path) -> None:
    request = changed(TRAINING, dict.fromkeys(DEBUGGER)) | {"ProfilerConfig": {"DisableProfiler": True}}
    name = request["TrainingJobName"]
    with serving(tmp_path, "new") as server:
        assert call(server, "CreateTrainingJob", request)[0] == 200
        on = {"TrainingJobName": name, "ProfilerConfig": {"S3OutputPath": f"s3://{BUCKET}/profile/"}}
        status, answer = call(server, "UpdateTrainingJob", on)
        assert (status, "ProfilerConfig cannot be specified" in answer["message"]) == (400, True)
        off = {"TrainingJobName": name, "ProfilerConfig": {"DisableProfiler": True}}
        assert call(server, "UpdateTrainingJob", off)[0] == 200


def test_a_name_is_used_once(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        call(local, "CreateTrainingJob", TRAINING)
        call(local, "CreateProcessingJob", PROCESSING)
        assert refused(local, "CreateTrainingJob", TRAINING) == (
            "ResourceInUse",
            (
                "Training job names must be unique within an AWS account and region, and a training job with this name "
                "already exists (arn:aws:sagemaker:us-east-1:123456789012:training-job/star-rating-1)"
            ),
        )
        assert refused(local, "CreateProcessingJob", PROCESSING) == (
            "ResourceInUse",
            (
                "Job name must be unique within an AWS account and region, and a job with this name already exists "
                "(arn:aws:sagemaker:us-east-1:123456789012:processing-job/prepare-1)"
            ),
        )


def test_null_is_as_good_as_absent_and_unknown_fields_are_passed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        request = TRAINING | {"VpcConfig": None, "FieldOfTomorrow": {"a": 1}}
        assert call(local, "CreateTrainingJob", request)[0] == 200
        described = call(local, "DescribeTrainingJob", {"TrainingJobName": "star-rating-1"})[1]
        assert "VpcConfig" not in described
        assert "FieldOfTomorrow" not in local.jobs.get("training", "star-rating-1").request
