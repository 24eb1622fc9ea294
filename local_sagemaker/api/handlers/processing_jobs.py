"""Operations on Processing jobs."""

from __future__ import annotations

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.handlers.job_kinds import PROCESSING
from local_sagemaker.api.serializers.processing import description
from local_sagemaker.api.validators import processing as processing_rules

list_processing_jobs = PROCESSING.list
stop_processing_job = PROCESSING.stop
delete_processing_job = PROCESSING.delete


def create_processing_job(account: Account, request: Document) -> Document:
    """CreateProcessingJob."""
    processing_rules.refuse_contradictions(request)
    return PROCESSING.create(account, request)


def describe_processing_job(account: Account, request: Document) -> Document:
    """DescribeProcessingJob."""
    return description(PROCESSING.job(account, request))
