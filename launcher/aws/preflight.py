"""What only AWS can say of a job before it runs: everything that it names exists, and may be used.

for row in preflight_checks(job, request, session): print(row["check"], row["result"], row["detail"])

A question that the caller has no rights to ask is `unknown`, not `failed`: SageMaker's own role may have them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from launcher.aws.errors import BusyError, DeniedError, NotFoundError, translating_aws_errors
from launcher.aws.images import find_image
from launcher.aws.network import check_subnets
from launcher.aws.rights import Right, caller_rights, pass_role, role_rights, simulate
from launcher.aws.session import Session
from launcher.checks.estimate import describe, work_of
from launcher.errors import AwsError
from launcher.job_file.schema import Job
from launcher.request import host_count, instance_counts

Row = dict[str, str]

_MAX_PAGES = 10
_LARGEST_MANIFEST = 2**24
"""Bytes; one that lists thousands of source files has one or two."""


def preflight_checks(job: Job, request: dict[str, Any], session: Session) -> list[Row]:
    """Return a row {check, result, detail} for each thing that the job needs; result: ok, failed or unknown."""
    session = session.for_region(job.region)
    rows = [_row("credentials", lambda: _caller(job, session))]
    if rows[0]["result"] == "failed":
        return rows  # nothing else could be asked
    rows.append(_row("image", lambda: _image(request["AlgorithmSpecification"]["TrainingImage"], session)))
    rows.append(_row("role", lambda: _role(request["RoleArn"], session)))
    for channel in request.get("InputDataConfig", []):
        rows += _channel(channel, request["ResourceConfig"], session)
    if job.check_image_contract:
        rows.append(_row("training time", lambda: _training_time(job, request, session)))
    rows.append(_row("output", lambda: _bucket(request["OutputDataConfig"]["S3OutputPath"], session)))
    rows += [_row(f"key {key}", lambda key=key: _key(key, session)) for key in _keys(request)]  # type: ignore[misc]
    rows.append(_row("quota", lambda: _quota(request, session)))
    region = session.region or job.region or ""
    rows += _rights("role", request["RoleArn"], role_rights(request, region), session)
    rows += _rights("caller", "", caller_rights(request, region), session)
    subnets = request.get("VpcConfig", {}).get("Subnets", [])
    if subnets and not session.is_local:  # which has no VPC
        rows.append(_row("subnets", lambda: _subnets(subnets, session)))
    return rows


class _Failed(Exception):  # noqa: N818 - a finding, not an error of the program
    """A check that found something wrong."""


class _Unknown(Exception):  # noqa: N818
    """A question that AWS cannot answer."""


def _row(check: str, ask: Callable[[], str]) -> Row:
    try:
        return {"check": check, "result": "ok", "detail": ask()}
    except _Failed as finding:
        return {"check": check, "result": "failed", "detail": str(finding)}
    except (_Unknown, DeniedError, BusyError) as reason:
        return {"check": check, "result": "unknown", "detail": str(reason)}
    except AwsError as error:
        return {"check": check, "result": "failed", "detail": str(error)}


def _caller(job: Job, session: Session) -> str:
    with translating_aws_errors("ask who the credentials belong to"):
        caller = session.client("sts").get_caller_identity()
    if job.account and caller["Account"] != job.account:
        raise _Failed(f"they belong to account {caller['Account']}, the job file names {job.account}")
    return str(caller["Arn"])


def _image(name: str, session: Session) -> str:
    image = find_image(name, session)
    if image is None:
        raise _Unknown(f"{name} is not in ECR: nothing is known of it")
    if image.platforms and "linux/amd64" not in image.platforms:
        raise _Failed(f"it is for {', '.join(image.platforms)}; build it with --platform linux/amd64")
    if image.has_attestations:
        raise _Failed(
            "it is an index with attestations; build it without: docker build --provenance=false --sbom=false"
        )
    if image.is_index:
        raise _Failed("it is an index of several images; push one manifest (docker build --provenance=false)")
    weights = f", starts from {image.weights}" if image.weights else ""
    soci = ", with a SOCI index" if image.has_soci else ""
    return f"{image.digest}, {image.platforms[0] if image.platforms else 'platform unknown'}{weights}{soci}"


def _role(arn: str, session: Session) -> str:
    name = arn.rpartition("/")[2]
    with translating_aws_errors(f"read role {name}"):
        role = session.client("iam").get_role(RoleName=name)["Role"]
    if not _trusts_sagemaker(role["AssumeRolePolicyDocument"]):
        raise _Failed(f"{name} does not let sagemaker.amazonaws.com assume it; add that to its trust policy")
    _pass_on(arn, session)
    return f"{name} trusts SageMaker and can be passed"


def _trusts_sagemaker(policy: object) -> bool:
    """Tell whether a trust policy lets SageMaker in; IAM takes one statement or a list of them, JSON or its text."""
    try:
        document: Any = json.loads(policy) if isinstance(policy, str) else policy
        statements = document["Statement"]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise _Unknown("its trust policy is no policy that can be read") from None
    listed = statements if isinstance(statements, list) else [statements]
    allowed = [one.get("Principal") for one in listed if isinstance(one, dict) and one.get("Effect") == "Allow"]
    return "sagemaker.amazonaws.com" in json.dumps(allowed) or "*" in allowed


def _pass_on(arn: str, session: Session) -> None:
    with translating_aws_errors("ask who the credentials belong to"):
        caller = _principal(session.client("sts").get_caller_identity()["Arn"])
    right = pass_role(arn)
    try:
        outcome = simulate(caller, right, session)
    except AwsError as error:
        raise _Unknown(f"it trusts SageMaker; {error}") from None
    if outcome.depends_on:
        raise _Unknown(f"it trusts SageMaker; to pass it on depends on {', '.join(outcome.depends_on)}")
    if outcome.denied:
        statement = right.statement(outcome.denied)
        raise _Failed(f"{caller} may not pass {arn.rpartition('/')[2]} on; it needs iam:PassRole: {statement}")


def _rights(who: str, principal: str, rights: Iterable[Right], session: Session) -> list[Row]:
    """Return a row for each right that is missing or could not be asked for; one that sums up, if there is none."""
    rows: list[Row] = []
    held = 0
    try:
        if not principal:
            with translating_aws_errors("ask who the credentials belong to"):
                principal = _principal(session.client("sts").get_caller_identity()["Arn"])
        for right in rights:
            outcome = simulate(principal, right, session)
            held += len(right.actions) - len(outcome.denied)
            if not outcome.denied:
                continue
            what = f"{', '.join(outcome.denied)} on {right.resource}"
            check = f"{who} rights: {right.purpose}"
            if outcome.depends_on:
                detail = f"whether {who} may {what} depends on {', '.join(outcome.depends_on)}"
                rows.append({"check": check, "result": "unknown", "detail": detail})
            elif outcome.explicitly:
                detail = f"a statement denies {what}: change it"
                rows.append({"check": check, "result": "failed", "detail": detail})
            else:
                # A key's own policy often allows what no other does, and cannot be simulated for a role.
                of_key = right.resource.split(":")[2:3] == ["kms"]
                unless = ", unless the key's own policy allows it" if of_key else ""
                detail = f"{what} is not allowed{unless}; add {right.statement(outcome.denied)}"
                rows.append({"check": check, "result": "unknown" if of_key else "failed", "detail": detail})
    except (_Unknown, AwsError) as reason:
        # Every later question would be answered alike.
        detail = f"could not be asked: {reason}"
        return [*rows, {"check": f"{who} rights", "result": "unknown", "detail": detail}]
    return rows or [{"check": f"{who} rights", "result": "ok", "detail": f"{held} actions simulated, all allowed"}]


def _subnets(subnets: list[str], session: Session) -> str:
    said, isolated = check_subnets(subnets, session)
    if isolated:
        raise _Failed(said)
    return said


def _principal(arn: str) -> str:
    """Return the role behind an assumed role: sessions have no policies."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        raise _Unknown(f"who asks is {arn!r}, which is no ARN")
    _, partition, service, _, account, resource = parts
    if service != "sts" or not resource.startswith("assumed-role/"):
        return arn
    return f"arn:{partition}:iam::{account}:role/{resource.split('/')[1]}"


