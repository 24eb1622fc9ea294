"""A Processing job from its creation to its end: inputs down, containers, outputs up.

    ProcessingLife(world, "star-rating-prepare-1", "us-east-1").run()

Its contract is not the training job's: inputs and outputs where the request says, config files in /opt/ml/config, and
what stands in /opt/ml/output/message becomes ExitMessage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from local_sagemaker.container_contract import outcome as outcomes
from local_sagemaker.container_contract.channels import ChannelError, NoObjectsError, is_sharded, objects_of, share
from local_sagemaker.container_contract.environment import command, processing_environment
from local_sagemaker.container_contract.hosts import Host
from local_sagemaker.container_contract.paths import Layout, OutsideError
from local_sagemaker.container_contract.processing import (
    as_channel,
    default_local_path,
    processing_files,
    processing_hosts,
)
from local_sagemaker.container_contract.s3_uri import UnsafeKeyError
from local_sagemaker.docker_client.container import CannotStartError, Container
from local_sagemaker.docker_client.engine import ImageMissingError
from local_sagemaker.docker_client.machines import Machine, start_machines
from local_sagemaker.document import Kind, Outcome
from local_sagemaker.runner.following import Following
from local_sagemaker.runner.images import job_image
from local_sagemaker.runner.job_life import JobLife, ShutdownError
from local_sagemaker.runner.system_metrics import HostMetrics
from local_sagemaker.runner.watch import Ending, Limits, watch
from local_sagemaker.volumes import tree
from local_sagemaker.volumes.channels import Store
from local_sagemaker.volumes.download import Transfer
from local_sagemaker.volumes.pace import CancelledError, DownloadFailedError, Pace
from local_sagemaker.volumes.synchronization import Mirror, Synchronizer

_DEFAULT_SECONDS = 24 * 3600


class ProcessingLife(JobLife):
    """One Processing job's life."""

    kind: ClassVar[Kind] = "processing"

    def live(self) -> Outcome:
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
                    self.world.objects,
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
        ending = self._run(containers, is_adopted=bool(adopted))
        not_uploaded = continuous.finish()
        outcome = self._judge(ending)
        if ending.reason == "exited" and outcome.status == "Completed":
            not_uploaded = Synchronizer(mirrors[False]).finish() or not_uploaded
        if not_uploaded is not None and outcome.status != "Failed":
            return outcomes.failed("ClientError", f"Artifact upload failed:{not_uploaded}")
        return outcome

    def _adopted(self) -> list[Container]:
        """Return the containers that a killed server has left; none if they are not all there."""
        engine, key = self.world.engine, self.job.key
        is_running = self.job.running_since is not None
        containers = engine.patiently(lambda: engine.containers("processing", key), since_start=is_running)
        complete = [container.host for container in containers] == [host.name for host in self._hosts]
        if complete and self.job.running_since is not None:
            return containers
        self.world.engine.remove_job("processing", self.job.key)
        return []

    def _begin(self, output_folders: list[Path]) -> list[Container]:
        if self.cancelled.is_set():
            raise CancelledError
        request = self.job.request
        hosts = tuple(host.name for host in self._hosts)
        self.begin_running(lambda job, _: job.changed(hosts=hosts))
        tree.wipe(self.folder / "hosts")
        for host in self._hosts:
            self._fill(host)
        for folder in output_folders:
            folder.mkdir(parents=True, exist_ok=True)
        image = job_image(self, request["AppSpecification"]["ImageUri"])
        job = self.change(lambda job: job.changed(image_id=image.id))
        containers = start_machines(
            self.world,
            job,
            image,
            command(request["AppSpecification"], default=[]),
            processing_environment(request, job.arn, job.region),
            [Machine(host.name, tuple(self._layouts[host.name].binds())) for host in self._hosts],
            isolated=bool(request.get("NetworkConfig", {}).get("EnableNetworkIsolation")),
        )
        self.enter("Training", "Processing in progress")
        return containers

    def _fill(self, host: Host) -> None:
        """Make one host's disk."""
        request, layout = self.job.request, self._layouts[host.name]
        config = layout.inside("config")
        for folder in (config, layout.inside("output")):
            folder.mkdir(parents=True)
        for name, content in processing_files(request, self.job.arn, host, self._hosts).items():
            (config / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        transfer = Transfer(self.world.objects, Pace(self.cancelled))
        for processing_input in request.get("ProcessingInputs", []):
            if "S3Input" not in processing_input:
                raise ChannelError(f"the input {processing_input['InputName']} is not in S3, and nothing else is here")
            channel = as_channel(processing_input)
            items = objects_of(channel, Store(self.world.objects))
            path = processing_input["S3Input"].get("LocalPath") or default_local_path(processing_input)
            transfer.copy(share(items, host, self._hosts) if is_sharded(channel) else items, layout.place(path))

    def _run(self, containers: list[Container], *, is_adopted: bool) -> Ending:
        job = self.job
        assert job.running_since is not None
        Following(self, containers, int(job.running_since), adopted=is_adopted).start()
        longest = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_SECONDS)
        with HostMetrics(self, containers):
            return watch(containers, self.inbox, Limits(self.stop_seconds(), longest - self.running_seconds()))

    def _judge(self, ending: Ending) -> Outcome:
        if ending.reason == "stopped":
            return outcomes.STOPPED
        if ending.reason == "max-runtime":
            return outcomes.failed("ClientError", "The job ran longer than MaxRuntimeInSeconds.")
        if ending.broken is not None:
            return outcomes.failed("ClientError", ending.broken)
        if ending.reason != "exited":
            return outcomes.failed(outcomes.INTERNAL_ERROR, "A host was lost.")
        message = self._message(ending.failed_host or self._hosts[0].name)
        if message is not None:
            self.change(lambda job: job.changed(exit_message=message))
        if ending.failed_host is None:
            return outcomes.COMPLETED
        exit_ = ending.exits[ending.failed_host]
        return outcomes.of_exit(exit_.code, message, was_out_of_memory=exit_.was_out_of_memory)

    def _message(self, host: str) -> str | None:
        content = tree.read(self._layouts[host].inside("output"), "message", 4096)
        return None if content is None else content.decode("utf-8", "replace")[: outcomes.LONGEST_REASON]
