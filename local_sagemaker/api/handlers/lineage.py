"""Operations on lineage: what jobs were made from and what they made, and what people add to it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from local_sagemaker.api.handlers.components import every_component
from local_sagemaker.api.handlers.resources import Resource
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.api.serializers import lineage
from local_sagemaker.errors import ApiError, invalid

ARTIFACT = Resource(
    "artifact",
    "Artifact",
    "ArtifactSummaries",
    "ArtifactArn",
    derived=lambda context: lineage.artifacts(context.every_job()),
)
ACTION = Resource("action", "Action", "ActionSummaries", "ActionName")
CONTEXT = Resource("context", "Context", "ContextSummaries", "ContextName")

create_artifact, describe_artifact, update_artifact = ARTIFACT.create, ARTIFACT.describe, ARTIFACT.update
create_action, describe_action, update_action = ACTION.create, ACTION.describe, ACTION.update
create_context, describe_context, update_context = CONTEXT.create, CONTEXT.describe, CONTEXT.update
list_artifacts, list_actions, list_contexts = ARTIFACT.list, ACTION.list, CONTEXT.list
delete_action, delete_context = ACTION.delete, CONTEXT.delete


def delete_artifact(context: RequestContext, request: Document) -> Document:
    """DeleteArtifact, by its ARN or as the only one of a source."""
    if "ArtifactArn" in request:
        return ARTIFACT.delete(context, request)
    uri = request.get("Source", {}).get("SourceUri")
    arns = [arn for arn, row in ARTIFACT.every(context).items() if row["Source"]["SourceUri"] == uri]
    if len(arns) != 1:
        raise invalid(f"{len(arns)} artifacts have the source {uri}; ArtifactArn must be specified")
    return ARTIFACT.delete(context, {"ArtifactArn": arns[0]})


def add_association(context: RequestContext, request: Document) -> Document:
    """AddAssociation, between any two of artifacts, actions, contexts and trial components."""
    ends = {"SourceArn": request["SourceArn"], "DestinationArn": request["DestinationArn"]}
    for end in ends.values():
        _end(context, end)
    record = ends | {"CreationTime": time.time(), "CreatedBy": {}}
    record |= {"AssociationType": request["AssociationType"]} if "AssociationType" in request else {}
    is_there = any(_joins(row, ends) for row in _derived(context))
    if is_there or not context.records.add("association", _name(ends), record):
        raise invalid(f"An association of {ends['SourceArn']} with {ends['DestinationArn']} already exists")
    return ends


def delete_association(context: RequestContext, request: Document) -> Document:
    """DeleteAssociation: one that somebody has added."""
    ends = {"SourceArn": request["SourceArn"], "DestinationArn": request["DestinationArn"]}
    if context.records.get("association", _name(ends)) is None:
        if any(_joins(row, ends) for row in _derived(context)):
            raise invalid("The association is a job's own: it is there as long as its job")
        raise ApiError("ResourceNotFound", f"Association {ends} does not exist.")
    context.records.delete("association", _name(ends))
    return ends


def list_associations(context: RequestContext, request: Document) -> Document:
    """ListAssociations."""
    rows = [
        row
        for row in _associations(context)
        if all(
            request.get(field) in (None, row.get(field))
            for field in ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        )
        and within(request, row, Created="CreationTime")
    ]
    field = request.get("SortBy", "CreationTime")
    page = page_of(
        rows,
        request,
        key=lambda row: row.get(field, ""),
        name=lambda row: row["SourceArn"] + row["DestinationArn"],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    return page.answer("AssociationSummaries")


def query_lineage(context: RequestContext, request: Document) -> Document:
    """QueryLineage."""
    return lineage.query(list(_associations(context)), request)


def _derived(context: RequestContext) -> Iterator[Document]:
    return lineage.associations(context.every_job())


def _associations(context: RequestContext) -> Iterator[Document]:
    """Yield the jobs' associations and those that were added, with type and name of both ends."""
    yield from _derived(context)
    for record in context.all_records("association", "SourceArn"):
        ends = {"Source": record["SourceArn"], "Destination": record["DestinationArn"]}
        yield record | {
            f"{side}{part}": value
            for side, arn in ends.items()
            for part, value in _end(context, arn, must_exist=False).items()
        }


def _end(context: RequestContext, arn: str, *, must_exist: bool = True) -> Document:
    """Return type and name of what an association joins; raise ApiError if it has to be there and is not."""
    for resource in (ARTIFACT, ACTION, CONTEXT):
        row = resource.every(context).get(arn) if f":{resource.kind}/" in arn else None
        if row is not None:
            name = row.get(f"{resource.title}Name")
            return {"Type": row[f"{resource.title}Type"]} | ({"Name": name} if name else {})
    for row in every_component(context) if ":experiment-trial-component/" in arn else ():
        if row["TrialComponentArn"] == arn:
            source = row.get("Source", {}).get("SourceType", "TrialComponent")
            return {"Type": source, "Name": row["TrialComponentName"]}
    if must_exist:
        raise ApiError("ResourceNotFound", f"'{arn}' does not exist.")
    return {}


def _joins(row: Document, ends: Document) -> bool:
    return all(row[field] == arn for field, arn in ends.items())


def _name(ends: Document) -> str:
    return f"{ends['SourceArn']} {ends['DestinationArn']}"