def _channel(channel: dict[str, Any], resources: dict[str, Any], session: Session) -> Iterator[Row]:
    source = channel["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] != "S3Prefix":
        return
    yield _row(f"channel {channel['ChannelName']}", lambda: _objects(source, host_count(resources), session))


def _objects(source: dict[str, Any], hosts: int, session: Session) -> str:
    bucket, _, prefix = source["S3Uri"].removeprefix("s3://").partition("/")
    count = size = 0
    with translating_aws_errors(f"list {source['S3Uri']}"):
        pages = session.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for number, page in enumerate(pages, start=1):
            contents = [entry for entry in page.get("Contents", []) if entry["Size"]]
            count += len(contents)
            size += sum(entry["Size"] for entry in contents)
            if number == _MAX_PAGES:
                break
    if not count:
        raise _Failed(f"nothing is at {source['S3Uri']}; `launcher process` writes the channels")
    if source.get("S3DataDistributionType") == "ShardedByS3Key" and count < hosts:
        raise _Failed(f"{count} objects cannot be dealt out to {hosts} hosts; use FullyReplicated, or write more files")
    return f"{count}{'' if number < _MAX_PAGES else ' or more'} objects, {size:,} bytes"


def _training_time(job: Job, request: dict[str, Any], session: Session) -> str:
    """Return time and cost as predicted from the records that `prepare` has counted in the channels' manifests."""
    if host_count(request["ResourceConfig"]) > 1:
        raise _Unknown("it is predicted for one host only; docs/hosts.md says what more of them gain")
    records: dict[str, int] = {}
    lengths = set()
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            continue
        for manifest in _manifests(source["S3Uri"], session):
            name = channel["ChannelName"]
            records[name] = records.get(name, 0) + manifest["records"]
            lengths.add(manifest["max_seq_length"])
    if "train" not in records:
        raise _Unknown("no manifest of `prepare` is in channel train, so its records are not known")
    said = describe(job, work_of(job, records, max(lengths)))
    if said is None:
        raise _Unknown("no core like this machine's was measured (launcher/data/training_speed.json)")
    return said


def _manifests(s3_uri: str, session: Session) -> Iterator[dict[str, int]]:
    """Yield the counts of each manifest directly below a prefix, one a host of `prepare`."""
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    below = f"{prefix.rstrip('/')}/manifest-" if prefix else "manifest-"
    s3 = session.client("s3")
    with translating_aws_errors(f"read the manifests at {s3_uri}"):
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=below).get("Contents", [])
        for entry in listed:
            if not entry["Key"].endswith(".json") or entry["Size"] > _LARGEST_MANIFEST:
                continue
            text = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            try:
                found = json.loads(text)
                counts = {name: found[name] for name in ("records", "max_seq_length")}
            except (ValueError, TypeError, LookupError, RecursionError):
                raise _Unknown(f"s3://{bucket}/{entry['Key']} is no manifest that can be read") from None
            if not all(type(count) is int and 0 <= count < 2**63 for count in counts.values()):
                raise _Unknown(f"s3://{bucket}/{entry['Key']} has no sensible records and max_seq_length")
            yield counts


