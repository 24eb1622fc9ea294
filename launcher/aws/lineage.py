"""Experiments and lineage: what SageMaker remembers around a job.

associations(description, session)       # [{"direction": "from", "type": "DataSet", "source": "s3://..."}, ...]
"""

from __future__ import annotations

from typing import Any

from launcher.aws.errors import translating_aws_errors
from launcher.aws.mlflow import mlflow_runs, tracking_server
from launcher.aws.session import Client, Session
from launcher.errors import AwsError

MAX_RUNS = 500


def experiment_runs(description: dict[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return a row for each run of the job's experiment: name, status, parameters, last metric values.

    MLflow's first, then those of SageMaker Experiments, each newest first.
    """
    experiment = description.get("ExperimentConfig", {}).get("ExperimentName")
    logged = [{"source": "MLflow", **run} for run in mlflow_runs(description, session)]
    if not experiment and tracking_server(description) is None:
        name = description["TrainingJobName"]
        raise AwsError(
            f"{name} belongs to no experiment; set experiment_config.experiment_name in the job file, or mlflow_config"
        )
    classic = [{"source": "Experiments", **run} for run in _classic_runs(experiment, session)] if experiment else []
    return _same_columns([*logged, *classic])


def _classic_runs(experiment: str, session: Session) -> list[dict[str, Any]]:
    sagemaker = session.client("sagemaker")
    with translating_aws_errors(f"read experiment {experiment}"):
        pages = sagemaker.get_paginator("search").paginate(
            Resource="ExperimentTrialComponent",
            SearchExpression={
                "Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": experiment}]
            },
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"MaxItems": MAX_RUNS},
        )
        components = [result["TrialComponent"] for page in pages for result in page["Results"]]
    return [_run(component) for component in components]


def associations(description: dict[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return what contributed to the job's trial component and what it produced."""
    sagemaker = session.client("sagemaker")
    name = description["TrainingJobName"]
    with translating_aws_errors(f"read the lineage of {name}"):
        component = sagemaker.describe_trial_component(TrialComponentName=f"{name.lower()}-aws-training-job")
        arn = component["TrialComponentArn"]
        rows = []
        for direction, end, other in (("from", "DestinationArn", "Source"), ("to", "SourceArn", "Destination")):
            pages = sagemaker.get_paginator("list_associations").paginate(**{end: arn})
            rows += [
                {
                    "direction": direction,
                    "association": link.get("AssociationType"),
                    "type": link.get(f"{other}Type"),
                    "name": _source_uri(sagemaker, link[f"{other}Arn"]) or link.get(f"{other}Name"),
                }
                for page in pages
                for link in page["AssociationSummaries"]
            ]
    return rows


def _source_uri(sagemaker: Client, arn: str) -> str | None:
    """Return what an artifact stands for; other kinds of entities have a name of their own."""
    if ":artifact/" not in arn:
        return None
    uri: str = sagemaker.describe_artifact(ArtifactArn=arn)["Source"]["SourceUri"]
    return uri


def _run(component: dict[str, Any]) -> dict[str, Any]:
    row = {
        "run": component.get("DisplayName") or component["TrialComponentName"],
        "job": component["TrialComponentName"].removesuffix("-aws-training-job"),
        "status": component.get("Status", {}).get("PrimaryStatus"),
        "created": component.get("CreationTime"),
    }
    parameters = {
        name: value.get("NumberValue", value.get("StringValue"))
        for name, value in component.get("Parameters", {}).items()
        if not name.startswith("SageMaker.")
    }
    metrics = {metric["MetricName"]: metric.get("Last") for metric in component.get("Metrics", [])}
    return row | parameters | metrics


def _same_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]
