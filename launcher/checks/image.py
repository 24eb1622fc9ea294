"""The training image's name: its form, its region, and whether it can change under the job.

check(job, diagnostics)
"""

from __future__ import annotations

import re

from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Job

_NAME = re.compile(
    r"(?P<registry>[\w.-]+(?::\d+)?/)?(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)

_DOMAINS = (
    r"amazonaws\.com(?:\.cn)?",
    r"amazonaws\.eu",
    r"c2s\.ic\.gov",
    r"sc2s\.sgov\.gov",
    r"cloud\.adc-e\.uk",
    r"csp\.hci\.ic\.gov",
)
"""Of AWS's partitions, as botocore's partitions.json has them."""

_DUAL_STACK_DOMAINS = (r"on\.aws(?:\.[a-z.-]+)?", r"on\.amazonwebservices\.(?:com\.cn|eu)")

_REGION = r"(?:-fips)?\.(?P<{}>[a-z0-9-]+)\."

ECR = re.compile(
    rf"(?P<account>\d{{12}})\.(?:dkr\.ecr{_REGION.format('region')}(?:{'|'.join(_DOMAINS)})"
    rf"|dkr-ecr{_REGION.format('dual_region')}(?:{'|'.join(_DUAL_STACK_DOMAINS)}))/(?P<repository>[^:@]+)"
    r"(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
"""A registry's host by IPv4, or by both (dkr-ecr), with FIPS or without, in every partition."""


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add an image that SageMaker cannot pull, and a warning for one that may be another tomorrow."""
    image = re.sub(r"\{account\}", "0" * 12, job.training_image).replace("{region}", job.region)
    match = _NAME.fullmatch(image)
    if match is None:
        diagnostics.error(
            "training_image", f"is {image!r}; write registry/repository:tag or registry/repository@sha256:..."
        )
        return
    in_vpc = job.training_image_config and job.training_image_config.training_repository_access_mode == "Vpc"
    ecr = ECR.fullmatch(image)
    if ecr is None and not in_vpc:
        message = f"is {image!r}, not in ECR: SageMaker itself pulls from ECR only"
        diagnostics.warning("training_image", message, about_aws=True)
    region = ecr and (ecr["region"] or ecr["dual_region"])
    if region and region != job.region:
        diagnostics.error(
            "training_image", f"is in {region}, the job in {job.region}; push it to {job.region} or change region"
        )
    if match["digest"] is None and match["tag"] in (None, "latest"):
        diagnostics.warning(
            "training_image", "is the latest of today, another one tomorrow; name a digest, @sha256:..."
        )
