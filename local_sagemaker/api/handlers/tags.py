"""Tags of jobs, experiments, trials and trial components, by their ARN.

A job's tags are those of its request until somebody changes them; then they are a record of their own.
"""

from __future__ import annotations

from local_sagemaker.api.arns import component_arn, job_arn
from local_sagemaker.api.paging import page_of
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.errors import invalid, not_found
from local_sagemaker.job_state import Job

Tag = dict[str, str]

_MOST = 50


def tags_of(context: RequestContext, arn: str) -> list[Tag]:
    """Return the tags of a resource; raise ApiError if there is no such resource."""
    first = _first_tags(context, arn)
    record = context.records.get("tags", arn)
    return first if record is None else list(record["Tags"])


def tags_of_job(context: RequestContext, job: Job) -> list[Tag]:
    """Return a job's tags."""
    record = context.records.get("tags", job_arn(job))
    tags: list[Tag] = (record or job.request).get("Tags", [])
    return tags


def forget_tags(context: RequestContext, arn: str) -> None:
    """Forget a deleted resource's tags."""
    context.records.delete("tags", arn)


def add_tags(context: RequestContext, request: Document) -> Document:
    """AddTags; a key that is there gets the new value. Answers with all tags."""
    arn, added = request["ResourceArn"], {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid("Tag keys starting with 'aws:' are reserved")
    tags = {tag["Key"]: tag["Value"] for tag in tags_of(context, arn)} | added
    if len(tags) > _MOST:
        raise invalid(f"A resource can have {_MOST} tags; {len(tags)} were asked for")
    answer: Document = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    context.records.put("tags", arn, answer)
    return answer


def delete_tags(context: RequestContext, request: Document) -> Document:
    """DeleteTags."""
    arn = request["ResourceArn"]
    kept = [tag for tag in tags_of(context, arn) if tag["Key"] not in request["TagKeys"]]
    context.records.put("tags", arn, {"Tags": kept})
    return {}


def list_tags(context: RequestContext, request: Document) -> Document:
    """ListTags."""
    page = page_of(
        tags_of(context, request["ResourceArn"]),
        request,
        key=lambda tag: tag["Key"],
        name=lambda tag: tag["Key"],
        size=_MOST,
    )
    return page.answer("Tags")


def _first_tags(context: RequestContext, arn: str) -> list[Tag]:
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if kind in ("training-job", "processing-job"):
        job = context.job("training" if kind == "training-job" else "processing", name)
        tags: list[Tag] = job.request.get("Tags", [])
        return tags
    if any(component_arn(job) == arn for job in context.every_job()):
        return []
    for kind_of_record, field in (
        ("experiment", "ExperimentArn"),
        ("experiment-trial", "TrialArn"),
        ("experiment-trial-component", "TrialComponentArn"),
        ("artifact", "ArtifactArn"),
        ("action", "ActionArn"),
        ("context", "ContextArn"),
        ("model", "ModelArn"),
        ("endpoint-config", "EndpointConfigArn"),
        ("endpoint", "EndpointArn"),
        ("transform-job", "TransformJobArn"),
        ("hyper-parameter-tuning-job", "HyperParameterTuningJobArn"),
    ):
        if any(record[field] == arn for record in context.records.all(kind_of_record)):
            return []
    raise not_found()
