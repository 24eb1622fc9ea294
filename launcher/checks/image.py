"""The training image's name: its form, its region, and whether it can change under the job.

check(job, findings)
"""

from __future__ import annotations

import re

from launcher.checks.findings import Findings
from launcher.job_file.schema import Job

_NAME = re.compile(
    r"(?P<registry>[\w.-]+(?::\d+)?/)?(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)

ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
    r"(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)


def check(job: Job, findings: Findings) -> None:
    """Add an image that SageMaker cannot pull, and a warning for one that may be another tomorrow."""
    image = re.sub(r"\{account\}", "0" * 12, job.training_image).replace("{region}", job.region)
    match = _NAME.fullmatch(image)
    if match is None:
        findings.error(
            "training_image", f"is {image!r}; write registry/repository:tag or registry/repository@sha256:..."
        )
        return
    in_vpc = job.training_image_config and job.training_image_config.training_repository_access_mode == "Vpc"
    ecr = ECR.fullmatch(image)
    if ecr is None and not in_vpc:
        message = f"is {image!r}, not in ECR: SageMaker itself pulls from ECR only"
        findings.warning("training_image", message, about_aws=True)
    if ecr and ecr["region"] != job.region:
        findings.error(
            "training_image",
            f"is in {ecr['region']}, the job in {job.region}; push it to {job.region} or change region",
        )
    if match["digest"] is None and match["tag"] in (None, "latest"):
        findings.warning("training_image", "is the latest of today, another one tomorrow; name a digest, @sha256:...")
