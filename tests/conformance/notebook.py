"""The notebook's cells, from the estimator to the lineage table, with AWS's own SDK as it comes from PyPI.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT python notebook.py IMAGE BUCKET OUTPUT.json

Runs in .venv-sagemaker-sdk; imports nothing of this project. What each cell shows goes into OUTPUT.json, by cell.
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path

import boto3
import sagemaker
from sagemaker.analytics import ExperimentAnalytics
from sagemaker.debugger import (
    CollectionConfig,
    DebuggerHookConfig,
    FrameworkProfile,
    ProfilerConfig,
    ProfilerRule,
    Rule,
    rule_configs,
)
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.lineage.visualizer import LineageTableVisualizer

IMAGE, BUCKET, OUTPUT = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ROLE = "arn:aws:iam::123456789012:role/Local"

shown: dict[str, object] = {"sdk": sagemaker.__version__}

# The session; the bucket is named, because the SDK asks STS at AWS itself for the default one's account.
session = sagemaker.Session(default_bucket=BUCKET)
bucket = session.default_bucket()
region = boto3.Session().region_name

# Experiment and trial, which the notebook before this one has made.
client = boto3.client("sagemaker")
experiment, trial = f"reviews-{int(time.time())}", f"trial-{int(time.time())}"
client.create_experiment(ExperimentName=experiment)
client.create_trial(TrialName=trial, ExperimentName=experiment)
experiment_config = {"ExperimentName": experiment, "TrialName": trial, "TrialComponentDisplayName": "train"}

# Three channels, sharded.
channels = {
    name: TrainingInput(s3_data=f"s3://{bucket}/channels/{name}/", distribution="ShardedByS3Key")
    for name in ("train", "validation", "test")
}

# Hyperparameters: the notebook's 19, on the shipped reviews for one epoch.
hyperparameters = {
    "epochs": 1,
    "learning_rate": 1e-4,
    "epsilon": 0.00000001,
    "train_batch_size": 32,
    "validation_batch_size": 128,
    "test_batch_size": 128,
    "train_steps_per_epoch": 60,
    "validation_steps": 2,
    "test_steps": 2,
    "use_xla": False,
    "use_amp": False,
    "max_seq_length": 64,
    "freeze_bert_layer": False,
    "enable_sagemaker_debugger": True,
    "enable_checkpointing": False,
    "enable_tensorboard": True,
    "run_validation": True,
    "run_test": True,
    "run_sample_predictions": True,
}

metric_definitions = [
    {"Name": f"{channel}:{quantity}", "Regex": f"{channel}:{quantity}=([0-9.e+-]+)"}
    for channel in ("train", "validation", "test")
    for quantity in ("loss", "accuracy")
]

# Debugger and Profiler, as the notebook has them.
rules = [
    Rule.sagemaker(
        base_config=rule_configs.loss_not_decreasing(),
        rule_parameters={"collection_names": "losses", "use_losses_collection": "true", "num_steps": "10"},
        collections_to_save=[CollectionConfig(name="losses", parameters={"save_interval": "10"})],
    ),
    Rule.sagemaker(base_config=rule_configs.overtraining(), rule_parameters={"patience_train": "10"}),
    ProfilerRule.sagemaker(rule_configs.ProfilerReport()),
    ProfilerRule.sagemaker(rule_configs.CPUBottleneck()),
]
hook = DebuggerHookConfig(
    s3_output_path=f"s3://{bucket}/debugger", hook_parameters={"save_interval": "10", "export_tensorboard": "true"}
)
profiler = ProfilerConfig(
    system_monitor_interval_millis=500,
    s3_output_path=f"s3://{bucket}/profiler",
    framework_profile_params=FrameworkProfile(local_path="/opt/ml/output/profiler/", start_step=5, num_steps=10),
)

estimator = Estimator(
    image_uri=IMAGE,
    role=ROLE,
    instance_count=1,
    instance_type="ml.c5.9xlarge",
    volume_size=1024,
    input_mode="File",
    hyperparameters={name: str(value) for name, value in hyperparameters.items()},
    metric_definitions=metric_definitions,
    rules=rules,
    debugger_hook_config=hook,
    profiler_config=profiler,
    checkpoint_s3_uri=f"s3://{bucket}/checkpoints/notebook/",
    output_path=f"s3://{bucket}/jobs",
    base_job_name="bert-reviews",
    sagemaker_session=session,
)

# fit, and wait with the log
began = time.monotonic()
estimator.fit(inputs=channels, experiment_config=experiment_config, wait=False)
job = estimator.latest_training_job.name
estimator.latest_training_job.wait(logs="All")
shown["job"], shown["seconds"] = job, round(time.monotonic() - began, 1)
shown["status"] = estimator.latest_training_job.describe()["TrainingJobStatus"]

# Metrics as a table
metrics = estimator.training_job_analytics.dataframe()
print(metrics.to_string())
shown["metrics"] = {name: len(rows) for name, rows in metrics.groupby("metric_name")}

# The model: download and unpack
archive = OUTPUT.parent / "model.tar.gz"
model_bucket, key = estimator.model_data.removeprefix("s3://").split("/", 1)
boto3.client("s3").download_file(model_bucket, key, str(archive))
with tarfile.open(archive) as tar:
    names = tar.getnames()
    tar.extractall(OUTPUT.parent / "model", filter="data")
shown["model"] = sorted(name for name in names if name.count("/") <= 1 and not name.endswith("/"))
evaluation = json.loads((OUTPUT.parent / "model/metrics/evaluation.json").read_text())
shown["accuracy"] = evaluation["metrics"]["accuracy"]["value"]
shown["confusion_matrix"] = (OUTPUT.parent / "model/metrics/confusion_matrix.png").stat().st_size

# Rules
summary = estimator.latest_training_job.rule_job_summary()
print(json.dumps(summary, indent=1, default=str))
shown["rules"] = {rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in summary}
shown["rule output"] = estimator.latest_job_profiler_artifacts_path(), estimator.latest_job_debugger_artifacts_path()

# Experiment analytics, sorted by creation time
analytics = ExperimentAnalytics(
    sagemaker_session=session, experiment_name=experiment, sort_by="CreationTime", sort_order="Descending"
).dataframe()
print(analytics.T.to_string())
shown["experiment"] = {
    "rows": len(analytics),
    "columns": [name for name in analytics.columns if name in ("DisplayName", "epochs", "test:accuracy - Last")],
    "trials": list(analytics["Trials"][0]),
}

# Lineage as a table
lineage = LineageTableVisualizer(session).show(training_job_name=job)
print(lineage.to_string())
shown["lineage"] = sorted(
    f"{row['Direction']} {row['Type']} {row['Association Type']}" for _, row in lineage.iterrows()
)

# Release resources: nothing is left to stop
shown["running"] = len(client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"])

OUTPUT.write_text(json.dumps(shown, indent=1), encoding="utf-8")
