"""Answers held against botocore's model: what a proxy, a cut stream or another service sends is one AnswerError.

    session.events.register("creating-client-class", validate_responses)
    session.events.register("after-call", reject_html)

botocore takes an answer to be AWS's: HTML is read as an empty answer, a text where a list is due breaks its parsers, a
number where a text is due arrives as it is. Here, where every call of every client passes, that ends; whoever reads an
answer may take what is there to be of the model's type, and a field that is not there says so when it is read.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from types import UnionType
from typing import Any

from botocore.exceptions import ClientError

from launcher.aws.errors import Answer, AnswerError, error_text, raised_in, redact_userinfo
from launcher.errors import LauncherError

_SCALARS: dict[str, type | UnionType] = {
    "string": str,
    "integer": int | float,
    "long": int | float,
    "float": int | float,
    "double": int | float,
    "boolean": bool,
    "timestamp": dt.datetime,
}

_POLICY = "policyDocumentType"
"""IAM's policies are texts in the model; botocore makes them JSON."""


def validate_responses(base_classes: list[type], **_: object) -> None:
    """Let every call of a client that botocore is making pass through the check."""
    base_classes.insert(0, _ValidatedClient)


def reject_html(http_response: Any, model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
    """Raise AnswerError for HTML, and for what is no JSON where JSON is due: botocore reads both as empty answers."""
    if http_response.status_code >= 300 or model.has_streaming_output or not model.output_shape:
        return
    body = http_response.content.strip()
    place = f"{model.name} at {redact_userinfo(http_response.url.partition('?')[0])}"
    if re.match(rb"(?i)<(?:!doctype )?html", body):
        raise _not_aws(place, "it is a page of HTML")
    if model.service_model.resolved_protocol == "json":
        try:
            is_object = isinstance(json.loads(body), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise _not_aws(place, "it is no JSON object")


class _ValidatedClient:
    """Mixed into every client: each call passes here, and what comes back is AWS's, or an exception."""

    meta: Any

    def _make_api_call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        place = f"{operation} at {redact_userinfo(self.meta.endpoint_url)}"
        try:
            answer = super()._make_api_call(operation, arguments)  # type: ignore[misc]  # the client's, beside this class
        except ClientError as error:
            error.endpoint = self.meta.endpoint_url
            raise
        except Exception as error:
            if isinstance(error, LauncherError) or not raised_in(error, "botocore.parsers"):
                raise
            raise _not_aws(place, error_text(error)) from None
        shape = self.meta.service_model.operation_model(operation).output_shape
        return _validated(shape, answer, place) if shape else answer


class _Structure(dict[str, Any]):
    """A structure of an answer; a field that is read and not there is named."""

    def __init__(self, fields: dict[str, Any], place: str) -> None:
        super().__init__(fields)
        self._place = place

    def __missing__(self, name: str) -> Answer:
        raise _not_aws(self._place, f"it has no {name}")


def _validated(shape: Any, value: Answer, place: str) -> Answer:  # noqa: ANN401 - botocore's
    """Return an answer whose scalars are of the model's types, and whose structures say what they lack."""
    kind = shape.type_name
    expected: Any = {"structure": dict, "list": list, "map": dict}.get(kind, _SCALARS.get(kind))
    if getattr(shape, "is_document_type", False) or expected is None or shape.name == _POLICY:
        return value
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        raise _not_aws(place, f"its {shape.name} is {value!r:.60}")
    if kind == "structure":
        members = shape.members
        return _Structure({n: _validated(members[n], v, place) if n in members else v for n, v in value.items()}, place)
    if kind == "list":
        return [_validated(shape.member, inner, place) for inner in value]
    if kind == "map":
        return {name: _validated(shape.value, inner, place) for name, inner in value.items()}
    return value


def _not_aws(place: str, why: str) -> AnswerError:
    return AnswerError(f"the answer to {place} is not AWS's: {why}; check the endpoint, and proxies on the way")
