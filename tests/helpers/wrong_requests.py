"""Wrong requests to the local SageMaker's API, for tests: what a refusal says, and that it is one.

code, message = refused(server, "CreateTrainingJob", changed(TRAINING, {"RoleArn": None}))
assert (code, message) == (VALIDATION, missing("roleArn"))
"""

from __future__ import annotations

from typing import Any

from tests.helpers.local_server import ApiServer, call

Changes = dict[str, Any]

VALIDATION, SERIALIZATION = "ValidationException", "SerializationException"


def at(place: str, shown: str, constraint: str) -> str:
    """Return the message of a single broken constraint of the model."""
    value = f"Value {shown} at" if shown else "Value at"
    return f"1 validation error detected: {value} '{place}' failed to satisfy constraint: {constraint}"


def missing(place: str) -> str:
    return at(place, "null", "Member must not be null")


def refused(server: ApiServer, operation: str, request: object) -> tuple[str, str]:
    status, answer = call(server, operation, request)
    assert 400 <= status < 500
    return answer["__type"], answer.get("message") or answer["Message"]
