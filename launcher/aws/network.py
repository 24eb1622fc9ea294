"""Whether hosts in a job's subnets reach S3: SageMaker moves channels, checkpoints and models through them.

said, isolated = check_subnets(["subnet-1"], session)

SageMaker pulls images and writes logs outside of the job's VPC. Hosts have no public address, so that a route to an
internet gateway takes them nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher.aws.errors import translating_aws_errors
from launcher.aws.session import Session
from launcher.errors import AwsError

_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId")


def check_subnets(subnets: Sequence[str], session: Session) -> tuple[str, bool]:
    """Return how each subnet reaches S3, and whether one does not; raise AwsError if AWS does not tell."""
    ec2 = session.client("ec2")
    with translating_aws_errors(f"read {', '.join(subnets)}, their routes and endpoints"):
        found = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
        if not found:
            raise AwsError(f"AWS does not know {', '.join(subnets)}")
        vpc = [{"Name": "vpc-id", "Values": sorted({subnet["VpcId"] for subnet in found})}]
        tables = ec2.describe_route_tables(Filters=vpc)["RouteTables"]
        service = {"Name": "service-name", "Values": [f"com.amazonaws.{session.region}.s3"]}
        endpoints = ec2.describe_vpc_endpoints(Filters=[*vpc, service])["VpcEndpoints"]
    found.sort(key=lambda subnet: subnets.index(subnet["SubnetId"]))
    ways = {subnet["SubnetId"]: _way_to_s3(subnet, tables, endpoints) for subnet in found}
    said = [f"{subnet} reaches S3 by {way}" for subnet, way in ways.items() if way]
    isolated = [subnet for subnet, way in ways.items() if not way]
    if isolated:
        vpcs = ", ".join(sorted({subnet["VpcId"] for subnet in found if subnet["SubnetId"] in isolated}))
        hint = f"aws ec2 create-vpc-endpoint --vpc-id {vpcs} --service-name com.amazonaws.{session.region}.s3"
        said.append(
            f"{', '.join(isolated)} has no way to S3: neither an endpoint nor a NAT; {hint} --route-table-ids TABLE"
        )
    return "; ".join(said), bool(isolated)


def _way_to_s3(
    subnet: Mapping[str, Any], tables: Sequence[Mapping[str, Any]], endpoints: Iterable[Mapping[str, Any]]
) -> str:
    """Return an endpoint, or what a default route leads to; "" if there is neither."""
    table = _route_table(subnet, tables)
    for endpoint in endpoints:
        if endpoint["VpcId"] != subnet["VpcId"]:
            continue
        if endpoint.get("VpcEndpointType") == "Interface" or table.get("RouteTableId") in endpoint.get(
            "RouteTableIds", ()
        ):
            return str(endpoint["VpcEndpointId"])
    defaults = [route for route in table.get("Routes", ()) if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    ways = [str(route[kind]) for route in defaults for kind in _WAYS_OUT if route.get(kind)]
    return ways[0] if ways else ""


def _route_table(subnet: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a subnet's own route table, else its VPC's main one."""
    mine = [table for table in tables if table["VpcId"] == subnet["VpcId"]]
    links = [(table, link) for table in mine for link in table.get("Associations", ())]
    own = [table for table, link in links if link.get("SubnetId") == subnet["SubnetId"]]
    main = [table for table, link in links if link.get("Main")]
    return next(iter(own + main), {})
