"""Service Quotas of the emulator's account, for SageMaker's instance types."""

from __future__ import annotations

import zlib
from typing import Any

from launcher.request.shapes import service_model
from local_sagemaker.api.paging import page_of
from local_sagemaker.api.request_context import RequestContext
from local_sagemaker.state import ACCOUNT, REGION

INSTANCES = 20.0
"""Of each type, for each kind of job. A job here takes a container a host, however its type is called."""

_USES = ("training job usage", "spot training job usage", "processing job usage")


def list_service_quotas(_context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
    """ListServiceQuotas: other services have no quotas here."""
    if request["ServiceCode"] != "sagemaker":
        return {"Quotas": []}
    types = service_model().shape_for("TrainingInstanceType").enum
    quotas = [_quota(f"{instance_type} for {use}") for instance_type in types for use in _USES]
    page = page_of(
        quotas, request, key=lambda quota: quota["QuotaName"], name=lambda quota: quota["QuotaCode"], size=100
    )
    return page.answer("Quotas")


def _quota(name: str) -> dict[str, Any]:
    code = f"L-{zlib.crc32(name.encode()):08X}"
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:sagemaker/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": INSTANCES,
        "Unit": "None",
        "Adjustable": False,
        "GlobalQuota": False,
    }
