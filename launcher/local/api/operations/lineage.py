"""Operations on lineage: what jobs were made from and what they made."""

from __future__ import annotations

from launcher.local.api.account import Account, Document
from launcher.local.api.answers import lineage
from launcher.local.api.errors import ApiError
from launcher.local.api.paging import page_of, within


def list_associations(account: Account, request: Document) -> Document:
    """ListAssociations."""
    rows = [
        row
        for row in lineage.associations(account.every_job())
        if all(
            request.get(field) in (None, row[field])
            for field in ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        )
        and within(request, row, Created="CreationTime")
    ]
    field = request.get("SortBy", "CreationTime")
    page = page_of(
        rows,
        request,
        key=lambda row: row[field],
        name=lambda row: row["SourceArn"] + row["DestinationArn"],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    return page.answer("AssociationSummaries")


def describe_artifact(account: Account, request: Document) -> Document:
    """DescribeArtifact."""
    arn = request["ArtifactArn"]
    artifact = lineage.artifacts(account.every_job()).get(arn)
    if artifact is None:
        raise ApiError("ResourceNotFound", f"Artifact '{arn}' does not exist.")
    return artifact


def list_artifacts(account: Account, request: Document) -> Document:
    """ListArtifacts."""
    rows = [
        {name: row[name] for name in row if name != "Properties"}
        for row in lineage.artifacts(account.every_job()).values()
        if request.get("SourceUri") in (None, row["Source"]["SourceUri"])
        and request.get("ArtifactType") in (None, row["ArtifactType"])
        and within(request, row, Created="CreationTime")
    ]
    page = page_of(
        rows,
        request,
        key=lambda row: row["CreationTime"],
        name=lambda row: row["ArtifactArn"],
        descending=request.get("SortOrder", "Descending") == "Descending",
    )
    return page.answer("ArtifactSummaries")


def list_contexts(_account: Account, _request: Document) -> Document:
    """ListContexts: of endpoints and model packages, which are not here."""
    return {"ContextSummaries": []}


def list_actions(_account: Account, _request: Document) -> Document:
    """ListActions: of approvals and deployments, which are not here."""
    return {"ActionSummaries": []}


def query_lineage(account: Account, request: Document) -> Document:
    """QueryLineage."""
    return lineage.query(list(lineage.associations(account.every_job())), request)
