"""Wrong CreateTrainingJob requests: each is answered with the real service's error code and constraint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.local_server import BUCKET, TRAINING, ApiServer, call, changed, serving
from tests.helpers.wrong_requests import SERIALIZATION, VALIDATION, Changes, at, missing, refused

CHANNEL = "InputDataConfig.0"
SOURCE = f"{CHANNEL}.DataSource.S3DataSource"
ALGORITHM = "AlgorithmSpecification"

GROUPS = [
    {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
    {"InstanceGroupName": "b", "InstanceType": "ml.c5.2xlarge", "InstanceCount": 1},
]
IN_GROUPS: Changes = {"ResourceConfig": {"InstanceGroups": GROUPS, "VolumeSizeInGB": 30}}
RULE = {"RuleConfigurationName": "LossNotDecreasing", "RuleEvaluatorImage": "rules:latest"}


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


DEBUGGER = ("DebugHookConfig", "DebugRuleConfigurations", "ProfilerConfig", "ProfilerRuleConfigurations")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.mark.parametrize("name", WRONG_TRAINING)
def test_a_wrong_training_job_is_refused_as_sagemaker_does(server: ApiServer, name: str) -> None:
    changes, code, constraint = WRONG_TRAINING[name]
    got, message = refused(server, "CreateTrainingJob", changed(TRAINING, changes))
    assert (got, constraint in message) == (code, True), message
    assert "secret" not in message
    assert server.jobs.list("training") == []


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


def test_groups_of_instances_are_right(tmp_path: Path) -> None:
    with serving(tmp_path) as local:
        assert call(local, "CreateTrainingJob", changed(TRAINING, IN_GROUPS))[0] == 200
