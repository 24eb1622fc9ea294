"""Search over training jobs, experiments, trials and trial components."""

from __future__ import annotations

from collections.abc import Callable

from local_sagemaker.api.handlers.components import every_component
from local_sagemaker.api.handlers.experiments import parents_of
from local_sagemaker.api.handlers.tags import tags_of, tags_of_job
from local_sagemaker.api.handlers.tuning import described
from local_sagemaker.api.paging import page_of
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.search_filters import matches, refuse_incomplete, sort_value
from local_sagemaker.api.serializers.jobs import training_description
from local_sagemaker.errors import invalid

_DEFAULT_SORT = "LastModifiedTime"


def search(context: RequestContext, request: Document) -> Document:
    """Search."""
    resource = request["Resource"]
    if resource not in _RESOURCES:
        known = ", ".join(_RESOURCES)
        raise invalid(f"Resource {resource} is not available: the local SageMaker can search {known}")
    documents, field, name = _RESOURCES[resource]
    expression, sort_by = request.get("SearchExpression", {}), request.get("SortBy", _DEFAULT_SORT)
    refuse_incomplete(expression)
    page = page_of(
        [document for document in documents(context) if matches(expression, document)],
        request,
        key=lambda document: sort_value(document, sort_by),
        name=lambda document: document[name],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    answer = page.answer("Results")
    answer["Results"] = [{field: document} for document in answer["Results"]]
    return answer


def _training_jobs(context: RequestContext) -> list[Document]:
    return [
        training_description(job)
        | {
            "Tags": tags_of_job(context, job),
            "Metrics": [
                {"MetricName": metric, "Last": value.last} for metric, value in job.metrics.items() if value.count
            ],
        }
        for job in context.all_jobs("training")
    ]


def _components(context: RequestContext) -> list[Document]:
    return [
        row
        | {
            "Parents": parents_of(context, row["TrialComponentName"]),
            "Tags": tags_of(context, row["TrialComponentArn"]),
        }
        for row in every_component(context)
    ]


def _experiments(context: RequestContext) -> list[Document]:
    rows = context.all_records("experiment", "ExperimentArn")
    return [row | {"Tags": tags_of(context, row["ExperimentArn"])} for row in rows]


def _trials(context: RequestContext) -> list[Document]:
    rows = context.all_records("experiment-trial", "TrialArn")
    return [row | {"Tags": tags_of(context, row["TrialArn"])} for row in rows]


def _tuning_jobs(context: RequestContext) -> list[Document]:
    rows = [
        described(record) for record in context.all_records("hyper-parameter-tuning-job", "HyperParameterTuningJobArn")
    ]
    return [row | {"Tags": tags_of(context, row["HyperParameterTuningJobArn"])} for row in rows]


_RESOURCES: dict[str, tuple[Callable[[RequestContext], list[Document]], str, str]] = {
    "TrainingJob": (_training_jobs, "TrainingJob", "TrainingJobName"),
    "ExperimentTrialComponent": (_components, "TrialComponent", "TrialComponentName"),
    "Experiment": (_experiments, "Experiment", "ExperimentName"),
    "HyperParameterTuningJob": (_tuning_jobs, "HyperParameterTuningJob", "HyperParameterTuningJobName"),
    "ExperimentTrial": (_trials, "Trial", "TrialName"),
}
"""Resource -> its documents, the result's field, and the field with the name."""
