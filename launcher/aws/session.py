"""boto3 clients, and AWS's errors as sentences.

    with explained("submit the job"):
        client("sagemaker", "us-east-1").create_training_job(**request)

Endpoints and credentials are boto3's business: AWS_ENDPOINT_URL, profiles, roles and SSO work as everywhere else.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.exceptions import (
    ConnectionError as ConnectionFailedError,
)

from launcher.errors import LauncherError

Client = Any
Answer = Any
"""boto3 makes its clients, and their answers, at run time."""

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

DENIED_CODES = frozenset({"403", "AccessDenied", "AccessDeniedException"})

MISSING_CODES = ("404", "NoSuchBucket", "NoSuchEntity", "NoSuchKey", "NotFound", "NotFoundException")
"""Ends of the codes: ECR says RepositoryNotFoundException."""

PATIENCE = 60.0
"""Seconds to go on asking a busy AWS, beyond botocore's own attempts."""


class AwsError(LauncherError):
    """AWS refused or could not be reached."""


class ExpiredCredentialsError(AwsError):
    """The credentials have run out; what runs in AWS goes on."""


class DeniedError(AwsError):
    """The credentials are valid, and not enough."""


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


@functools.cache
def client(service: str, region: str | None) -> Client:
    """Return the one client for a service and region; botocore itself tries a throttled call AWS_MAX_ATTEMPTS times."""
    config = Config(
        retries={"mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        user_agent_extra="distilbert-trainer-launcher",
    )
    with explained(f"reach {service}"):
        made = boto3.client(service, region_name=region or default_region(), config=config, **_local_keys())
    if only_endpoint is not None and made.meta.endpoint_url != only_endpoint:
        raise AwsError(f"{service} would be asked at {made.meta.endpoint_url}, outside the local SageMaker")
    return made


def local_sagemaker(endpoint_url: str) -> str | None:
    """Return the page of the local SageMaker if that is what an endpoint is; its access keys begin with LOCAL."""
    if urlsplit(endpoint_url).hostname != "127.0.0.1":
        return None
    with explained("find credentials"):
        credentials = boto3.Session().get_credentials()
    token = "" if credentials is None else str(credentials.access_key)
    return f"{endpoint_url}/?token={token}" if token.upper().startswith("LOCAL") else None


def _local_keys() -> dict[str, str]:
    """Return the local SageMaker's access key: boto3 keeps the first credentials that a process finds."""
    if only_endpoint is None:
        return {}
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {name.lower(): os.environ[name] for name in names if name in os.environ}


def default_region() -> str | None:
    """Return the environment's region; None leaves it to boto3, which reads the profile but not AWS_REGION."""
    names = ("LAUNCHER_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def patiently(operation: Callable[..., Any], **arguments: object) -> Answer:
    """Call an operation, again and again for a minute while AWS is busy."""
    give_up = time.monotonic() + PATIENCE
    wait = 1.0
    while True:
        try:
            return operation(**arguments)
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error) or time.monotonic() + wait > give_up:
                raise
        time.sleep(wait)
        wait *= 2


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may work in a while: throttled, an outage, no connection."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in TRANSIENT_CODES or status >= 500
    return isinstance(error, ConnectionFailedError | HTTPClientError)


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
    """Turn botocore's exceptions into AwsError: what was being done, what AWS says, what to do."""
    try:
        yield
    except NoCredentialsError:
        raise AwsError(f"cannot {doing}: there are no AWS credentials; log in, or set AWS_PROFILE") from None
    except NoRegionError:
        raise AwsError(f"cannot {doing}: no region is set; add --region, or set AWS_REGION") from None
    except ClientError as error:
        raise _translated(error, doing) from None
    except BotoCoreError as error:
        raise AwsError(f"cannot {doing}: {error}") from None


def _translated(error: ClientError, doing: str) -> AwsError:
    code, message = _code(error), error.response.get("Error", {}).get("Message", "")
    if is_missing(error):
        return NotFoundError(f"cannot {doing}: AWS does not know it: {message}")
    if is_transient(error):
        return BusyError(f"cannot {doing}: AWS is busy ({code}) and stayed so; try again in a minute")
    if code in EXPIRED_CODES:
        return ExpiredCredentialsError(f"cannot {doing}: the AWS credentials have expired; log in again and repeat")
    if code in DENIED_CODES:
        return DeniedError(f"cannot {doing}: AWS denies it: {message}")
    advice = {
        "ResourceInUse": "; choose another with --job-name",
        "ResourceLimitExceeded": "; ask AWS for a higher quota, or choose another compute.instance_type",
    }
    return AwsError(f"cannot {doing}: {code}: {message}{advice.get(code, '')}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
