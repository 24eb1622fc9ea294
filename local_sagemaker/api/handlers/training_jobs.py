"""Operations on training jobs."""

from __future__ import annotations

from local_sagemaker.api.account import Account, Document
from local_sagemaker.api.handlers.job_kinds import TRAINING
from local_sagemaker.api.names import job_arn
from local_sagemaker.api.serializers.training import description
from local_sagemaker.api.validators import training as training_rules
from local_sagemaker.api.validators.data import refuse_empty_channels
from local_sagemaker.errors import invalid

list_training_jobs = TRAINING.list
stop_training_job = TRAINING.stop
delete_training_job = TRAINING.delete


def create_training_job(account: Account, request: Document) -> Document:
    """CreateTrainingJob."""
    training_rules.refuse_contradictions(request)
    refuse_empty_channels(request, account.objects, account.region)
    return TRAINING.create(account, request)


def describe_training_job(account: Account, request: Document) -> Document:
    """DescribeTrainingJob."""
    return description(TRAINING.job(account, request))


def update_training_job(account: Account, request: Document) -> Document:
    """UpdateTrainingJob: Profiler while the job runs, the warm pool's time, remote debugging."""
    job = TRAINING.job(account, request)
    if job.has_ended:
        raise TRAINING.in_status(job.status)
    now = job.current_request
    if "RemoteDebugConfig" in request and now.get("EnableNetworkIsolation"):
        raise invalid("EnableRemoteDebug is not supported when EnableNetworkIsolation is set to true")
    replaced = ("ProfilerRuleConfigurations", "RemoteDebugConfig")
    changed: Document = {field: request[field] for field in replaced if field in request}
    for field in ("ProfilerConfig", "ResourceConfig"):
        if field in request:
            changed[field] = now.get(field, {}) | request[field]
    training_rules.refuse_contradictions(now | changed)
    return {"TrainingJobArn": job_arn(account.jobs.update("training", job.name, changed, job.region))}
