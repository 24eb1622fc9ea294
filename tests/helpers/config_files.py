"""The config files that SageMaker writes into a container, as examples and damaged.

    name, content = ...                       # drawn from damaged(SAGEMAKERS)

The container reads SAGEMAKERS, the debugger DEBUGGERS, the profiler PROFILERS, training CHECKPOINTS.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies

from tests.helpers.fuzzing import damaged_json

SAGEMAKERS: dict[str, list[dict[str, Any]]] = {
    "hyperparameters.json": [
        {"epochs": "3", "learning_rate": "5e-05", "use_amp": '"auto"', "run_test": "True", "model": "auto"},
        {"epochs": 3, "learning_rate": 5e-05, "run_test": True, "sagemaker_region": "eu-west-1"},
    ],
    "inputdataconfig.json": [
        {
            "train": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"},
            "validation": {"ContentType": "application/x-tfrecord", "RecordWrapperType": "None"},
            "test": {},
        }
    ],
    "resourceconfig.json": [
        {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]},
        {
            "current_host": "algo-1",
            "current_instance_type": "ml.c5.9xlarge",
            "current_group_name": "group",
            "hosts": ["algo-1"],
            "instance_groups": [{"instance_group_name": "group", "instance_type": "ml.c5.large", "hosts": ["algo-1"]}],
            "network_interface_name": "eth0",
            "topology": None,
        },
    ],
}
DEBUGGERS: dict[str, list[dict[str, Any]]] = {
    "debughookconfig.json": [
        {"LocalPath": "/opt/ml/output/tensors", "S3OutputPath": "s3://bucket/debug"},
        {
            "HookParameters": {"save_interval": "100", "train.start_step": "5", "tensorboard_dir": "/opt/ml/x"},
            "CollectionConfigurations": [
                {"CollectionName": "losses", "CollectionParameters": {"save_steps": "1,2,3"}},
                {"CollectionName": "mine", "CollectionParameters": {"include_regex": "attention.*,ffn"}},
            ],
        },
    ],
    "tensorboardoutputconfig.json": [{"LocalPath": "/opt/ml/output/tensorboard", "S3OutputPath": "s3://b/t"}],
}
CHECKPOINTS: dict[str, list[dict[str, Any]]] = {
    "checkpointconfig.json": [{"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"}],
}
PROFILERS: dict[str, list[dict[str, Any]]] = {
    "profilerconfig.json": [
        {"ProfilingIntervalInMilliseconds": 500, "S3OutputPath": "s3://bucket/profile", "DisableProfiler": False},
        {
            "ProfilingParameters": {
                "LocalPath": "/opt/ml/output/profiler/",
                "RotateFileCloseIntervalInSeconds": "60",
                "DetailedProfilingConfig": '{"StartStep": 5, "NumSteps": 10, }',
                "PythonProfilingConfig": '{"DurationInSeconds": 2.5, "ProfilerName": "cprofile"}',
            }
        },
    ]
}


def damaged(files: dict[str, list[dict[str, Any]]]) -> strategies.SearchStrategy[tuple[str, bytes]]:
    """One of the files, by name, with damaged content."""
    return strategies.one_of(
        [strategies.tuples(strategies.just(name), damaged_json(seeds)) for name, seeds in files.items()]
    )
