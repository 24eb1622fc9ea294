"""SDK v3, unchanged: HyperparameterTuner, ModelBuilder's endpoint, Transformer, and sagemaker-core's resources of them.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT python v3_tune_and_serve.py IMAGE BUCKET OUTPUT.json TINY_IMAGE MODEL_URI

IMAGE serves the model; TINY_IMAGE is that of tests/helpers/emulator.py, whose training job is a line of shell.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.resources import Endpoint, EndpointConfig, HyperParameterTuningJob, Model, TransformJob
from sagemaker.core.transformer import Transformer
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, OutputDataConfig, StoppingCondition
from sagemaker.train.tuner import HyperparameterTuner

IMAGE, BUCKET, OUTPUT, TINY_IMAGE, MODEL = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5]
ROLE = "arn:aws:iam::123456789012:role/Local"
SCRIPT = 'echo loss=$(sed -n \'s/.*"rate": "\\([^"]*\\)".*/\\1/p\' /opt/ml/input/config/hyperparameters.json)'

shown: dict[str, Any] = {"sdk": version("sagemaker")}
suffix = str(int(time.time()))
session = Session(default_bucket=BUCKET)
texts: list[str] = json.loads(boto3.client("s3").get_object(Bucket=BUCKET, Key="conformance/texts.json")["Body"].read())

# A tuning job: three training jobs, a table of them.
trainer = ModelTrainer(
    training_image=TINY_IMAGE,
    sagemaker_session=session,
    role=ROLE,
    base_job_name="v3",
    compute=Compute(instance_type="ml.c5.xlarge", instance_count=1, volume_size_in_gb=30),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=900),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/v3"),
    environment={"SCRIPT": SCRIPT},
)
tuner = HyperparameterTuner(
    trainer,
    "loss",
    {"rate": ContinuousParameter(0.1, 0.9)},
    objective_type="Minimize",
    max_jobs=3,
    max_parallel_jobs=3,
    metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
)
tuner.tune(job_name=f"v3-{suffix}")
frame = tuner.analytics().dataframe()
best = frame.sort_values("FinalObjectiveValue").iloc[0]
shown["analytics"] = [len(frame), sorted(frame.columns)]
is_best = tuner.best_training_job() == best["TrainingJobName"]
shown["best"] = [bool(is_best), bool(abs(best["FinalObjectiveValue"] - float(best["rate"])) < 1e-6)]
found = HyperParameterTuningJob.get(f"v3-{suffix}")
shown["tuning"] = [found.hyper_parameter_tuning_job_status, len(list(found.get_all_training_jobs()))]
shown["listed"] = [row.hyper_parameter_tuning_job_name for row in HyperParameterTuningJob.get_all(name_contains="v3-")]

# ModelBuilder: the image and the model as they are, behind an endpoint.
builder = ModelBuilder(
    image_uri=IMAGE, model_path=MODEL, role_arn=ROLE, sagemaker_session=session, instance_type="ml.m5.large"
)
builder.build(model_name=f"v3-built-{suffix}")
endpoint = builder.deploy(endpoint_name=f"v3-{suffix}", instance_type="ml.m5.large", initial_instance_count=1)
answer = endpoint.invoke(body=json.dumps({"instances": texts}), content_type="application/json")
shown["predicted"] = json.loads(answer.body.read())["predictions"]
shown["endpoint"] = Endpoint.get(f"v3-{suffix}").endpoint_status
model, config = Model.get(f"v3-built-{suffix}"), EndpointConfig.get(endpoint.endpoint_config_name)

# A transform job with the same model.
transformer = Transformer(
    model.model_name,
    1,
    "ml.m5.large",
    strategy="MultiRecord",
    assemble_with="Line",
    accept="application/jsonlines",
    output_path=f"s3://{BUCKET}/conformance/v3",
    sagemaker_session=session,
)
transformer.transform(
    f"s3://{BUCKET}/conformance/texts/",
    content_type="text/plain",
    split_type="Line",
    job_name=f"v3-{suffix}",
    logs=False,
)
shown["transform"] = TransformJob.get(f"v3-{suffix}").transform_job_status
written = boto3.client("s3").get_object(Bucket=BUCKET, Key="conformance/v3/reviews.txt.out")["Body"].read()
shown["transformed"] = [json.loads(line) for line in written.splitlines()]

endpoint.delete()
endpoint.wait_for_delete(poll=1)
config.delete()
model.delete()
shown["left"] = len(list(Endpoint.get_all(name_contains=f"v3-{suffix}")))
OUTPUT.write_text(json.dumps(shown, indent=1), encoding="utf-8")
