"""boto3 clients, and what goes wrong between this process and AWS as sentences.

    with explained("submit the job"):
        client("sagemaker", "us-east-1").create_training_job(**request)

Endpoints and credentials are boto3's business: AWS_ENDPOINT_URL, profiles, roles and SSO work as everywhere else.
What may go wrong is mapped to sentences here, in one place (`as_sentence`), for every command.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import boto3.session
from boto3.exceptions import Boto3Error
from botocore.config import Config
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

from launcher.aws.answers import (
    Answer,
    AnswerError,
    AwsError,
    hold_against_the_model,
    passes,
    refuse_pages,
    said,
    without_password,
)
from launcher.errors import LauncherError, of_the_system

__all__ = ["Answer", "AnswerError", "AwsError"]

Client = Any
"""boto3 makes its clients at run time."""

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

PATIENCE = 60.0
"""Seconds to go on asking a busy AWS, beyond botocore's own attempts."""

FIRST_WAIT = 1.0
"""Seconds before the first repetition of that kind; twice as many before each further one."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0

_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class CredentialsError(AwsError):
    """There are no credentials, or AWS does not take them (any more); what runs in AWS goes on."""


class DeniedError(AwsError):
    """The credentials are valid, and not enough."""


class RefusedError(AwsError):
    """AWS has read the request, and does not take it."""


class BusyError(AwsError):
    """AWS is throttling or has an outage; the same may work in a while."""


class NotFoundError(AwsError):
    """AWS does not know what was asked for."""


only_endpoint: str | None = None
"""If set, the only address that a client may have: what is meant for the local SageMaker never reaches AWS."""


def own_command(command: str) -> str:
    """Return a command of the launcher's as the next one to type: it goes to the SageMaker that this process uses."""
    name, *rest = command.split()
    return " ".join(["launcher", name, *(["--local"] if only_endpoint else []), *rest])


def aws_command(command: str) -> str:
    """Return a command of the AWS CLI's, likewise."""
    return f"aws {command}{f' --endpoint-url {only_endpoint}' if only_endpoint else ''}"


def client(service: str, region: str | None, *, seconds: float | None = None) -> Client:
    """Return a client for a service and region; botocore itself tries a throttled call AWS_MAX_ATTEMPTS times.

    It is kept for as long as environment and configuration files stay as they are: a notebook's kernel may set
    AWS_PROFILE after the first call. With `seconds` an answer that takes longer is given up after one attempt.
    """
    limits = (CONNECT_SECONDS, READ_SECONDS, None) if seconds is None else (seconds, seconds, 1)
    with explained(f"reach {service}"):
        return _kept_client(service, region or default_region(), limits, only_endpoint, _surroundings())


def local_sagemaker(endpoint_url: str) -> str | None:
    """Return the page of the local SageMaker if that is what an endpoint is; its access keys begin with LOCAL."""
    if urlsplit(endpoint_url).hostname != "127.0.0.1":
        return None
    with explained("find credentials"):
        credentials = _kept_session(_surroundings()).get_credentials()
    token = "" if credentials is None else str(credentials.access_key)
    return f"{endpoint_url}/?token={token}" if token.upper().startswith("LOCAL") else None


def default_region() -> str | None:
    """Return the environment's region; None leaves it to boto3, which reads the profile but not AWS_REGION."""
    names = ("LAUNCHER_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def region_of_profile() -> str | None:
    """Return the region that boto3 takes from the environment or the profile; raise AwsError for a wrong profile."""
    with explained("read the profile"):
        region: str | None = _kept_session(_surroundings()).region_name
    return region


def patiently(operation: Callable[..., Any], **arguments: object) -> Answer:
    """Call an operation, again and again for a minute while AWS is busy."""
    give_up = time.monotonic() + PATIENCE
    wait = FIRST_WAIT
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
def explained(doing: str) -> Iterator[None]:
    """Turn what boto3 and the system raise into AwsError: what was being done, what went wrong, what to do."""
    try:
        yield
    except LauncherError:
        raise
    except Exception as error:
        known = as_sentence(error, doing)
        if known is None:
            raise
        raise known from None


def as_sentence(error: Exception, doing: str) -> AwsError | None:
    """Return an exception of boto3, or of the system below it, as an AwsError; None for a defect of our own."""
    kind, why = AwsError, ""
    if isinstance(error, ClientError):
        return _of_an_answer(error, f"cannot {doing}:")
    if isinstance(error, NoCredentialsError):
        kind, why = CredentialsError, f"there are no AWS credentials; log in, or set AWS_PROFILE{_settings()}"
    elif isinstance(error, NoRegionError):
        why = "no region is set; add --region, or set AWS_REGION"
    elif passes(error, "botocore.credentials", "botocore.tokens"):
        kind, why = CredentialsError, f"the credentials cannot be loaded: {said(error)}{_settings()}"
    elif isinstance(error, OSError):
        why = of_the_system(error)
    elif isinstance(error, BotoCoreError | Boto3Error) or passes(error, "boto3", "botocore", "s3transfer", "urllib3"):
        why = said(error) + _settings()
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


@functools.lru_cache(maxsize=64)
def _kept_client(
    service: str,
    region: str | None,
    limits: tuple[float, float, int | None],
    endpoint: str | None,
    surroundings: tuple[object, ...],
) -> Client:
    connect, read, attempts = limits
    config = Config(
        retries={"mode": "standard", **({"total_max_attempts": attempts} if attempts else {})},
        connect_timeout=connect,
        read_timeout=read,
        user_agent_extra="distilbert-trainer-launcher",
    )
    made = _kept_session(surroundings).client(service, region_name=region, config=config)
    if endpoint is not None and made.meta.endpoint_url != endpoint:
        raise AwsError(f"{service} would be asked at {made.meta.endpoint_url}, outside the local SageMaker")
    return made


@functools.lru_cache(maxsize=8)
def _kept_session(_surroundings: tuple[object, ...]) -> boto3.session.Session:
    session = boto3.session.Session()
    session.events.register("creating-client-class", hold_against_the_model)
    session.events.register("after-call", refuse_pages)
    return session


def _surroundings() -> tuple[object, ...]:
    """Return what decides where a client's requests go and who signs them."""
    names = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_") or name in names)
    files = (
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    return (*variables, *(_changed(Path(os.path.expanduser(file))) for file in files))  # noqa: PTH111 - no home is no error


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def _settings() -> str:
    """Return the environment's settings of AWS, which may be what is wrong; nothing that could be secret."""
    given = [
        f"{name}={without_password(value)}"
        for name, value in sorted(os.environ.items())
        if (name.startswith("AWS_") and not any(word in name for word in _SECRETS))
        or name == "AWS_WEB_IDENTITY_TOKEN_FILE"
    ]
    return f" (set are {', '.join(given)})" if given else ""


def _at(endpoint: str) -> str:
    """Return an endpoint that is not AWS's own, to be named: it may be the wrong one."""
    host = urlsplit(endpoint).hostname or ""
    is_own = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
    return "" if is_own or not host else f" (at {without_password(endpoint)})"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
