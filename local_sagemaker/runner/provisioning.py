"""What a job needs before it runs, in this order: capacity, the image, a container for each of its hosts.

There is always capacity here, unless a fault says otherwise. The image is the engine's own, else it is pulled, as on
SageMaker; a stop does not wait for the pull.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from local_sagemaker.container_contract.outcome import MAX_WAIT, STOPPED, failed
from local_sagemaker.container_contract.paths import Layout
from local_sagemaker.container_contract.startup import Command
from local_sagemaker.docker_client.container import Container
from local_sagemaker.docker_client.container_request import ContainerRequest, Image
from local_sagemaker.docker_client.engine import Engine, PullCancelledError
from local_sagemaker.job_state import Job, Outcome
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.volumes.download import CancelledError


class NoCapacityError(Exception):
    """There are no machines, and there will be none."""

    outcome = failed(
        "CapacityError",
        "Unable to provision requested ML compute capacity. Please retry using a different ML instance type.",
    )


class WaitTooLongError(Exception):
    """There were no machines in time."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def wait_for_capacity(runner: JobRunner) -> None:
    """Return when there are machines."""
    if runner.cancelled.is_set():
        raise CancelledError
    condition = runner.job.request.get("StoppingCondition", {})
    limits: dict[float, Outcome] = {}
    if "MaxWaitTimeInSeconds" in condition:
        limits[condition["MaxWaitTimeInSeconds"] - runner.age()] = MAX_WAIT
    if "MaxPendingTimeInSeconds" in condition:
        limits[condition["MaxPendingTimeInSeconds"] - runner.age()] = STOPPED
    first = min(limits, default=math.inf)
    if first <= 0:
        raise WaitTooLongError(limits[first])
    fault = runner.context.faults.take("capacity", runner.name)
    if fault is None:
        return
    if fault.seconds is None:
        raise NoCapacityError
    runner.enter("Starting", "Insufficient capacity error from EC2 while launching instances, retrying!")
    if runner.cancelled.wait(min(first, fault.seconds)):
        raise CancelledError
    if first <= fault.seconds:
        raise WaitTooLongError(limits[first])


def job_image(runner: JobRunner, name: str) -> Image:
    """Return an image; raise ImageMissingError, CancelledError."""
    try:
        image = runner.context.engine.retry(lambda: runner.context.engine.image(name, runner.cancelled))
    except PullCancelledError:
        raise CancelledError from None
    if runner.cancelled.is_set():
        raise CancelledError
    return image


def start_containers(
    runner: JobRunner,
    image: Image,
    command: Command,
    environment: dict[str, str],
    layouts: Mapping[str, Layout],
    *,
    isolated: bool,
) -> list[Container]:
    """Make and start a container for each host; raise CannotStartError, EngineError."""
    return runner.context.engine.retry(
        lambda: _started(runner, image, command, environment, layouts, isolated=isolated)
    )


def _started(
    runner: JobRunner,
    image: Image,
    command: Command,
    environment: dict[str, str],
    layouts: Mapping[str, Layout],
    *,
    isolated: bool,
) -> list[Container]:
    engine, limits, job = runner.context.engine, runner.context.limits, runner.job
    network = _network(engine, job, isolated=isolated, hosts=len(layouts))
    containers = [
        engine.create(
            ContainerRequest(
                image=image,
                name=container_name(engine, job, host),
                entrypoint=command.entrypoint,
                arguments=command.arguments,
                environment=environment,
                binds=tuple(layout.binds()),
                hostname=host,
                network=network,
                aliases=(host,) if len(layouts) > 1 else (),
                # Without a network, nothing else says what the host's own name stands for.
                extra_hosts={host: "127.0.0.1"} if network == "none" else {},
                labels=engine.labels(job.kind, job.key, host, job.attempt),
                cpus=limits.cpus,
                memory_bytes=limits.memory_bytes,
            )
        )
        for host, layout in layouts.items()
    ]
    for container in containers:
        container.start()
    return containers


def container_name(engine: Engine, job: Job, host: str) -> str:
    """Return a name that says in `docker ps` what a container is."""
    return f"{engine.prefix}-{job.kind}-{job.key}-{host}-{job.attempt}"


def _network(engine: Engine, job: Job, *, isolated: bool, hosts: int) -> str:
    if hosts > 1:
        return engine.job_network(job.kind, job.key, isolated=isolated)
    return "none" if isolated else engine.shared_network()
