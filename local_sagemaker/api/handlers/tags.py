"""Tags of jobs, experiments, trials and trial components, by their ARN.

A job's tags are those of its request until somebody changes them; then they are a record of their own.
"""

from __future__ import annotations

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.names import component_arn, job_arn
from local_sagemaker.api.paging import page_of
from local_sagemaker.document import Job
from local_sagemaker.errors import invalid, not_found

Tag = dict[str, str]

_MOST = 50


def tags_of(account: Account, arn: str) -> list[Tag]:
    """Return the tags of a resource; raise ApiError if there is no such resource."""
    first = _first_tags(account, arn)
    record = account.records.get("tags", arn)
    return first if record is None else list(record["Tags"])


def tags_of_job(account: Account, job: Job) -> list[Tag]:
    """Return a job's tags."""
    record = account.records.get("tags", job_arn(job))
    tags: list[Tag] = (record or job.request).get("Tags", [])
    return tags


def forget_tags(account: Account, arn: str) -> None:
    """Forget a deleted resource's tags."""
    account.records.delete("tags", arn)


def add_tags(account: Account, request: Document) -> Document:
    """AddTags; a key that is there gets the new value. Answers with all tags."""
    arn, added = request["ResourceArn"], {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid("Tag keys starting with 'aws:' are reserved")
    tags = {tag["Key"]: tag["Value"] for tag in tags_of(account, arn)} | added
    if len(tags) > _MOST:
        raise invalid(f"A resource can have {_MOST} tags; {len(tags)} were asked for")
    answer: Document = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    account.records.put("tags", arn, answer)
    return answer


def delete_tags(account: Account, request: Document) -> Document:
    """DeleteTags."""
    arn = request["ResourceArn"]
    kept = [tag for tag in tags_of(account, arn) if tag["Key"] not in request["TagKeys"]]
    account.records.put("tags", arn, {"Tags": kept})
    return {}


def list_tags(account: Account, request: Document) -> Document:
    """ListTags."""
    page = page_of(
        tags_of(account, request["ResourceArn"]),
        request,
        key=lambda tag: tag["Key"],
        name=lambda tag: tag["Key"],
        size=_MOST,
    )
    return page.answer("Tags")


def _first_tags(account: Account, arn: str) -> list[Tag]:
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if kind in ("training-job", "processing-job"):
        job = account.job("training" if kind == "training-job" else "processing", name)
        tags: list[Tag] = job.request.get("Tags", [])
        return tags
    if any(component_arn(job) == arn for job in account.every_job()):
        return []
    for kind_of_record, field in (
        ("experiment", "ExperimentArn"),
        ("experiment-trial", "TrialArn"),
        ("experiment-trial-component", "TrialComponentArn"),
        ("artifact", "ArtifactArn"),
        ("action", "ActionArn"),
        ("context", "ContextArn"),
        ("model", "ModelArn"),
    ):
        if any(record[field] == arn for record in account.records.all(kind_of_record)):
            return []
    raise not_found()
