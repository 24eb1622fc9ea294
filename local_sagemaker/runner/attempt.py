"""One attempt at a training job: its hosts, from empty disks to ended containers.

attempt = Attempt(life, observed)
attempt.prepare(pace)   # disks, channels, config files, checkpoints
attempt.start(image)    # containers; or attempt.adopt(): those that a killed server has left
attempt.finish()        # last look at what is kept in step with S3
"""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path
from typing import Any

from local_sagemaker.container_contract.channels import ChannelError
from local_sagemaker.container_contract.config_files import config_files, profiler_config
from local_sagemaker.container_contract.environment import command, training_environment
from local_sagemaker.container_contract.hosts import hosts_of
from local_sagemaker.container_contract.paths import CHECKPOINTS, END_MARKER, PROFILER, TENSORBOARD, TENSORS, Layout
from local_sagemaker.container_contract.s3_uri import join
from local_sagemaker.docker_client.container import Container
from local_sagemaker.docker_client.machines import Machine, start_machines
from local_sagemaker.docker_client.request import Image
from local_sagemaker.runner.job_life import JobLife
from local_sagemaker.runner.messages import Broken
from local_sagemaker.volumes import tree
from local_sagemaker.volumes.channels import Channels
from local_sagemaker.volumes.pace import Pace
from local_sagemaker.volumes.pipes import PipeFeeder
from local_sagemaker.volumes.restore import restore
from local_sagemaker.volumes.synchronization import Mirror, Synchronizer

_log = logging.getLogger(__name__)


class Attempt:
    """What is made anew each time that a job begins."""

    def __init__(self, life: JobLife, observed: Path) -> None:
        self._life = life
        self._request: dict[str, Any] = life.job.current_request
        self.hosts = hosts_of(self._request["ResourceConfig"])
        self.layouts = {host.name: Layout(life.folder / "hosts" / host.name) for host in self.hosts}
        self.containers: list[Container] = []
        self.is_adopted = False
        """Whether its containers were another server's."""
        self._feeders: list[PipeFeeder] = []
        self._isolated = bool(self._request.get("EnableNetworkIsolation"))
        self._checkpoints = self._place_checkpoints()
        self._mirrors = [*self._checkpoints, *self._output_mirrors(observed)]
        self._synchronizer = Synchronizer(self._mirrors)

    @property
    def has_disks(self) -> bool:
        """Whether the hosts' disks are still there."""
        return any(layout.root.is_dir() for layout in self.layouts.values())

    def prepare(self, pace: Pace) -> None:
        """Make the hosts' disks; raise ChannelError and what a Pace raises."""
        tree.wipe(self._life.folder / "hosts")
        channels = Channels(self._request, self.hosts, self._life.world.objects, pace)
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
            restore(mirror, self._life.world.objects, pace)

    def _pipe_failed(self, error: Exception) -> None:
        """End the job whose channel cannot be read to its end."""
        if not isinstance(error, ChannelError):
            _log.error("a pipe of %s", self._life.name, exc_info=error)
        self._life.send(Broken(f"Data download failed:{error}"))

    def write_config_files(self) -> None:
        """Write /opt/ml/input/config; again when UpdateTrainingJob has changed the request."""
        request = self._life.job.current_request
        for host in self.hosts:
            folder = self.layouts[host.name].inside("input", "config")
            interface = "lo" if self._isolated and len(self.hosts) == 1 else "eth0"
            try:
                for name, content in config_files(request, host, self.hosts, interface).items():
                    tree.replace(folder, name, json.dumps(content, indent=1).encode())
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                self._life.note(host.name, "/opt/ml/input/config is no folder any more: its files stay as they were")

    def start(self, image: Image) -> None:
        """Start a container for each host; raise CannotStartError, EngineError."""
        job = self._life.job
        for feeder in self._feeders:
            feeder.start()
        self.containers = start_machines(
            self._life.world,
            job,
            image,
            command(self._request["AlgorithmSpecification"], default=["train"]),
            training_environment(self._request, job.arn, job.region),
            [Machine(host.name, tuple(self.layouts[host.name].binds())) for host in self.hosts],
            isolated=self._isolated,
        )
        self._synchronizer.start()

    def adopt(self) -> bool:
        """Take over the containers of a server that was killed; False if they are not all there.

        With pipes there is nothing to take over: what fed them has died, and their readers have seen an early end.
        """
        job = self._life.job
        engine = self._life.world.engine
        self.containers = engine.patiently(
            lambda: engine.containers("training", job.key, job.attempt), since_start=True
        )
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
        content = tree.read(self.layouts[host].inside("output"), "failure", 1 << 16)
        return None if content is None else content.decode("utf-8", "replace")

    def _place_checkpoints(self) -> list[Mirror]:
        config = self._request.get("CheckpointConfig")
        if config is None:
            return []
        return [
            Mirror(
                self.layouts[host.name].place(config.get("LocalPath") or CHECKPOINTS, mounted=True),
                config["S3Uri"],
                self._life.world.objects,
                deletes=True,
                selection=self._life.selection(host.name),
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
                join(config["S3OutputPath"], self._life.name, name),
                self._life.world.objects,
                copy=copy,
                # The platform's own: it writes them itself.
                leaves_out={"profiler-output": "system", "debug-output": END_MARKER}.get(name),
                selection=self._life.selection(host.name),
            )
            for path, config, name, copy in wanted
            for host in self.hosts
        ]
