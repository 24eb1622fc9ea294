"""The hosts that a job runs on, and their groups.

    hosts_of({"InstanceType": "ml.c5.xlarge", "InstanceCount": 2})   # algo-1, algo-2

Instance groups are numbered through: two of the first are algo-1 and algo-2, the second begins with algo-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HOMOGENEOUS = "homogeneousCluster"
"""SageMaker's name for the group of a job that has none."""


@dataclass(frozen=True)
class Host:
    """One machine."""

    name: str
    instance_type: str
    group: str


def hosts_of(resources: dict[str, Any]) -> tuple[Host, ...]:
    """Return the hosts of a ResourceConfig or ClusterConfig, in order."""
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": HOMOGENEOUS,
            "InstanceType": resources.get("InstanceType", "local"),
            "InstanceCount": resources.get("InstanceCount", 1),
        }
    ]
    machines = [
        (group["InstanceType"], group["InstanceGroupName"]) for group in groups for _ in range(group["InstanceCount"])
    ]
    return tuple(Host(f"algo-{number}", *machine) for number, machine in enumerate(machines, start=1))


def resource_config(host: Host, hosts: tuple[Host, ...], network_interface: str) -> dict[str, Any]:
    """Return resourceconfig.json as one of the hosts finds it."""
    groups = dict.fromkeys((other.group, other.instance_type) for other in hosts)
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": sorted(other.name for other in hosts),
        "instance_groups": [
            {
                "instance_group_name": group,
                "instance_type": instance_type,
                "hosts": sorted(other.name for other in hosts if other.group == group),
            }
            for group, instance_type in groups
        ],
        "network_interface_name": network_interface,
    }
