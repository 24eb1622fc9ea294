"""SDK v3 as it comes from PyPI: ModelTrainer trains, sagemaker-core's resources read what became of it.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT python model_trainer.py IMAGE BUCKET OUTPUT.json

Runs in .venv-sagemaker-sdk-v3; imports nothing of this project. What is shown goes into OUTPUT.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from sagemaker.core import shapes
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import (
    Artifact,
    Association,
    Endpoint,
    Experiment,
    Model,
    Pipeline,
    Tag,
    TrainingJob,
    Trial,
    TrialComponent,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, StoppingCondition

IMAGE, BUCKET, OUTPUT = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ROLE = "arn:aws:iam::123456789012:role/Local"
CHANNELS = ("train", "validation", "test")

shown: dict[str, object] = {"sdk": version("sagemaker")}
suffix = str(int(time.time()))


def refusal(ask: Callable[[], Any]) -> str:
    """Return the code of an error."""
    try:
        ask()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "an answer"


# ModelTrainer: the image on the shipped reviews, a few steps.
trainer = ModelTrainer(
    training_image=IMAGE,
    sagemaker_session=Session(default_bucket=BUCKET),
    role=ROLE,
    base_job_name="v3",
    compute=Compute(instance_type="ml.c5.xlarge", instance_count=1, volume_size_in_gb=30),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=900),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/v3"),
    hyperparameters={
        "epochs": 1,
        "max_seq_length": 64,
        "train_steps_per_epoch": 5,
        "validation_steps": 1,
        "test_steps": 1,
        "use_xla": False,
        "use_amp": False,
    },
    environment={"MODE": "v3"},
    tags=[shapes.Tag(key="owner", value="sdk")],
)
trainer.train(
    input_data_config=[
        InputData(channel_name=name, data_source=f"s3://{BUCKET}/channels/{name}/") for name in CHANNELS
    ],
    wait=True,
    logs=True,
)
# sagemaker-core's resources: every field of the answers goes through their pydantic shapes.
latest: Any = trainer._latest_training_job
job = TrainingJob.get(latest.training_job_name)
shown["job"], shown["status"] = job.training_job_name, job.training_job_status
shown["transitions"] = [phase.status for phase in job.secondary_status_transitions]
shown["ends"] = [phase.end_time is not None for phase in job.secondary_status_transitions]
shown["seconds"] = [job.training_time_in_seconds, job.billable_time_in_seconds]
shown["listed"] = [row.training_job_name for row in TrainingJob.get_all(name_contains="v3", status_equals="Completed")]
shown["tags"] = {tag.key: tag.value for tag in Tag.get_all(resource_arn=job.training_job_arn)}

# A model of it, described without what it has not.
model = Model.create(
    model_name=f"v3-model-{suffix}",
    primary_container=shapes.ContainerDefinition(image=IMAGE, model_data_url=job.model_artifacts.s3_model_artifacts),
    execution_role_arn=ROLE,
)
shown["model"] = Model.get(model.model_name).primary_container.model_data_url.rpartition("/")[2]
model.delete()

# A run of its own: metrics and lineage.
Experiment.create(experiment_name=f"v3-{suffix}")
Trial.create(trial_name=f"v3-trial-{suffix}", experiment_name=f"v3-{suffix}")
run = TrialComponent.create(trial_component_name=f"v3-run-{suffix}")
run.batch_put_metrics(
    metric_data=[
        shapes.RawMetricData(metric_name="loss", timestamp=int(time.time()), step=step, value=1.0 / (step + 1))
        for step in range(3)
    ]
)
found = TrialComponent.get(f"v3-run-{suffix}")
shown["metrics"] = {metric.metric_name: metric.count for metric in found.metrics or ()}
data = Artifact.create(source=shapes.ArtifactSource(source_uri=f"s3://{BUCKET}/channels/"), artifact_type="DataSet")
Association.add(source_arn=data.artifact_arn, destination_arn=found.trial_component_arn)
shown["associations"] = len(list(Association.get_all(destination_arn=found.trial_component_arn)))

# What is not here says so, once.
shown["endpoints"] = len(list(Endpoint.get_all()))
shown["pipelines"] = refusal(lambda: list(Pipeline.get_all()))
shown["missing"] = refusal(lambda: TrainingJob.get("no-such-job"))

OUTPUT.write_text(json.dumps(shown, indent=1), encoding="utf-8")
