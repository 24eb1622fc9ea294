"""SageMaker's SDK v2, unchanged: HyperparameterTuner with its analytics, deploy, predict, transformer.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT python tune_and_serve.py IMAGE BUCKET OUTPUT.json TINY_IMAGE TUNED

TINY_IMAGE is that of tests/helpers/emulator.py: its training job is a line of shell. TUNED is a tuning job of IMAGE,
whose best model is served.
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

IMAGE, BUCKET, OUTPUT, TINY_IMAGE, TUNED = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5]
SCRIPT = 'echo loss=$(sed -n \'s/.*"rate": "\\([^"]*\\)".*/\\1/p\' /opt/ml/input/config/hyperparameters.json)'
METRICS = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]

shown: dict[str, Any] = {"sdk": sagemaker.__version__}
s3 = boto3.client("s3")
session = sagemaker.Session(default_bucket=BUCKET)
estimator = Estimator(
    TINY_IMAGE,
    "arn:aws:iam::123456789012:role/Local",
    instance_count=1,
    instance_type="ml.c5.xlarge",
    sagemaker_session=session,
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

attached = HyperparameterTuner.attach(TUNED, sagemaker_session=session)
shown["attached"] = [len(attached.analytics().dataframe()), attached.best_training_job()]

texts = json.loads(s3.get_object(Bucket=BUCKET, Key="conformance/texts.json")["Body"].read())
trained = attached.best_estimator()
predictor = trained.deploy(1, "ml.m5.large", serializer=JSONSerializer(), deserializer=JSONDeserializer())
shown["predicted"] = predictor.predict({"instances": texts})["predictions"]
predictor.delete_model()
predictor.delete_endpoint()

transformer = trained.transformer(
    1, "ml.m5.large", strategy="MultiRecord", assemble_with="Line", output_path=f"s3://{BUCKET}/conformance/v2"
)
source = f"s3://{BUCKET}/conformance/texts/"
transformer.transform(source, content_type="text/plain", split_type="Line", logs=False)
content = s3.get_object(Bucket=BUCKET, Key="conformance/v2/reviews.txt.out")["Body"].read()
shown["transformed"] = [json.loads(line) for line in content.splitlines()]

OUTPUT.write_text(json.dumps(shown, indent=1, default=bool), encoding="utf-8")
