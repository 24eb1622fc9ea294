"""The Docker engine: images, networks, containers, and what of them is ours.

    engine = Engine(state.identity)
    image = engine.image("distilbert-trainer:local", cancelled=threading.Event())
    container = engine.create(ContainerRequest(...)); container.start()
    engine.remove_job("training", "star-rating-1")

Everything carries the label `distilbert-trainer=local`, by which scripts/clean.sh finds it, and the state folder's
identity, by which a server finds its own.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, TypeVar

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests import exceptions
from urllib3.exceptions import HTTPError

from local_sagemaker.docker_client.container import BETWEEN_CALLS, PATIENCE, Container, EngineGoneError
from local_sagemaker.docker_client.container_request import ContainerRequest, Image, host_config
from local_sagemaker.docker_client.docker_config import Client, ContextError, credentials, current_endpoint
from local_sagemaker.errors import EmulatorError
from local_sagemaker.state import ACCOUNT

LABEL = "distilbert-trainer"
STATE_LABEL = "distilbert-trainer.state"
KIND_LABEL = "distilbert-trainer.kind"
JOB_LABEL = "distilbert-trainer.job"
HOST_LABEL = "distilbert-trainer.host"
ATTEMPT_LABEL = "distilbert-trainer.attempt"

_OWN_REGISTRY = {"username": "AWS", "password": f"{ACCOUNT}-auth-token"}
"""What moto's GetAuthorizationToken decodes to: for the names of this server's own ECR."""

_POLL = 0.1
"""Seconds between two looks whether a pull is still wanted."""

AWAY = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError, HTTPError, ConnectionError)
"""What calls to an engine that does not answer raise; an error that it answers with is a RequestException as well."""

_Answer = TypeVar("_Answer")

_CONNECTIONS = 200
"""Most open at once: a follower of the log and a call for each container."""


class EngineError(EmulatorError):
    """The engine does not answer, or refuses."""


class EngineAwayError(EngineError):
    """The engine does not answer."""


class ImageMissingError(EngineError):
    """The image is neither here nor to be pulled."""


class PullCancelledError(EngineError):
    """Nobody waits for the image any more."""


class Engine:
    """A connection to the engine that `docker` would talk to, made when it is first needed."""

    def __init__(self, state_identity: str) -> None:
        self._identity = state_identity
        self._lock = threading.Lock()
        self._client: Any = None
        self._ending = threading.Event()
        self.prefix = f"distilbert-trainer-{state_identity}"
        """Of the names of everything that is ours."""
        self.user = f"{os.getuid()}:{os.getgid()}"
        """Who containers run as: the caller, so that what they write is the caller's."""

    def stop_retrying(self) -> None:
        """Wait no more for an engine that does not answer: the server ends."""
        self._ending.set()

    def retry(self, call: Callable[[], _Answer], *, since_start: bool = False) -> _Answer:
        """Return what a call that may be repeated returns; raise EngineAwayError.

        An engine that has answered this server before (with `since_start`: the server before) is started anew, perhaps,
        and has PATIENCE seconds for it.
        """
        give_up = time.monotonic() + PATIENCE
        while True:
            is_known = since_start or self._client is not None
            try:
                return call()
            except EngineAwayError:
                if not is_known or time.monotonic() > give_up or self._ending.wait(BETWEEN_CALLS):
                    raise
            except (*AWAY, EngineGoneError) as error:
                if time.monotonic() > give_up or self._ending.wait(BETWEEN_CALLS):
                    raise EngineAwayError(f"the Docker engine does not answer any more: {error}") from None

    def check(self) -> None:
        """Raise EngineError if no engine answers."""
        self._api.ping()

    def close(self) -> None:
        """Remove what all jobs have shared, and close the connection."""
        if self._client is not None:
            with suppress(*AWAY):  # it does not answer: what is left goes with the next server
                self._remove_network(self.prefix)  # also one that a killed server has made
            self._client.close()
            self._client = None

    @property
    def _api(self) -> Any:  # noqa: ANN401 - the SDK is untyped
        with self._lock:
            if self._client is None:
                try:
                    endpoint = current_endpoint(os.environ)
                except ContextError as error:
                    raise EngineError(str(error)) from None
                try:
                    client = Client(version="auto", timeout=300, max_pool_size=_CONNECTIONS, **endpoint.arguments)
                    # A rootless engine maps its root, and only that, to the caller.
                    if any("rootless" in option for option in client.info().get("SecurityOptions") or ()):
                        self.user = "0:0"
                except DockerException as error:
                    raise EngineAwayError(
                        f"no Docker engine answers at {endpoint}: {error}; `docker context use` or DOCKER_HOST names "
                        "another"
                    ) from None
                self._client = client
            return self._client

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Return the engine's own description of an image by name or Id; None if it is not there."""
        try:
            description: dict[str, Any] = self._api.inspect_image(name)
        except DockerException:
            return None
        return description

    def tagged(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the full name and the engine's summary of every tagged image; none without an engine."""
        try:
            return [(name, image) for image in self._api.images() for name in image.get("RepoTags") or ()]
        except (DockerException, EngineError):
            return []

    def image(self, name: str, cancelled: threading.Event) -> Image:
        """Return an image of the engine, pulled if it is not there; raise ImageMissingError, PullCancelledError."""
        try:
            return Image(self._api.inspect_image(name)["Id"], name)
        except ImageNotFound:
            pass
        try:
            self._pull(name, cancelled)
            return Image(self._api.inspect_image(name)["Id"], name)
        except AWAY:
            raise  # the engine does not answer: of the image, that says nothing
        except (DockerException, OSError) as error:
            raise ImageMissingError(
                f"{name} is not in this machine's engine, and cannot be pulled: {_text(error)}; "
                f"`docker tag IMAGE {name}` gives one that is here this name, `launcher train --image` takes another"
            ) from None

    def _pull(self, name: str, cancelled: threading.Event) -> None:
        """Pull an image with the credentials of `docker login`; raise DockerException, PullCancelledError.

        In a thread of its own: before the first byte of its answer, nothing ends a call to the engine.
        """
        api, known = self._api, credentials(name, os.environ)
        if known is None and name.startswith(f"{ACCOUNT}.dkr.ecr."):
            known = _OWN_REGISTRY
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

        def pull() -> None:
            try:
                # An empty one keeps docker-py from looking for credentials where the CLI does not.
                with closing(api.pull(name, stream=True, decode=True, auth_config=known or {})) as progress:
                    for said in progress:
                        if cancelled.is_set():
                            return  # the engine gives up a pull whose caller has gone
                        if "error" in said:
                            raise DockerException(said["error"])
                ended.put(None)
            except Exception as error:  # noqa: BLE001 - raised again by who waits
                ended.put(error)

        threading.Thread(target=pull, name=f"pull of {name}", daemon=True).start()
        while True:
            with suppress(queue.Empty):
                error = ended.get(timeout=_POLL)
                if error is not None:
                    raise error
                return
            if cancelled.is_set():
                raise PullCancelledError(f"the pull of {name} was cancelled")

    def labels(self, kind: str, job: str, host: str = "", attempt: int = 0) -> dict[str, str]:
        """Return what marks an object as belonging to a job."""
        return {
            LABEL: "local",
            STATE_LABEL: self._identity,
            KIND_LABEL: kind,
            JOB_LABEL: job,
            HOST_LABEL: host,
            ATTEMPT_LABEL: str(attempt),
        }

    def shared_network(self) -> str:
        """Return the network of jobs with one host, where no container reaches another."""
        api = self._api
        with self._lock:
            name = self.prefix
            mine = {"label": f"{STATE_LABEL}={self._identity}"}
            # Each time: `docker network prune` takes it between two jobs. The engine's filter finds parts of names.
            if all(network["Name"] != name for network in api.networks(names=[name], filters=mine)):
                options = {"com.docker.network.bridge.enable_icc": "false"}
                api.create_network(name, driver="bridge", options=options, labels=self.labels("server", ""))
            return name

    def job_network(self, kind: str, job: str, *, isolated: bool) -> str:
        """Make the network of a job's hosts, who reach each other by name; isolated, they reach nobody else."""
        name = f"{self.prefix}-{kind}-{job}"
        for network in [network for network in self._api.networks(names=[name]) if network["Name"] == name]:
            self._remove_network(network["Id"])
        try:
            self._api.create_network(name, driver="bridge", internal=isolated, labels=self.labels(kind, job))
        except APIError as error:
            raise EngineError(f"cannot make a network for {job}: {_text(error)}") from None
        return name

    def create(self, request: ContainerRequest) -> Container:
        """Make a container, in place of one of its name that a call without an answer has left; raise EngineError."""
        api = self._api
        with suppress(NotFound):
            api.remove_container(request.name, force=True, v=True)
        settings = host_config(api, request)
        networking = None
        if request.aliases:
            endpoint = api.create_endpoint_config(aliases=list(request.aliases))
            networking = api.create_networking_config({request.network: endpoint})
        try:
            made = api.create_container(
                request.image.id,
                command=request.arguments,
                entrypoint=request.entrypoint,
                environment=request.environment,
                hostname=request.hostname,
                name=request.name,
                labels=request.labels,
                user=self.user,
                ports=None if request.port is None else [request.port],
                host_config=settings,
                networking_config=networking,
            )
        except APIError as error:
            raise EngineError(_text(error)) from None
        return Container(api, made["Id"], request.labels[HOST_LABEL])

    def containers(self, kind: str, job: str, attempt: int | None = None) -> list[Container]:
        """Return a job's containers, running or not, in the order of their hosts."""
        labels = [f"{STATE_LABEL}={self._identity}", f"{KIND_LABEL}={kind}", f"{JOB_LABEL}={job}"]
        if attempt is not None:
            labels.append(f"{ATTEMPT_LABEL}={attempt}")
        found = self._api.containers(all=True, filters={"label": labels})
        containers = [Container(self._api, entry["Id"], entry["Labels"][HOST_LABEL]) for entry in found]
        return sorted(containers, key=lambda container: (len(container.host), container.host))

    def jobs_with_leftovers(self) -> set[tuple[str, str]]:
        """Return kind and name of every job of the state folder that has containers or networks."""
        return {(labels[KIND_LABEL], labels[JOB_LABEL]) for labels in self._labels_of_all() if labels[JOB_LABEL]}

    def remove_job(self, kind: str, job: str) -> None:
        """Remove a job's containers, running or not, and its network."""
        for container in self.containers(kind, job):
            container.remove()
        labels = [f"{STATE_LABEL}={self._identity}", f"{KIND_LABEL}={kind}", f"{JOB_LABEL}={job}"]
        for network in self._api.networks(filters={"label": labels}):
            self._remove_network(network["Id"])

    def remove_everything(self) -> None:
        """Remove every container and network of the state folder."""
        for kind, job in self.jobs_with_leftovers():
            self.remove_job(kind, job)
        for network in self._api.networks(filters={"label": f"{STATE_LABEL}={self._identity}"}):
            self._remove_network(network["Id"])

    def _labels_of_all(self) -> list[dict[str, str]]:
        mine = {"label": f"{STATE_LABEL}={self._identity}"}
        found = [*self._api.containers(all=True, filters=mine), *self._api.networks(filters=mine)]
        return [entry["Labels"] for entry in found]

    def _remove_network(self, network: str) -> None:
        with suppress(APIError):  # gone, or still in use: the next start tries again
            self._api.remove_network(network)


def _text(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
