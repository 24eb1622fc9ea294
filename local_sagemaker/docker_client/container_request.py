"""What a container is to be, and its limits in the engine's terms."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import docker

from local_sagemaker.container_contract.paths import Bind


@dataclass(frozen=True)
class Image:
    """An image that is here."""

    id: str
    name: str


@dataclass(frozen=True)
class HostLimits:
    """What a host may use of this machine; None: all of it."""

    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class ContainerRequest:
    """What a container is to be."""

    image: Image
    name: str
    entrypoint: list[str] | None
    arguments: list[str]
    environment: dict[str, str]
    binds: Sequence[Bind]
    hostname: str
    network: str
    """Name of a network, or `none`."""
    labels: dict[str, str]
    aliases: tuple[str, ...] = ()
    extra_hosts: dict[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory_bytes: int | None = None
    cpu_shares: int | None = None
    port: int | None = None
    """One that this machine is to reach, on loopback alone; a network without a way out has no such ports."""


_LOG = {"max-size": "1000t", "max-file": "1", "compress": "false", "mode": "blocking"}
"""Every byte of a job's log, as it was, whatever the engine's own settings are; `json-file` makes text of bytes."""


_NOT_FOR_JOBS = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP")
"""What Docker allows and no job needs: devices in volumes, which the host sees too; others' addresses on a network."""


def host_config(api: Any, request: ContainerRequest) -> Any:  # noqa: ANN401 - the SDK is untyped
    """Return mounts, network and limits: SageMaker's, as far as this machine has them."""
    return api.create_host_config(
        network_mode=request.network,
        # Not `binds`: those take no colon in a path, and make an empty folder of what the engine does not see.
        mounts=[
            docker.types.Mount(bind.target, str(bind.source), type="bind", read_only=bind.read_only)
            for bind in request.binds
        ],
        extra_hosts=request.extra_hosts or None,
        shm_size=_half_of_memory(),
        ulimits=[_open_files()],
        log_config=docker.types.LogConfig(type="local", config=_LOG),
        nano_cpus=None if request.cpus is None else int(request.cpus * 1e9),
        mem_limit=request.memory_bytes,
        security_opt=["no-new-privileges"],
        cap_drop=list(_NOT_FOR_JOBS),
        cpu_shares=request.cpu_shares,
        port_bindings=None if request.port is None else {request.port: ("127.0.0.1",)},
    )


def _open_files() -> Any:  # noqa: ANN401 - the SDK is untyped
    """Return SageMaker's limit of open files, or this machine's: a container cannot have more than the engine."""
    limit = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    return docker.types.Ulimit(name="nofile", soft=limit, hard=limit)


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
