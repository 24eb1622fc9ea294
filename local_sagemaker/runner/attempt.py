"""One attempt at a training job: its hosts, from empty volumes to ended containers.

attempt = Attempt(runner, observed)
attempt.prepare(throttle)   # volumes, channels, config files, checkpoints
attempt.start(image)        # containers; or attempt.adopt(): those that a killed server has left
attempt.finish()            # last synchronization with S3
"""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.channels import ChannelError
from local_sagemaker.container_contract.hosts import hosts_of
from local_sagemaker.container_contract.paths import (
    CHECKPOINTS,
    END_MARKER,
    PROFILER,
    TENSORBOARD,
    TENSORS,
    Layout,
    join,
)
from local_sagemaker.container_contract.startup import command, config_files, profiler_config, training_environment
from local_sagemaker.docker_client.container import Container
from local_sagemaker.docker_client.container_request import Image
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.runner.messages import Broken
from local_sagemaker.runner.provisioning import start_containers
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.channels import Channels
from local_sagemaker.volumes.download import Throttle
from local_sagemaker.volumes.pipes import PipeFeeder
from local_sagemaker.volumes.synchronization import Mirror, Synchronizer, restore

_log = logging.getLogger(__name__)


class Attempt:
    """What is made anew each time that a job begins."""

    def __init__(self, runner: JobRunner, observed: Path) -> None:
        self._runner = runner
        self._request: dict[str, Any] = runner.job.current_request
        self.hosts = hosts_of(self._request["ResourceConfig"])
        self.layouts = {host.name: Layout(runner.folder / "hosts" / host.name) for host in self.hosts}
        self.containers: list[Container] = []
        self.is_adopted = False
        """Whether its containers were another server's."""
        self._feeders: list[PipeFeeder] = []
        self._isolated = bool(self._request.get("EnableNetworkIsolation"))
        self._checkpoints = self._place_checkpoints()
        self._mirrors = [*self._checkpoints, *self._output_mirrors(observed)]
        self._synchronizer = Synchronizer(self._mirrors)

    @property
    def has_volumes(self) -> bool:
        """Whether the hosts' volumes are still there."""
        return any(layout.root.is_dir() for layout in self.layouts.values())

    def prepare(self, throttle: Throttle) -> None:
        """Make the hosts' volumes; raise ChannelError and what a Throttle raises."""
        safe_files.wipe(self._runner.folder / "hosts")
        channels = Channels(self._request, self.hosts, self._runner.context.objects, throttle)
        for host in self.hosts:
            layout = self.layouts[host.name]
            for folder in ("input/config", "model", "output/data"):
                layout.inside(folder).mkdir(parents=True)
            channels.fill(host, layout)
            self._feeders += channels.pipes(host, layout, self._pipe_failed)
            for mounted in layout.mounts.values():
                mounted.mkdir(parents=True, exist_ok=True)
        self.write_config_files()
        for mirror in self._checkpoints:
            restore(mirror, self._runner.context.objects, throttle)

    def _pipe_failed(self, error: Exception) -> None:
        """End the job whose channel cannot be read to its end."""
        if not isinstance(error, ChannelError):
            _log.error("a pipe of %s", self._runner.name, exc_info=error)
        self._runner.send(Broken(f"Data download failed:{error}"))

    def write_config_files(self) -> None:
        """Write /opt/ml/input/config; again when UpdateTrainingJob has changed the request."""
        request = self._runner.job.current_request
        for host in self.hosts:
            folder = self.layouts[host.name].inside("input", "config")
            interface = "lo" if self._isolated and len(self.hosts) == 1 else "eth0"
            try:
                for name, content in config_files(request, host, self.hosts, interface).items():
                    safe_files.replace(folder, name, json.dumps(content, indent=1).encode())
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                self._runner.note(host.name, "/opt/ml/input/config is no folder any more: its files stay as they were")

    def start(self, image: Image) -> None:
        """Start a container for each host; raise CannotStartError, EngineError."""
        job = self._runner.job
        for feeder in self._feeders:
            feeder.start()
        self.containers = start_containers(
            self._runner,
            image,
            command(self._request["AlgorithmSpecification"], default=["train"]),
            training_environment(self._request, job.arn, job.region),
            self.layouts,
            isolated=self._isolated,
        )
        self._synchronizer.start()

    def adopt(self) -> bool:
        """Take over the containers of a server that was killed; False if they are not all there.

        With pipes there is nothing to take over: what fed them has died, and their readers have seen an early end.
        """
        job = self._runner.job
        engine = self._runner.context.engine
        self.containers = engine.retry(lambda: engine.containers("training", job.key, job.attempt), since_start=True)
        modes = {channel.get("InputMode") for channel in self._request.get("InputDataConfig", [])}
        has_pipes = "Pipe" in {*modes, self._request["AlgorithmSpecification"]["TrainingInputMode"]}
        if has_pipes or [container.host for container in self.containers] != [host.name for host in self.hosts]:
            return False
        if len(self.hosts) == 1:
            for mirror in self._checkpoints:
                mirror.adopted()
        self._synchronizer.start()
        self.is_adopted = True
        return True

    def finish(self, lost_host: str | None = None) -> str | None:
        """End what goes on beside the containers, which have ended; of a lost host nothing more is to be had.

        Return why S3 does not have all that it was to get; None if it has.
        """
        for feeder in self._feeders:
            feeder.stop()
        return self._synchronizer.finish(self.layouts[lost_host].folder if lost_host else None)

    def failure(self, host: str) -> str | None:
        """Return a host's failure file; None if there is none."""
        content = safe_files.read(self.layouts[host].inside("output"), "failure", 1 << 16)
        return None if content is None else content.decode("utf-8", "replace")

    def _place_checkpoints(self) -> list[Mirror]:
        config = self._request.get("CheckpointConfig")
        if config is None:
            return []
        return [
            Mirror(
                self.layouts[host.name].place(config.get("LocalPath") or CHECKPOINTS, mounted=True),
                config["S3Uri"],
                self._runner.context.objects,
                deletes=True,
                selection=self._runner.selection(host.name),
            )
            for host in self.hosts
        ]

    def _output_mirrors(self, observed: Path) -> list[Mirror]:
        """Return what is sent to S3 while the job runs; rules see a copy of tensors and profile below `observed`."""
        hook, profiler = self._request.get("DebugHookConfig"), profiler_config(self._request)
        tensorboard = self._request.get("TensorBoardOutputConfig")
        wanted: list[tuple[str, dict[str, Any], str, Path | None]] = []
        if hook:
            wanted.append((hook.get("LocalPath") or TENSORS, hook, "debug-output", observed / "tensors"))
        if profiler:
            local_path = profiler["ProfilingParameters"].get("LocalPath") or PROFILER
            wanted.append((local_path, profiler, "profiler-output", observed / "profiler"))
        if tensorboard:
            wanted.append((tensorboard.get("LocalPath") or TENSORBOARD, tensorboard, "tensorboard-output", None))
        return [
            Mirror(
                self.layouts[host.name].place(path),
                join(config["S3OutputPath"], self._runner.name, name),
                self._runner.context.objects,
                copy=copy,
                # The platform's own: it writes them itself.
                leaves_out={"profiler-output": "system", "debug-output": END_MARKER}.get(name),
                selection=self._runner.selection(host.name),
            )
            for path, config, name, copy in wanted
            for host in self.hosts
        ]
