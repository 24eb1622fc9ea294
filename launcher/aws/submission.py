"""Create a job, and never lose sight of it: as patient as with any other call, and sure of what has become of it.

    arn = create("training", request, session)

Names are unique, so a repetition makes no second job. Where the answer is lost, SageMaker is asked for the job by its
name; if that fails as well, the error says that the job may run, and how to find out before it is submitted again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from botocore.exceptions import ConnectionError as ConnectionFailedError

from launcher.aws.errors import (
    AnswerError,
    RefusedError,
    call_with_retries,
    is_missing,
    to_aws_error,
    translating_aws_errors,
)
from launcher.aws.session import Client, Session
from launcher.errors import AwsError, LauncherError

Kind = Literal["training", "processing"]

_NEW = dt.timedelta(minutes=15)
"""A job of the same name that is older than this is another one."""


class FateUnknownError(AwsError):
    """A job was sent to SageMaker, and whether it is there could not be found out."""


def create(kind: Kind, request: dict[str, Any], session: Session) -> str:
    """Create a job and return its ARN; raise AwsError if it is not there, FateUnknownError if it may be."""
    title = kind.title()
    name = request[f"{title}JobName"]
    sagemaker = session.client("sagemaker")
    doing = f"submit {name}"
    with translating_aws_errors(doing), _watching(sagemaker, f"Create{title}Job") as attempts:
        try:
            return str(call_with_retries(getattr(sagemaker, f"create_{kind}_job"), **request)[f"{title}JobArn"])
        except (AnswerError, BotoCoreError, ClientError) as error:
            if not (isinstance(error, AnswerError) or any(attempts)):
                raise
            failure = error
    arn = _look_for(kind, name, session, failure, doing)
    if arn is None:
        raise as_refusal(failure, doing)
    return arn


@contextmanager
def _watching(sagemaker: Client, operation: str) -> Iterator[list[bool]]:
    """Yield a list that gets an entry an attempt: whether it may have been carried out, whatever came back."""
    attempts: list[bool] = []

    def note(response: Any, caught_exception: Exception | None, **_: object) -> None:  # noqa: ANN401 - botocore's
        was_lost = caught_exception is not None and not isinstance(caught_exception, ConnectionFailedError)
        attempts.append(was_lost or (response is not None and response[0].status_code >= 500))

    event = f"needs-retry.sagemaker.{operation}"
    sagemaker.meta.events.register_first(event, note)
    try:
        yield attempts
    finally:
        sagemaker.meta.events.unregister(event, note)


def as_refusal(failure: Exception, doing: str) -> LauncherError:
    """Return a failure of creating as the error to raise."""
    if isinstance(failure, LauncherError):
        return failure
    return to_aws_error(failure, doing) or RefusedError(f"cannot {doing}: {failure}")


def reattach_command(kind: Kind, name: str, session: Session) -> str:
    """Return the command that shows a job; the launcher has none for Processing jobs."""
    if kind == "training":
        return session.cli_hint(f"attach {name}")
    return session.aws_cli_hint(
        f"sagemaker describe-processing-job --processing-job-name {name} --region {session.region}"
    )


def _look_for(kind: Kind, name: str, session: Session, failure: Exception, doing: str) -> str | None:
    """Return the ARN of a job whose creation was not answered; None if it is not there, or is an older one's."""
    title = kind.title()
    try:
        with translating_aws_errors(f"look for {name}"):
            try:
                found = call_with_retries(
                    getattr(session.client("sagemaker"), f"describe_{kind}_job"), **{f"{title}JobName": name}
                )
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
            is_ours = dt.datetime.now(dt.UTC) - found["CreationTime"] < _NEW
            return str(found[f"{title}JobArn"]) if is_ours else None
    except LauncherError:
        raise FateUnknownError(
            f"{as_refusal(failure, doing)}; it may run all the same: before you submit it again, look with "
            f"{reattach_command(kind, name, session)}"
        ) from None
