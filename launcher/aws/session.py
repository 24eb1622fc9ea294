"""The AWS, or the emulator of it, that a job runs in: clients, records, and the commands that lead back to it.

    session = Session()                     # AWS, as boto3 is set up: AWS_ENDPOINT_URL, profiles, roles and SSO work
    session = Session(endpoint_url="http://127.0.0.1:4000", access_key=token, records_dir=folder, region="us-east-1")
    session.client("sagemaker").list_training_jobs()

Every function that asks AWS is handed one. Sessions share nothing, so several may be used at once, by any thread.
"""

from __future__ import annotations

import copy
import functools
import http.client
import os
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from botocore.config import Config

from launcher.aws.answers import reject_html, validate_responses
from launcher.aws.errors import translating_aws_errors
from launcher.errors import AwsError
from launcher.records import Records

if TYPE_CHECKING:
    import boto3.session

Client = Any
"""boto3 makes its clients at run time."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0


class Session:
    """Where requests go, who signs them, and what this machine remembers of the jobs there."""

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        region: str | None = None,
        records_dir: Path | None = None,
    ) -> None:
        """Use AWS as boto3 is set up, or one endpoint for every service.

        With `endpoint_url`, no profile, credential or endpoint of the environment is read, and no request leaves it.
        `region` is by default the environment's or the profile's; `records_dir` is by default the user's.
        """
        self.endpoint_url = endpoint_url
        self.records = Records(records_dir)
        self._access_key = access_key
        self._region = region
        self._lock = threading.RLock()
        self._clients: dict[tuple[object, ...], Client] = {}
        self._boto3_sessions: dict[tuple[object, ...], boto3.session.Session] = {}

    def __repr__(self) -> str:
        return f"Session(endpoint_url={self.endpoint_url!r}, region={self.region!r})"

    @property
    def is_local(self) -> bool:
        """Whether this is not AWS, but the local SageMaker."""
        return self.endpoint_url is not None

    @property
    def region(self) -> str | None:
        """The region of clients; None leaves it to boto3, which reads the profile but not AWS_REGION."""
        return self._region or region_of_environment()

    def for_region(self, region: str | None) -> Self:
        """Return the same session for another region; without one, this session."""
        if region in (None, self._region):
            return self
        other = copy.copy(self)
        other._region = region  # noqa: SLF001 - its own class's
        return other

    def client(self, service: str, *, seconds: float | None = None) -> Client:
        """Return a client for a service; botocore itself tries a throttled call AWS_MAX_ATTEMPTS times.

        It is kept for as long as environment and configuration files stay as they are: a notebook's kernel may set
        AWS_PROFILE after the first call. With `seconds` an answer that takes longer is given up after one attempt.
        """
        limits = (CONNECT_SECONDS, READ_SECONDS, None) if seconds is None else (seconds, seconds, 1)
        region, surroundings = self.region, self._surroundings()
        key = (service, region, limits, surroundings)
        with translating_aws_errors(f"reach {service}"), self._lock:
            if key not in self._clients:
                boto3_session = self._boto3_session(surroundings)
                self._clients[key] = boto3_session.client(
                    service, region_name=region, endpoint_url=self.endpoint_url, config=self._config(*limits)
                )
            return self._clients[key]

    def dashboard_url(self) -> str | None:
        """Return the local SageMaker's page; None if the endpoint is another. Its access keys begin with LOCAL."""
        endpoint_url = self.client("sagemaker").meta.endpoint_url
        if urlsplit(endpoint_url).hostname != "127.0.0.1":
            return None
        with translating_aws_errors("find credentials"), self._lock:
            credentials = self._boto3_session(self._surroundings()).get_credentials()
        token = "" if credentials is None else str(credentials.access_key)
        return f"{endpoint_url}/?token={token}" if token.upper().startswith("LOCAL") else None

    def credentials(self) -> Any:  # noqa: ANN401 - botocore's
        """Return what requests are signed with; raise AwsError if there are none."""
        with translating_aws_errors("find credentials"), self._lock:
            found = self._boto3_session(self._surroundings()).get_credentials()
        if found is None:
            raise AwsError("there are no AWS credentials to sign requests with; `aws configure` sets them up")
        return found

    def open_url(self, url: str | urllib.request.Request) -> http.client.HTTPResponse:
        """Open a link that AWS has given out, or send a request that botocore has no client for."""
        handlers = [urllib.request.ProxyHandler({})] if self.is_local else []
        response: http.client.HTTPResponse = urllib.request.build_opener(*handlers).open(url, timeout=READ_SECONDS)
        return response

    def cli_hint(self, command: str) -> str:
        """Return a command of the launcher as the next one to type; it goes to the same SageMaker."""
        name, *rest = command.split()
        return " ".join(["launcher", name, *(["--local"] if self.is_local else []), *rest])

    def aws_cli_hint(self, command: str) -> str:
        """Return a command of the AWS CLI, likewise."""
        return f"aws {command}{f' --endpoint-url {self.endpoint_url}' if self.is_local else ''}"

    def _config(self, connect: float, read: float, attempts: int | None) -> Config:
        # With an endpoint of its own, a session takes neither proxies nor endpoint variants from the environment.
        fixed = {"proxies": {}, "use_fips_endpoint": False, "use_dualstack_endpoint": False} if self.is_local else {}
        return Config(
            retries={"mode": "standard", **({"total_max_attempts": attempts} if attempts else {})},
            connect_timeout=connect,
            read_timeout=read,
            user_agent_extra="distilbert-trainer-launcher",
            **fixed,
        )

    def _boto3_session(self, surroundings: tuple[object, ...]) -> boto3.session.Session:
        # Half a second that --help and --dry-run do without.
        import boto3.session  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415

        if surroundings not in self._boto3_sessions:
            if self.is_local:
                inner = botocore.session.Session(session_vars=_NO_PROFILES)
                key = self._access_key or "none"
                session = boto3.session.Session(key, key, botocore_session=inner, region_name=self._region)
                session.events.register("before-send", self._refuse_other_addresses)
            else:
                session = boto3.session.Session()
            session.events.register("creating-client-class", validate_responses)
            session.events.register("after-call", reject_html)
            self._boto3_sessions[surroundings] = session
        return self._boto3_sessions[surroundings]

    def _refuse_other_addresses(self, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        """Raise AwsError for a request that would leave the endpoint, whatever has led it there."""
        assert self.endpoint_url is not None
        if urlsplit(request.url)[:2] != urlsplit(self.endpoint_url)[:2]:
            raise AwsError(f"a request would go to {request.url}, outside the local SageMaker at {self.endpoint_url}")

    def _surroundings(self) -> tuple[object, ...]:
        """Return what decides where a client's requests go and who signs them."""
        if self.is_local:
            return ()
        names = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
        variables = sorted((name, os.environ[name]) for name in os.environ if name.startswith("AWS_") or name in names)
        files = (
            os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
            os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        )
        return (*variables, *(_changed(Path(os.path.expanduser(file))) for file in files))  # noqa: PTH111 - no home is no error


_NO_PROFILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "ca_bundle": (None, None, None, None),
}
"""Settings of botocore that are read from nowhere, and their values."""


@functools.cache
def aws() -> Session:
    """Return the session of AWS, as boto3 is set up."""
    return Session()


def region_of_environment() -> str | None:
    """Return the region that the environment names, if it does."""
    names = ("LAUNCHER_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0
