"""The emulator's own errors, and SageMaker's as its JSON protocol has them.

Whoever starts the emulator tells an EmulatorError as a sentence; an ApiError is an answer of the API.
"""

from __future__ import annotations

MODELED = frozenset({"ConflictException", "ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"})
"""Errors that the service's model has; their text is in `Message`, that of the protocol's own errors in `message`."""


class EmulatorError(Exception):
    """The emulator could not do what was asked; the text is for its user."""


class ApiError(Exception):
    """What the caller gets instead of an answer."""

    def __init__(self, code: str, message: str, status: int = 400, **details: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details
        """Other fields that the error's shape has."""

    def document(self) -> dict[str, str]:
        """Return the body of the answer."""
        return {"__type": self.code, ("Message" if self.code in MODELED else "message"): self.message}


def invalid(message: str) -> ApiError:
    """Return the error for a request that breaks a rule."""
    return ApiError("ValidationException", message)


def not_found() -> ApiError:
    """Return what Describe and Stop say of a job that does not exist; ResourceNotFound is for other resources."""
    return ApiError("ValidationException", "Requested resource not found.")
