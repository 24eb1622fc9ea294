"""SageMaker's SDK v2, unchanged: HyperparameterTuner with its analytics, deploy, predict, transformer.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT python tune_and_serve.py IMAGE BUCKET OUTPUT.json

IMAGE is that of tests/helpers/emulator.py: its training job is a line of shell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.serializers import JSONSerializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

IMAGE, BUCKET, OUTPUT = sys.argv[1], sys.argv[2], Path(sys.argv[3])
SCRIPT = 'echo loss=$(sed -n \'s/.*"rate": "\\([^"]*\\)".*/\\1/p\' /opt/ml/input/config/hyperparameters.json)'
METRICS = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]

shown: dict[str, Any] = {"sdk": sagemaker.__version__}
s3 = boto3.client("s3")
estimator = Estimator(
    IMAGE,
    "arn:aws:iam::123456789012:role/Local",
    instance_count=1,
    instance_type="ml.c5.xlarge",
    sagemaker_session=sagemaker.Session(default_bucket=BUCKET),
    environment={"SCRIPT": SCRIPT},
    metric_definitions=METRICS,
    disable_profiler=True,
    output_path=f"s3://{BUCKET}/tuned",
)
tuner = HyperparameterTuner(
    estimator,
    "loss",
    {"rate": ContinuousParameter(0.1, 0.9)},
    objective_type="Minimize",
    max_jobs=3,
    max_parallel_jobs=3,
    metric_definitions=METRICS,
    base_tuning_job_name="sdk",
)
tuner.fit()
frame = tuner.analytics().dataframe()
best = frame.sort_values("FinalObjectiveValue").iloc[0]
shown["analytics"] = [len(frame), sorted(frame.columns)]
is_best = tuner.best_training_job() == best["TrainingJobName"]
shown["best"] = [bool(is_best), abs(best["FinalObjectiveValue"] - float(best["rate"])) < 1e-6]

trained = tuner.best_estimator()
predictor = trained.deploy(1, "ml.m5.large", serializer=JSONSerializer(), deserializer=JSONDeserializer())
shown["predicted"] = predictor.predict({"instances": ["It broke."]})["predictions"][0]["stars"]
predictor.delete_model()
predictor.delete_endpoint()

s3.put_object(Bucket=BUCKET, Key="texts/a", Body=b"one\ntwo\n")
transformer = trained.transformer(
    1, "ml.m5.large", strategy="SingleRecord", assemble_with="Line", output_path=f"s3://{BUCKET}/transformed"
)
transformer.transform(f"s3://{BUCKET}/texts/", content_type="text/plain", split_type="Line", logs=False)
shown["transformed"] = s3.get_object(Bucket=BUCKET, Key="transformed/a.out")["Body"].read().decode()

OUTPUT.write_text(json.dumps(shown, indent=1, default=bool), encoding="utf-8")
