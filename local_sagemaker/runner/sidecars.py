"""What runs beside a training job's containers: the profiler's system metrics, and the rules."""

from __future__ import annotations

from pathlib import Path

from local_sagemaker.container_contract.paths import END_MARKER, join, split
from local_sagemaker.container_contract.startup import profiler_config
from local_sagemaker.docker_client.container_request import Image
from local_sagemaker.runner.attempt import Attempt
from local_sagemaker.runner.host_metrics import SystemMetrics
from local_sagemaker.runner.job_runner import JobRunner
from local_sagemaker.runner.rule_evaluation import RuleEvaluation
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.synchronization import Mirror


class Sidecars:
    """They begin with the first attempt, and end after the job."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self.observed: Path = runner.folder / "observed"
        """What the rules see: tensors/ and profiler/, of all hosts and attempts."""
        self._rules = RuleEvaluation(runner, self.observed)
        self._metrics: SystemMetrics | None = None

    def training_begins(self, attempt: Attempt) -> None:
        """Read the containers' cgroups if the profiler is on; evaluate the rules, if there are any."""
        job = self._runner.job
        profiler = profiler_config(job.current_request)
        if profiler is not None:
            folder = self.observed / "profiler"
            uri = join(profiler["S3OutputPath"], job.name, "profiler-output", "system")
            mirror = Mirror(folder / "system", uri, self._runner.context.objects)
            interval = profiler["ProfilingIntervalInMilliseconds"] / 1000
            self._metrics = SystemMetrics(attempt.containers, interval, folder, mirror)
            self._metrics.start()
        self._start_rules()

    def attempt_ends(self) -> None:
        """No container runs any more."""
        if self._metrics is not None:
            self._metrics.finish()
            self._metrics = None

    def training_ends(self) -> None:
        """Tell the rules, and everybody who reads from S3, that nothing more comes."""
        request = self._runner.job.current_request
        places = []
        if "DebugHookConfig" in request:
            places.append((request["DebugHookConfig"]["S3OutputPath"], "debug-output", "tensors"))
        profiler = profiler_config(request)
        if profiler is not None:
            places.append((profiler["S3OutputPath"], "profiler-output/system", "profiler/system"))
        for output, name, folder in places:
            marker = self.observed / folder / END_MARKER
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            bucket, key = split(join(output, self._runner.name, name, END_MARKER))
            if self._runner.context.objects.has_bucket(bucket):
                self._runner.context.objects.put_file(bucket, key, marker)
        tensors = self.observed / "tensors"
        if tensors.is_dir():  # rules look here, hook or no hook
            (tensors / END_MARKER).touch()

    def wait(self) -> None:
        """Wait for the rules' last evaluation, also of a job whose server was killed meanwhile."""
        if any(status.status == "InProgress" for status in self._runner.job.rules):
            self.training_ends()
            self._start_rules()
        self._rules.wait()
        safe_files.wipe(self.observed)

    def _start_rules(self) -> None:
        job = self._runner.job
        if job.image_id is not None:
            self._rules.start(Image(job.image_id, job.request["AlgorithmSpecification"]["TrainingImage"]))
