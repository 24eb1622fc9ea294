"""A Processing job from its creation to its end: inputs down, containers, outputs up.

    ProcessingJobRunner(context, "star-rating-prepare-1", "us-east-1").run()

Its contract is not the training job's: inputs and outputs where the request says, config files in /opt/ml/config, and
what stands in /opt/ml/output/message becomes ExitMessage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from local_sagemaker.container_contract import outcome as outcomes
from local_sagemaker.container_contract.channels import ChannelError, NoObjectsError, is_sharded, objects_of, share
from local_sagemaker.container_contract.hosts import Host
from local_sagemaker.container_contract.paths import Layout, OutsideError, UnsafeKeyError
from local_sagemaker.container_contract.processing import (
    as_channel,
    default_local_path,
    processing_files,
    processing_hosts,
)
from local_sagemaker.container_contract.startup import command, processing_environment
from local_sagemaker.docker_client.container import CannotStartError, Container
from local_sagemaker.docker_client.engine import ImageMissingError
from local_sagemaker.job_state import Kind, Outcome
from local_sagemaker.runner.container_watch import AttemptResult, Limits, wait_for_containers
from local_sagemaker.runner.host_metrics import HostMetrics
from local_sagemaker.runner.job_runner import JobRunner, ShutdownError
from local_sagemaker.runner.log_follower import LogFollower
from local_sagemaker.runner.provisioning import job_image, start_containers
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.channels import BucketReader
from local_sagemaker.volumes.download import CancelledError, DownloadFailedError, Throttle, Transfer
from local_sagemaker.volumes.synchronization import Mirror, Synchronizer

_DEFAULT_SECONDS = 24 * 3600


class ProcessingJobRunner(JobRunner):
    """Runs one Processing job."""

    kind: ClassVar[Kind] = "processing"

    def execute(self) -> Outcome:
        """Run the containers and bring their outputs to S3."""
        request = self.job.request
        self._hosts = processing_hosts(request)
        self._layouts = {host.name: Layout(self.folder / "hosts" / host.name) for host in self._hosts}
        output_config = request.get("ProcessingOutputConfig", {})
        mirrors = {
            continuous: [
                Mirror(
                    self._layouts[host.name].place(output["S3Output"]["LocalPath"]),
                    output["S3Output"]["S3Uri"],
                    self.context.objects,
                    selection=self.selection(host.name),
                )
                for output in output_config.get("Outputs", [])
                if "S3Output" in output and (output["S3Output"]["S3UploadMode"] == "Continuous") is continuous
                for host in self._hosts
            ]
            for continuous in (True, False)
        }
        try:
            adopted = self._adopted()
            containers = adopted or self._begin([mirror.folder for kind in mirrors.values() for mirror in kind])
        except (ChannelError, UnsafeKeyError, OutsideError, DownloadFailedError) as error:
            text = f"no objects under {error.uri}" if isinstance(error, NoObjectsError) else str(error)
            return outcomes.failed("ClientError", f"Data download failed:{text}")
        except (ImageMissingError, CannotStartError) as error:
            return outcomes.failed("ClientError", str(error))
        except CancelledError:
            if self.shutting_down.is_set():
                raise ShutdownError from None
            return outcomes.STOPPED
        continuous = Synchronizer(mirrors[True])
        continuous.start()
        result = self._run(containers, is_adopted=bool(adopted))
        not_uploaded = continuous.finish()
        outcome = self._judge(result)
        if result.reason == "exited" and outcome.status == "Completed":
            not_uploaded = Synchronizer(mirrors[False]).finish() or not_uploaded
        if not_uploaded is not None and outcome.status != "Failed":
            return outcomes.failed("ClientError", f"Artifact upload failed:{not_uploaded}")
        return outcome

    def _adopted(self) -> list[Container]:
        """Return the containers that a killed server has left; none if they are not all there."""
        engine, key = self.context.engine, self.job.key
        is_running = self.job.running_since is not None
        containers = engine.retry(lambda: engine.containers("processing", key), since_start=is_running)
        complete = [container.host for container in containers] == [host.name for host in self._hosts]
        if complete and self.job.running_since is not None:
            return containers
        self.context.engine.remove_job("processing", self.job.key)
        return []

    def _begin(self, output_folders: list[Path]) -> list[Container]:
        if self.cancelled.is_set():
            raise CancelledError
        request = self.job.request
        hosts = tuple(host.name for host in self._hosts)
        self.begin_running(lambda job, _: job.changed(hosts=hosts))
        safe_files.wipe(self.folder / "hosts")
        for host in self._hosts:
            self._fill(host)
        for folder in output_folders:
            folder.mkdir(parents=True, exist_ok=True)
        image = job_image(self, request["AppSpecification"]["ImageUri"])
        job = self.change(lambda job: job.changed(image_id=image.id))
        containers = start_containers(
            self,
            image,
            command(request["AppSpecification"], default=[]),
            processing_environment(request, job.arn, job.region),
            self._layouts,
            isolated=bool(request.get("NetworkConfig", {}).get("EnableNetworkIsolation")),
        )
        self.enter("Training", "Processing in progress")
        return containers

    def _fill(self, host: Host) -> None:
        """Make one host's volume."""
        request, layout = self.job.request, self._layouts[host.name]
        config = layout.inside("config")
        for folder in (config, layout.inside("output")):
            folder.mkdir(parents=True)
        for name, content in processing_files(request, self.job.arn, host, self._hosts).items():
            (config / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        transfer = Transfer(self.context.objects, Throttle(self.cancelled))
        for processing_input in request.get("ProcessingInputs", []):
            if "S3Input" not in processing_input:
                raise ChannelError(f"the input {processing_input['InputName']} is not in S3, and nothing else is here")
            channel = as_channel(processing_input)
            items = objects_of(channel, BucketReader(self.context.objects))
            path = processing_input["S3Input"].get("LocalPath") or default_local_path(processing_input)
            transfer.copy(share(items, host, self._hosts) if is_sharded(channel) else items, layout.place(path))

    def _run(self, containers: list[Container], *, is_adopted: bool) -> AttemptResult:
        job = self.job
        assert job.running_since is not None
        LogFollower(self, containers, int(job.running_since), adopted=is_adopted).start()
        longest = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_SECONDS)
        with HostMetrics(self, containers):
            return wait_for_containers(
                containers, self.inbox, Limits(self.stop_seconds(), longest - self.running_seconds())
            )

    def _judge(self, result: AttemptResult) -> Outcome:
        if result.reason == "stopped":
            return outcomes.STOPPED
        if result.reason == "max-runtime":
            return outcomes.failed("ClientError", "The job ran longer than MaxRuntimeInSeconds.")
        if result.broken is not None:
            return outcomes.failed("ClientError", result.broken)
        if result.reason != "exited":
            return outcomes.failed(outcomes.INTERNAL_ERROR, "A host was lost.")
        message = self._message(result.failed_host or self._hosts[0].name)
        if message is not None:
            self.change(lambda job: job.changed(exit_message=message))
        if result.failed_host is None:
            return outcomes.COMPLETED
        exit_ = result.exits[result.failed_host]
        return outcomes.of_exit(exit_.code, message, was_out_of_memory=exit_.was_out_of_memory)

    def _message(self, host: str) -> str | None:
        content = safe_files.read(self._layouts[host].inside("output"), "message", 4096)
        return None if content is None else content.decode("utf-8", "replace")[: outcomes.LONGEST_REASON]
