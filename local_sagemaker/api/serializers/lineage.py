"""Lineage of jobs: data sets and images contribute to a job's trial component, which produces models and data. Pure.

associations([job, ...])    # AssociationSummaries, both ends of each
artifacts([job, ...])       # {ARN: DescribeArtifact's answer}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from local_sagemaker.api.arns import artifact_arn, component_arn, component_name
from local_sagemaker.api.serializers.components import datasets, image, written
from local_sagemaker.job_state import Job

Answer = dict[str, Any]

_COMPONENT_TYPES = {"training": "SageMakerTrainingJob", "processing": "SageMakerProcessingJob"}


def associations(jobs: Iterable[Job]) -> Iterator[Answer]:
    """Yield an association summary for each thing that a job read or made."""
    for job in jobs:
        component = {"Arn": component_arn(job), "Name": component_name(job), "Type": _COMPONENT_TYPES[job.kind]}
        for uri, kind in _read(job):
            thing = {"Arn": artifact_arn(job.region, kind, uri), "Type": kind}
            yield _association(thing, component, "ContributedTo", job.creation_time)
        for uri, kind in _made(job):
            thing = {"Arn": artifact_arn(job.region, kind, uri), "Type": kind}
            yield _association(component, thing, "Produced", job.end_time or job.last_modified_time)


def artifacts(jobs: Iterable[Job]) -> dict[str, Answer]:
    """Return every artifact that jobs read or made, by ARN; the first job that did gives the time."""
    found: dict[str, Answer] = {}
    for job in jobs:
        for uri, kind in (*_read(job), *_made(job)):
            name = artifact_arn(job.region, kind, uri)
            artifact = {
                "ArtifactArn": name,
                "Source": {"SourceUri": uri, "SourceTypes": []},
                "ArtifactType": kind,
                "Properties": {},
                "CreationTime": job.creation_time,
                "LastModifiedTime": job.creation_time,
            }
            found.setdefault(name, artifact)
    return found


def query(links: list[Answer], request: Answer) -> Answer:
    """Return QueryLineage's vertices and edges: what is reached from StartArns, at most MaxDepth links away."""
    direction, depth = request.get("Direction", "Both"), request.get("MaxDepth", 10)
    starts = request.get("StartArns", [])
    reached, edges, frontier = dict.fromkeys(starts), [], set(starts)
    for _ in range(depth):
        following: set[str] = set()
        for link in links:
            ends = (link["SourceArn"], link["DestinationArn"])
            forward = direction in ("Both", "Descendants") and ends[0] in frontier
            backward = direction in ("Both", "Ascendants") and ends[1] in frontier
            if not (forward or backward):
                continue
            if link not in edges:
                edges.append(link)
            following |= {end for end in ends if end not in reached}
        if not following:
            break
        reached |= dict.fromkeys(sorted(following))
        frontier = following
    types = {link[f"{end}Arn"]: link.get(f"{end}Type", "") for link in links for end in ("Source", "Destination")}
    answer: Answer = {
        "Vertices": [
            {"Arn": arn, "Type": types.get(arn, ""), "LineageType": _lineage_type(arn)}
            for arn in reached
            if arn not in starts and _wanted(request.get("Filters", {}), types.get(arn, ""), _lineage_type(arn))
        ]
    }
    if request.get("IncludeEdges", True):
        answer["Edges"] = [
            {name: link[name] for name in ("SourceArn", "DestinationArn", "AssociationType") if name in link}
            for link in edges
        ]
    return answer


def _wanted(filters: Answer, kind: str, lineage_type: str) -> bool:
    types, lineage_types = filters.get("Types"), filters.get("LineageTypes")
    return (not types or kind in types) and (not lineage_types or lineage_type in lineage_types)


def _lineage_type(arn: str) -> str:
    kinds = {"artifact": "Artifact", "action": "Action", "context": "Context"}
    return kinds.get(arn.rpartition(":")[2].partition("/")[0], "TrialComponent")


def _read(job: Job) -> Iterator[tuple[str, str]]:
    for source in datasets(job).values():
        yield source["Value"], "DataSet"
    yield image(job), "Image"


def _made(job: Job) -> Iterator[tuple[str, str]]:
    if job.model_uri:
        yield job.model_uri, "Model"
    for uri in written(job).values():
        yield uri, "DataSet"


def _association(source: Answer, destination: Answer, kind: str, time: float) -> Answer:
    ends = {f"{side}{part}": value for side, end in _sides(source, destination) for part, value in end.items()}
    return ends | {"AssociationType": kind, "CreationTime": time, "CreatedBy": {}}


def _sides(source: Answer, destination: Answer) -> tuple[tuple[str, Answer], tuple[str, Answer]]:
    return ("Source", source), ("Destination", destination)
