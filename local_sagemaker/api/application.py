"""The training API as a WSGI application: what it does not answer goes to the application behind it, moto.

    application = api_application(jobs, moto, objects, state_folder)

Moto's own training, Processing, tuning and transform jobs are Completed at birth, and its endpoints serve nothing: none
of moto's SageMaker is let through. What is not answered here is said not to be here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore import xform_name

from launcher.request.shapes import service_model
from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.constraints import only_known_fields, refuse_wrong_fields
from local_sagemaker.api.handlers import (
    components,
    data_planes,
    experiments,
    lineage,
    processing_jobs,
    resources,
    search,
    tags,
    training_jobs,
)
from local_sagemaker.api.records import Records
from local_sagemaker.api.wire import is_sagemaker, operation_of, read_call, write
from local_sagemaker.dashboard.application import Page
from local_sagemaker.errors import ApiError
from local_sagemaker.files import StateFiles, StorageError
from local_sagemaker.jobs import Jobs
from local_sagemaker.services import log_queries, metric_queries
from local_sagemaker.services.aws import with_operations
from local_sagemaker.services.objects import Objects

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_MODULES = (training_jobs, processing_jobs, experiments, components, lineage, resources, search, tags)

_OTHER_SERVICES = {
    "cloudwatch": metric_queries,
    "logs": log_queries,
    "sagemaker-metrics": data_planes,
    "sagemaker-runtime": data_planes,
}
"""botocore's name of a service -> where its operations are that moto does not answer as AWS does, or has not."""


def api_application(
    jobs: Jobs, behind: WSGIApplication, objects: Objects, folder: Path, files: StateFiles | None = None
) -> WSGIApplication:
    """Return the API of `jobs` in front of `behind`; what it keeps itself is below `folder`/api."""
    records = Records(folder / "api" / "records.json", files)
    others = with_operations(behind, _OTHER_SERVICES, lambda region: Account(jobs, records, objects, region))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not is_sagemaker(environ):
            return others(environ, start_response)
        try:
            call = read_call(environ)
            account = Account(jobs, records, objects, call.region)
            return write(start_response, 200, answer(account, call.operation, call.request))
        except ApiError as error:
            return write(start_response, error.status, error.document())
        except StorageError as error:
            return write(start_response, 400, ApiError("ResourceLimitExceeded", str(error)).document())
        except Exception:  # noqa: BLE001 - a defect of one operation is an answer, and the server goes on
            _log.exception("%s went wrong", operation_of(environ))
            text = f"The local SageMaker has a defect in {operation_of(environ)}; its log has the traceback"
            return write(start_response, 500, ApiError("InternalFailure", text, 500).document())

    return Page(jobs, objects, application)


def answer(account: Account, operation: str, request: Document) -> Document:
    """Return an operation's answer to a request; raise ApiError."""
    perform = operation_named(operation)
    refuse_wrong_fields(operation, request)
    model = service_model().operation_model(operation)
    answered = perform(account, only_known_fields(model.input_shape, request))
    known: Document = only_known_fields(model.output_shape, answered) if model.output_shape else {}
    return known


def operation_named(operation: str) -> Callable[[Account, Document], Document]:
    """Return the function of an operation; raise ApiError if there is none here."""
    if operation not in service_model().operation_names:
        raise ApiError("UnknownOperationException", f"SageMaker has no operation {operation!r}")
    name = xform_name(operation)
    for module in _MODULES:
        perform: Callable[[Account, Document], Document] | None = getattr(module, name, None)
        if perform is not None:
            return perform
    raise ApiError(
        "UnknownOperationException",
        f"{operation} is not available: "
        "the local SageMaker has training and Processing jobs, experiments, lineage, models",
    )
