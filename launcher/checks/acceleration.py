"""use_amp and use_xla on machines where they cannot help.

check(job, findings)

fp16 is not supported on CPUs. Of the processors that SageMaker trains on, those with AMX compute bfloat16 fast; AMD's
with AVX512_BF16 do too (README.md, Numbers), and are not among them. XLA made the training step 1.34 times slower on
two cores of Sapphire Rapids. `auto` lets the image decide on the host itself.
"""

from __future__ import annotations

import re

from launcher.checks.findings import Findings
from launcher.checks.hyperparameters import image_setting
from launcher.job_file.schema import Job

_GPU = re.compile(r"ml\.(?:p\d|g\d)")
_AMX = re.compile(r"ml\.[cmr][78]i(?:-flex)?\.")


def check(job: Job, findings: Findings) -> None:
    """Add a warning for acceleration that is forced on where it has no hardware."""
    instance_type = job.compute.instance_type
    if not job.check_image_contract or instance_type is None or _GPU.match(instance_type):
        return
    if image_setting(job, "use_amp") == "true" and not _AMX.match(instance_type):
        findings.warning(
            "hyperparameters.use_amp",
            f'is true, but {instance_type} computes bfloat16 no faster (no AMX); use ml.c7i or ml.m7i, or "auto"',
        )
    if image_setting(job, "use_xla") == "true":
        findings.warning(
            "hyperparameters.use_xla", f'is true, but XLA slows this model down on a CPU ({instance_type}); use "auto"'
        )