def _bucket(s3_uri: str, session: Session) -> str:
    bucket = s3_uri.removeprefix("s3://").partition("/")[0]
    try:
        with translating_aws_errors(f"reach bucket {bucket}"):
            answer = session.client("s3").head_bucket(Bucket=bucket)
    except NotFoundError:
        raise _Failed(f"{bucket} does not exist; launcher setup makes one, or: aws s3 mb s3://{bucket}") from None
    where = answer.get("BucketRegion", session.region)
    if where != session.region:
        raise _Failed(f"{bucket} is in {where}, the job in {session.region}; use a bucket of {session.region}")
    return bucket


def _keys(request: dict[str, Any]) -> list[str]:
    keys = (request["OutputDataConfig"].get("KmsKeyId"), request["ResourceConfig"].get("VolumeKmsKeyId"))
    return sorted({key for key in keys if key})


def _key(key: str, session: Session) -> str:
    with translating_aws_errors(f"read key {key}"):
        state = session.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    if state != "Enabled":
        raise _Failed(f"its state is {state}; enable it, or name another")
    return "enabled"


def _quota(request: dict[str, Any], session: Session) -> str:
    """Return what is allowed of every listed type; of several preferences one has to suffice, of groups all."""
    resources = request["ResourceConfig"]
    kind = "spot training" if request.get("EnableManagedSpotTraining") else "training"
    wanted = Counter[str]()
    for instance_type, count in instance_counts(resources):
        wanted[instance_type] = (
            max(wanted[instance_type], count) if _is_choice(resources) else wanted[instance_type] + count
        )
    with translating_aws_errors("read the quota"):
        pages = session.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
        names = {f"{instance_type} for {kind} job usage": instance_type for instance_type in wanted}
        allowed: dict[str, float] = {}
        for page in pages:
            allowed |= {names[q["QuotaName"]]: q["Value"] for q in page["Quotas"] if q["QuotaName"] in names}
            if len(allowed) == len(names):
                break
    short = [name for name, hosts in wanted.items() if name in allowed and allowed[name] < hosts]
    said = "; ".join(_quota_of(name, hosts, allowed.get(name)) for name, hosts in wanted.items())
    if short and (not _is_choice(resources) or len(short) == len(wanted)):
        raise _Failed(f"{said}; ask AWS for more")
    return said


def _is_choice(resources: dict[str, Any]) -> bool:
    return "InstancePreferences" in resources


def _quota_of(instance_type: str, hosts: int, allowed: float | None) -> str:
    if allowed is None:
        return f"none listed for {instance_type}"
    return f"{allowed:g} of {instance_type} allowed" + (f", {hosts} asked for" if allowed < hosts else "")
