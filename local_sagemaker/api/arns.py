"""ARNs and names that SageMaker derives from a job. Pure.

arn("us-east-1", "training-job", "star-rating-1")   # arn:aws:sagemaker:us-east-1:<account>:training-job/star-rating-1
"""

from __future__ import annotations

import hashlib

from local_sagemaker.job_state import Job, Kind
from local_sagemaker.state import ACCOUNT

_PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b"}
"""First part of a region's name -> its partition, where that is not aws."""

_JOB_KINDS: dict[Kind, str] = {"training": "training-job", "processing": "processing-job"}


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a resource of this account."""
    partition = _PARTITIONS.get(region.rsplit("-", 2)[0], "aws")
    return f"arn:{partition}:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


def job_arn(job: Job) -> str:
    """Return a job's ARN."""
    return arn(job.region, _JOB_KINDS[job.kind], job.name)


def component_name(job: Job) -> str:
    """Return the name of the trial component that SageMaker makes of a job."""
    return f"{job.name}-aws-{_JOB_KINDS[job.kind]}"


def component_arn(job: Job) -> str:
    """Return the ARN of a job's trial component; SageMaker writes it in lower case."""
    return arn(job.region, "experiment-trial-component", component_name(job).lower())


def artifact_arn(region: str, artifact_type: str, uri: str) -> str:
    """Return the ARN of the artifact that stands for a data set, an image or a model: one for the same thing."""
    return arn(region, "artifact", hashlib.md5(f"{artifact_type} {uri}".encode(), usedforsecurity=False).hexdigest())


def rule_job_arn(job: Job, rule: str) -> str:
    """Return the ARN of the Processing job that evaluates a rule: <job>-<rule>-<8 hex digits>, each cut to 26."""
    digest = hashlib.md5(f"{job.name} {rule}".encode(), usedforsecurity=False).hexdigest()[:8]
    return arn(job.region, "processing-job", f"{job.name[:26]}-{rule[:26].lower()}-{digest}")
