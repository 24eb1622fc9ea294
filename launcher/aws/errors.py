"""What goes wrong between this process and AWS, as sentences: one place (`to_aws_error`) for every command.

with translating_aws_errors("submit the job"):
session.client("sagemaker").create_training_job(**request)
"""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as ConnectionFailedError,
)

from launcher.errors import AwsError, LauncherError, os_error_text

Answer = Any
"""A part of what AWS says, of the type that botocore's model has for it."""

TRANSIENT_CODES = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})

UNKNOWN_CALLER_CODES = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""AWS does not know who asks: a wrong key, a clock that is off, a session that has been ended."""

DENIED_CODES = frozenset({"403", "AccessDenied", "AccessDeniedException"})

MISSING_CODES = ("404", "NoSuchBucket", "NoSuchEntity", "NoSuchKey", "NotFound", "NotFoundException")
"""Ends of the codes: ECR says RepositoryNotFoundException."""

RETRY_SECONDS = 60.0
"""Seconds to retry while AWS is busy, beyond botocore's own attempts."""

FIRST_BACKOFF_SECONDS = 1.0
"""Seconds before the first repetition of that kind; twice as many before each further one."""

_LONGEST = 300
"""Characters of what a library has to say."""

_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class AnswerError(AwsError):
    """What came is no answer of AWS's: a proxy's page, a cut stream, another service."""


class CredentialsError(AwsError):
    """There are no credentials, or AWS does not take them (any more); what runs in AWS continues."""


class DeniedError(AwsError):
    """The credentials are valid, and not enough."""


class RefusedError(AwsError):
    """AWS has read the request, and does not take it."""


class BusyError(AwsError):
    """AWS is throttling or has an outage; the same may work in a while."""


class NotFoundError(AwsError):
    """AWS does not know what was asked for."""


def call_with_retries(operation: Callable[..., Any], **arguments: object) -> Answer:
    """Call an operation; retry for a minute, with exponential backoff, while AWS is busy."""
    give_up = time.monotonic() + RETRY_SECONDS
    wait = FIRST_BACKOFF_SECONDS
    while True:
        try:
            return operation(**arguments)
        except (ClientError, BotoCoreError) as error:
            if not is_busy(error) or time.monotonic() + wait > give_up:
                raise
        time.sleep(wait)
        wait *= 2


def is_busy(error: Exception) -> bool:
    """Tell whether AWS answers that it is throttling, or has an outage."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return _code(error) in TRANSIENT_CODES or status >= 500


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may work in a while: AWS is busy, or the way to it is cut."""
    is_cut = isinstance(
        error, ConnectionFailedError | ConnectionClosedError | ReadTimeoutError | ResponseStreamingError
    )
    return is_busy(error) or (is_cut and not isinstance(error, SSLError)) or isinstance(error, AnswerError)


def is_missing(error: Exception) -> bool:
    """Tell whether AWS says that the thing asked for does not exist."""
    if not isinstance(error, ClientError):
        return False
    message = error.response.get("Error", {}).get("Message", "").lower()
    return _code(error).endswith(MISSING_CODES) or (
        _code(error) == "ValidationException" and ("not found" in message or "could not find" in message)
    )


@contextmanager
def translating_aws_errors(doing: str) -> Iterator[None]:
    """Turn what boto3 and the system raise into AwsError: what was being done, what went wrong, what to do."""
    try:
        yield
    except LauncherError:
        raise
    except Exception as error:
        known = to_aws_error(error, doing)
        if known is None:
            raise
        raise known from None


def to_aws_error(error: Exception, doing: str) -> AwsError | None:
    """Return an exception of boto3, or of the system below it, as an AwsError; None for a defect of our own."""
    kind, why = AwsError, ""
    if isinstance(error, ClientError):
        return _of_an_answer(error, f"cannot {doing}:")
    if isinstance(error, NoCredentialsError):
        kind, why = CredentialsError, f"there are no AWS credentials; log in, or set AWS_PROFILE{_settings()}"
    elif isinstance(error, NoRegionError):
        why = "no region is set; add --region, or set AWS_REGION"
    elif raised_in(error, "botocore.credentials", "botocore.tokens"):
        kind, why = CredentialsError, f"the credentials cannot be loaded: {error_text(error)}{_settings()}"
    elif isinstance(error, OSError):
        why = os_error_text(error)
    elif isinstance(error, BotoCoreError) or raised_in(error, "boto3", "botocore", "s3transfer", "urllib3"):
        why = error_text(error) + _settings()
    return kind(f"cannot {doing}: {why}") if why else None


def _of_an_answer(error: ClientError, cannot: str) -> AwsError:
    code, message = _code(error), error.response.get("Error", {}).get("Message", "")
    at = _at(getattr(error, "endpoint", ""))
    if is_missing(error):
        return NotFoundError(f"{cannot} AWS does not know it: {message}{at}")
    if is_busy(error):
        return BusyError(f"{cannot} AWS is busy ({code}){at} and stayed so; try again in a minute")
    if code in EXPIRED_CODES:
        return CredentialsError(f"{cannot} the AWS credentials have expired; log in again")
    if code in UNKNOWN_CALLER_CODES:
        return CredentialsError(
            f"{cannot} AWS does not take the credentials ({code}): {message}{at}; log in again, check the clock"
        )
    if code in DENIED_CODES:
        return DeniedError(f"{cannot} AWS denies it: {message}{at}")
    advice = {
        "ResourceInUse": "; choose another with --job-name",
        "ResourceLimitExceeded": "; ask AWS for a higher quota, or choose another compute.instance_type",
    }
    return RefusedError(f"{cannot} {code}: {message}{advice.get(code, '')}{at}")


def raised_in(error: Exception, *modules: str) -> bool:
    """Tell whether an exception has come through one of these modules or packages."""
    names = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    return any(name == module or name.startswith(f"{module}.") for name in names for module in modules)


def error_text(error: Exception) -> str:
    """Return an exception's text; an exception that has none is told by its class."""
    text = os_error_text(error) if isinstance(error, OSError) else str(error).rstrip(". ")
    first = redact_userinfo(text).partition("\n")[0]  # a parser shows the whole page below
    return (first if len(first) <= _LONGEST else first[:_LONGEST] + "...") or type(error).__name__


def redact_userinfo(text: str) -> str:
    """Return a text that may have addresses in it without their user names and passwords."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _settings() -> str:
    """Return the environment's settings of AWS, which may be what is wrong; nothing that could be secret."""
    given = [
        f"{name}={redact_userinfo(value)}"
        for name, value in sorted(os.environ.items())
        if (name.startswith("AWS_") and not any(word in name for word in _SECRETS))
        or name == "AWS_WEB_IDENTITY_TOKEN_FILE"
    ]
    return f" (set are {', '.join(given)})" if given else ""


def _at(endpoint: str) -> str:
    """Return an endpoint that is not AWS's own, to be named: it may be the wrong one."""
    host = urlsplit(endpoint).hostname or ""
    is_own = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
    return "" if is_own or not host else f" (at {redact_userinfo(endpoint)})"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
