"""Resources that are kept as they were created: models, artifacts, actions and contexts of lineage.

What botocore's model says of a resource is all that there is to know of it: Create keeps what it is given, Describe and
List answer with it, Update changes it, Delete forgets it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from local_sagemaker.api.handlers.tags import forget_tags
from local_sagemaker.api.paging import page_of, within
from local_sagemaker.api.request_context import Document, RequestContext, Running
from local_sagemaker.errors import ApiError, invalid
from local_sagemaker.runner.running_resources import RunningResources


@dataclass(frozen=True)
class Resource:
    """A kind of resource, as its operations name it."""

    kind: str
    """As in its ARN."""
    title: str
    """Artifact: what its fields begin with."""
    summaries: str
    """Field of List's answer."""
    identified_by: str
    """Field that Describe, Update and Delete ask with."""
    derived: Callable[[RequestContext], dict[str, Document]] = lambda _: {}
    """By ARN, those of the jobs: they are there by themselves."""
    of_people: bool = True
    """Whether it says who created and changed it; here that is nobody."""

    def create(self, context: RequestContext, request: Document) -> Document:
        """Keep a new resource, and its tags."""
        now, name = time.time(), request.get(f"{self.title}Name")
        identifier = name if self.identified_by.endswith("Name") else uuid.uuid4().hex
        arn = context.arn(self.kind, str(identifier).lower())
        record = {field: value for field, value in request.items() if field != "Tags"} | {
            f"{self.title}Arn": arn,
            "CreationTime": now,
        }
        if self.of_people:
            record |= {"CreatedBy": {}, "LastModifiedTime": now, "LastModifiedBy": {}}
        if not context.records.add(self.kind, arn, record):
            raise self._exists(arn)
        if request.get("Tags"):
            context.records.put("tags", arn, {"Tags": request["Tags"]})
        return {f"{self.title}Arn": arn}

    def describe(self, context: RequestContext, request: Document) -> Document:
        """Return a resource; raise ApiError."""
        arn = self._arn(context, request[self.identified_by])
        found = context.records.get(self.kind, arn) or self.derived(context).get(arn)
        if found is None:
            raise self._not_found(arn)
        return found

    def update(self, context: RequestContext, request: Document) -> Document:
        """Change what is given; properties one by one."""
        record = self._own(context, request[self.identified_by])
        removed = request.get("PropertiesToRemove", [])
        kept = {name: value for name, value in record.get("Properties", {}).items() if name not in removed}
        changed = {field: request[field] for field in request if field not in ("Properties", "PropertiesToRemove")}
        if "Properties" in request or removed:
            changed["Properties"] = kept | request.get("Properties", {})
        changed[self.identified_by] = record[self.identified_by]
        arn = record[f"{self.title}Arn"]
        context.records.put(self.kind, arn, record | changed | {"LastModifiedTime": time.time()})
        return {f"{self.title}Arn": arn}

    def delete(self, context: RequestContext, request: Document) -> Document:
        """Forget a resource; one that associations join to others stays."""
        arn = self._own(context, request[self.identified_by])[f"{self.title}Arn"]
        for association in context.records.all("association"):
            if arn in (association["SourceArn"], association["DestinationArn"]):
                raise invalid(f"{self.title} '{arn}' has associations; delete them first")
        context.records.delete(self.kind, arn)
        forget_tags(context, arn)
        return {f"{self.title}Arn": arn}

    def list(self, context: RequestContext, request: Document) -> Document:
        """Return a page of resources."""
        rows = [
            row
            for row in self.every(context).values()
            if request.get("SourceUri") in (None, row.get("Source", {}).get("SourceUri"))
            and request.get(f"{self.title}Type") in (None, row.get(f"{self.title}Type"))
            and request.get("NameContains", "") in row.get(f"{self.title}Name", "")
            and request.get("StatusEquals") in (None, row.get(f"{self.title}Status"))
            and within(
                request,
                row,
                Created="CreationTime",
                CreationTime="CreationTime",
                LastModifiedTime="LastModifiedTime",
            )
        ]
        sort_by = request.get("SortBy", "CreationTime")
        field = f"{self.title}{sort_by}" if sort_by in ("Name", "Status") else sort_by
        descending = request.get("SortOrder", "Descending") == "Descending"
        page = page_of(
            rows,
            request,
            key=lambda row: row.get(field, ""),
            name=lambda row: row[f"{self.title}Arn"],
            descending=descending,
        )
        return page.answer(self.summaries)

    def every(self, context: RequestContext) -> dict[str, Document]:
        """Return all resources of this kind by ARN."""
        own = context.all_records(self.kind, f"{self.title}Arn")
        return self.derived(context) | {record[f"{self.title}Arn"]: record for record in own}

    def _own(self, context: RequestContext, identifier: str) -> Document:
        arn = self._arn(context, identifier)
        record = context.records.get(self.kind, arn)
        if record is None and arn in self.derived(context):
            raise invalid(f"{self.title} '{arn}' is a job's own: it is there as long as its job")
        if record is None:
            raise self._not_found(arn)
        return record

    def _arn(self, context: RequestContext, identifier: str) -> str:
        return identifier if identifier.startswith("arn:") else context.arn(self.kind, identifier.lower())

    def _not_found(self, arn: str) -> ApiError:
        return ApiError("ResourceNotFound", f"{self.title} '{arn}' does not exist.")

    def _exists(self, arn: str) -> ApiError:
        return invalid(f"{self.title} names must be unique within an AWS account and region. {arn} already exists.")


