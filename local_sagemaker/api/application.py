"""The training API as a WSGI application: what it does not answer goes to the application behind it, moto.

    application = api_application(moto, job_service, objects, engine, access, entities, account=account)

Moto's own training, Processing, tuning and transform jobs are Completed at birth, and its endpoints serve nothing: none
of moto's SageMaker is let through. What is not answered here is said not to be here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from botocore import xform_name

from launcher.request.shapes import service_model
from local_sagemaker.api.dispatcher import with_operations
from local_sagemaker.api.handlers import (
    cloudwatch_logs,
    cloudwatch_metrics,
    components,
    data_planes,
    experiments,
    hosting,
    iam,
    jobs,
    lineage,
    resources,
    search,
    service_quotas,
    tags,
    tuning,
)
from local_sagemaker.api.handlers.ecr import EcrImages, image_downloads
from local_sagemaker.api.protocol import is_sagemaker, operation_of, read_call, write
from local_sagemaker.api.request_context import Document, RequestContext, Running
from local_sagemaker.api.validators.shapes import only_known_fields, refuse_wrong_fields
from local_sagemaker.auth import Access
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.errors import ApiError
from local_sagemaker.job_service import JobService
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state import AccountAge
from local_sagemaker.state_files import StorageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_MODULES = (jobs, experiments, components, lineage, resources, hosting, tuning, search, tags)

_OTHER_SERVICES = {
    "cloudwatch": cloudwatch_metrics,
    "iam": iam,
    "logs": cloudwatch_logs,
    "sagemaker-metrics": data_planes,
    "sagemaker-runtime": hosting,
    "service-quotas": service_quotas,
}
"""botocore's name of a service -> where its operations are that moto does not answer as AWS does, or has not."""


def api_application(  # noqa: PLR0913 - a server's parts
    behind: WSGIApplication,
    job_service: JobService,
    objects: ObjectStore,
    engine: Engine,
    access: Access,
    entities: EntityStore,
    *,
    account: AccountAge = "old",
    running: Running | None = None,
) -> WSGIApplication:
    """Return the API of jobs, and of what a job needs of other services, in front of `behind`."""

    def context_of(region: str) -> RequestContext:
        return RequestContext(job_service, entities, objects, region, account, running)

    services = {**_OTHER_SERVICES, "ecr": EcrImages(engine)}
    others = with_operations(image_downloads(behind, engine, access), services, context_of)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not is_sagemaker(environ):
            return others(environ, start_response)
        try:
            call = read_call(environ)
            return write(start_response, 200, answer(context_of(call.region), call.operation, call.request))
        except ApiError as error:
            return write(start_response, error.status, error.document())
        except StorageError as error:
            return write(start_response, 400, ApiError("ResourceLimitExceeded", str(error)).document())
        except Exception:  # noqa: BLE001 - a defect of one operation is an answer, and the server goes on
            _log.exception("%s went wrong", operation_of(environ))
            text = f"The local SageMaker has a defect in {operation_of(environ)}; its log has the traceback"
            return write(start_response, 500, ApiError("InternalFailure", text, 500).document())

    return application


def answer(context: RequestContext, operation: str, request: Document) -> Document:
    """Return an operation's answer to a request; raise ApiError."""
    perform = operation_named(operation)
    refuse_wrong_fields(operation, request)
    model = service_model().operation_model(operation)
    answered = perform(context, only_known_fields(model.input_shape, request))
    known: Document = only_known_fields(model.output_shape, answered) if model.output_shape else {}
    return known


def operation_named(operation: str) -> Callable[[RequestContext, Document], Document]:
    """Return the function of an operation; raise ApiError if there is none here."""
    if operation not in service_model().operation_names:
        raise ApiError("UnknownOperationException", f"SageMaker has no operation {operation!r}")
    name = xform_name(operation)
    for module in _MODULES:
        perform: Callable[[RequestContext, Document], Document] | None = getattr(module, name, None)
        if perform is not None:
            return perform
    raise ApiError(
        "UnknownOperationException",
        f"{operation} is not available: "
        "the local SageMaker has training, Processing, tuning, transform jobs, experiments, lineage, models, endpoints",
    )
