"""What an operation works with: the jobs, the stored entities, S3, and the region that it was asked in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local_sagemaker.api.arns import arn
from local_sagemaker.entity_store import EntityStore
from local_sagemaker.errors import ApiError, not_found
from local_sagemaker.job_service import JobService, NoSuchJobError
from local_sagemaker.job_state import Job, Kind
from local_sagemaker.runner.hosting import Hosting
from local_sagemaker.runner.transform_job import Transforms
from local_sagemaker.runner.tuning_job import Tuner
from local_sagemaker.services.s3_store import ObjectStore
from local_sagemaker.state import AccountAge

Document = dict[str, Any]


@dataclass(frozen=True)
class Running:
    """What runs beside the jobs."""

    hosting: Hosting
    transforms: Transforms
    tuner: Tuner


@dataclass(frozen=True)
class RequestContext:
    """An account as it is seen in one region."""

    jobs: JobService
    records: EntityStore
    objects: ObjectStore
    region: str
    account: AccountAge = "old"
    running: Running | None = None
    """Without it endpoints, transform and tuning jobs stay as they were created."""

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource in this region."""
        return arn(self.region, kind, name)

    def job(self, kind: Kind, name: str) -> Job:
        """Return a job of this region; raise ApiError as Describe and Stop do."""
        try:
            return self.jobs.get(kind, name, self.region)
        except NoSuchJobError:
            raise not_found() from None

    def all_jobs(self, kind: Kind) -> list[Job]:
        """Return the jobs of a kind in this region, oldest first."""
        return [job for job in self.jobs.list(kind) if job.region == self.region]

    def every_job(self) -> list[Job]:
        """Return the jobs of both kinds in this region."""
        return [*self.all_jobs("training"), *self.all_jobs("processing")]

    def record(self, kind: str, name: str, what: str) -> Document:
        """Return a record of this region; raise ResourceNotFound."""
        record = self.records.get(kind, f"{self.region}/{name}")
        if record is None:
            raise ApiError("ResourceNotFound", f"{what} '{self.arn(kind, name.lower())}' does not exist.")
        return record

    def all_records(self, kind: str, field: str) -> list[Document]:
        """Return the records of a kind in this region; `field` is the one with their ARN."""
        return [record for record in self.records.all(kind) if record[field].split(":")[3] == self.region]
