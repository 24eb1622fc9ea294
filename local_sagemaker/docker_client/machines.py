"""A job's containers, started together: networks, names, limits.

containers = start_machines(world, job, image, command, environment, machines, isolated=True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_sagemaker.container_contract.environment import Command
from local_sagemaker.container_contract.paths import Bind
from local_sagemaker.docker_client.container import Container
from local_sagemaker.docker_client.engine import Engine
from local_sagemaker.docker_client.request import ContainerRequest, Image
from local_sagemaker.document import Job

if TYPE_CHECKING:
    from local_sagemaker.runner.world import World


@dataclass(frozen=True)
class Machine:
    """One host: its name, and what is mounted."""

    host: str
    binds: tuple[Bind, ...]


def start_machines(
    world: World,
    job: Job,
    image: Image,
    command: Command,
    environment: dict[str, str],
    machines: Sequence[Machine],
    *,
    isolated: bool,
) -> list[Container]:
    """Make and start a container for each machine; raise CannotStartError, EngineError."""

    def start() -> list[Container]:
        return _start_machines(world, job, image, command, environment, machines, isolated=isolated)

    return world.engine.patiently(start)


def _start_machines(
    world: World,
    job: Job,
    image: Image,
    command: Command,
    environment: dict[str, str],
    machines: Sequence[Machine],
    *,
    isolated: bool,
) -> list[Container]:
    engine = world.engine
    network = _network(engine, job, isolated=isolated, machines=len(machines))
    containers = [
        engine.create(
            ContainerRequest(
                image=image,
                name=container_name(engine, job, machine.host),
                entrypoint=command.entrypoint,
                arguments=command.arguments,
                environment=environment,
                binds=machine.binds,
                hostname=machine.host,
                network=network,
                aliases=(machine.host,) if len(machines) > 1 else (),
                # Without a network, nothing else says what the host's own name stands for.
                extra_hosts={machine.host: "127.0.0.1"} if network == "none" else {},
                labels=engine.labels(job.kind, job.key, machine.host, job.attempt),
                cpus=world.limits.cpus,
                memory_bytes=world.limits.memory_bytes,
            )
        )
        for machine in machines
    ]
    for container in containers:
        container.start()
    return containers


def container_name(engine: Engine, job: Job, host: str) -> str:
    """Return a name that says in `docker ps` what a container is."""
    return f"{engine.prefix}-{job.kind}-{job.key}-{host}-{job.attempt}"


def _network(engine: Engine, job: Job, *, isolated: bool, machines: int) -> str:
    if machines > 1:
        return engine.job_network(job.kind, job.key, isolated=isolated)
    return "none" if isolated else engine.shared_network()
