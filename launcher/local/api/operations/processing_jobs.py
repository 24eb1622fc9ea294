"""Operations on Processing jobs."""

from __future__ import annotations

from launcher.local.api.account import Account, Document
from launcher.local.api.answers.processing import description
from launcher.local.api.operations.job_kinds import PROCESSING
from launcher.local.api.rules import processing as processing_rules

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
