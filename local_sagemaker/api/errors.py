"""An answer that is an error, as SageMaker's JSON protocol has it.

raise ApiError("ResourceInUse", "Training job names must be unique ...")
"""

from __future__ import annotations

MODELED = frozenset({"ConflictException", "ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"})
"""Errors that the service's model has; their text is in `Message`, that of the protocol's own errors in `message`."""


class ApiError(Exception):
    """What the caller gets instead of an answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def document(self) -> dict[str, str]:
        """Return the body of the answer."""
        return {"__type": self.code, ("Message" if self.code in MODELED else "message"): self.message}


def invalid(message: str) -> ApiError:
    """Return the error for a request that breaks a rule."""
    return ApiError("ValidationException", message)


def not_found() -> ApiError:
    """Return what Describe and Stop say of a job that does not exist; ResourceNotFound is for other resources."""
    return ApiError("ValidationException", "Requested resource not found.")