@dataclass(frozen=True)
class HostingResource(Resource):
    """A resource of hosting, of which the service speaks in other words; a lost one is no ResourceNotFound."""

    words: str = ""
    of_people: bool = False

    def _not_found(self, arn: str) -> ApiError:
        return invalid(f'Could not find {self.words} "{arn}".')

    def _exists(self, arn: str) -> ApiError:
        return invalid(f'Cannot create already existing {self.words} "{arn}".')


@dataclass(frozen=True)
class JobResource(Resource):
    """A job that is no training or Processing job: its record is all that there is of it, and runs."""

    words: str = ""
    of_people: bool = False
    runs: Callable[[Running], RunningResources] = field(kw_only=True)

    def begin(self, context: RequestContext, request: Document, **fields: object) -> Document:
        """Keep a job and let it run."""
        now = {f"{self.title}Status": "InProgress", "LastModifiedTime": time.time()}
        created = self.create(context, request | now | fields)
        if context.running is not None:
            self.runs(context.running).start(created[f"{self.title}Arn"])
        return created

    def stop(self, context: RequestContext, request: Document) -> Document:
        """Let a job end; one that is stopping already is stopped once."""
        record = self.describe(context, request)
        status = record[f"{self.title}Status"]
        if status not in ("InProgress", "Stopping"):
            raise invalid(f"The request was rejected because the {self.words} is in status {status}.")
        if context.running is not None:
            self.runs(context.running).stop(record[f"{self.title}Arn"])
        return {}

    def _exists(self, arn: str) -> ApiError:
        return ApiError(
            "ResourceInUse", f"{self.words.capitalize()} names must be unique within an AWS account and region ({arn})"
        )


class _Models(HostingResource):
    def create(self, context: RequestContext, request: Document) -> Document:
        """Keep a model with the service's defaults."""
        if ("PrimaryContainer" in request) == ("Containers" in request):
            raise invalid("Exactly one of PrimaryContainer and Containers must be specified")
        model: Document = {"EnableNetworkIsolation": False} | request
        if "PrimaryContainer" in model:
            model["PrimaryContainer"] = {"Mode": "SingleModel"} | model["PrimaryContainer"]
        return super().create(context, model)


MODEL = _Models("model", "Model", "Models", "ModelName", words="model")

create_model, describe_model, list_models, delete_model = MODEL.create, MODEL.describe, MODEL.list, MODEL.delete
