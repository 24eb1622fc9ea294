"""How a job ends: exit codes and events as SageMaker's statuses and FailureReason.

of_exit(11, "The train channel is empty.", was_out_of_memory=False).failure_reason
# AlgorithmError: The train channel is empty., exit code: 11
"""

from __future__ import annotations

from local_sagemaker.job_state import Outcome

LONGEST_REASON = 1024
"""Characters of FailureReason."""

COMPLETED = Outcome(status="Completed", secondary_status="Completed", message="Training job completed")
STOPPED = Outcome(status="Stopped", secondary_status="Stopped", message="Training job stopped")
MAX_RUNTIME = Outcome(
    status="Stopped",
    secondary_status="MaxRuntimeExceeded",
    message="Training job runtime exceeded MaxRuntimeInSeconds provided",
)
MAX_WAIT = Outcome(
    status="Stopped",
    secondary_status="MaxWaitTimeExceeded",
    message="Training job wait time exceeded MaxWaitTimeInSeconds provided",
)


def failed(kind: str, text: str) -> Outcome:
    """Return a failure; `kind` is AlgorithmError, ClientError, InternalServerError or CapacityError."""
    return Outcome(
        status="Failed",
        secondary_status="Failed",
        message="Training job failed",
        failure_reason=f"{kind}: {text}"[:LONGEST_REASON],
    )


def of_exit(exit_code: int, failure: str | None, *, was_out_of_memory: bool) -> Outcome:
    """Return how a job ends whose container ended with a code that is not 0; `failure` is its failure file."""
    suffix = f", exit code: {exit_code}"
    if failure is None and was_out_of_memory:
        text = "Please use an instance type with more memory, or reduce the size of job data processed on an instance."
        return failed("ClientError", f"{text}{suffix}")
    text = (failure or "").strip()[: LONGEST_REASON - len("AlgorithmError: ") - len(suffix)]
    return failed("AlgorithmError", f"{text}{suffix}")


def no_objects(uri: str, region: str, role: str, bucket: str) -> Outcome:
    """Return SageMaker's answer to a channel without data, word for word."""
    return failed(
        "ClientError",
        f'Data download failed:No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that '
        f"the bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and that the "
        f'role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".',
    )


INTERNAL_ERROR = "InternalServerError"
"""The platform's own failures; the only ones that RetryStrategy starts again for."""
