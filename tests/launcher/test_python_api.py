"""The Python API does what the command line does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.aws.following import Phase
from launcher.aws.notebook import Table, job_html
from launcher.aws.summary import console_links, summary
from launcher.cli.main import main
from launcher.errors import ExitCode, JobFailedError, JobStoppedError, WaitTimeoutError
from tests.helpers.job_files import write
from tests.helpers.sagemaker_stand_in import SCRIPTS, StandIn


@pytest.fixture
def job(tmp_path: Path) -> Any:
    return launcher.load_job(write(tmp_path / "job.toml", {}), {"hyperparameters.epochs": 2})


def submitted(job: Any, name: str) -> launcher.TrainingJob:
    return launcher.TrainingJob.submit(launcher.build_request(job, name), region=job.region)


def test_a_job_from_file_to_model(aws: StandIn, job: Any, tmp_path: Path) -> None:
    training_job = submitted(job, "api")
    assert training_job.wait(poll_interval=0.05)["TrainingJobStatus"] == "Completed"
    assert training_job.arn == launcher.TrainingJob.attach("api").arn
    assert [line.text for line in training_job.logs()] == [text for _, text in aws.log]
    assert [row["metric"] for row in training_job.metrics()] == ["train:loss", "test:accuracy"]
    downloaded = training_job.download(tmp_path / "out")
    assert downloaded.evaluation is not None
    assert downloaded.files == 2
    assert aws.jobs["api"].request["HyperParameters"] == {"epochs": "2"}


def test_the_request_is_that_of_a_dry_run(job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--file", str(tmp_path / "job.toml"), "--set", "hyperparameters.epochs=2", "--job-name", "same"]
    assert main([*command, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out) == launcher.build_request(job, "same")


def test_events_come_as_they_happen(aws: StandIn, job: Any) -> None:
    training_job = submitted(job, "events")
    phases = [event.status for event in training_job.follow(poll_interval=0.05) if isinstance(event, Phase)]
    assert phases == [step.secondary for step in SCRIPTS["completed"]]
    assert "DescribeTrainingJob" in aws.calls


def test_events_print_as_lines(aws: StandIn, job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    training_job = submitted(job, "printed")
    assert training_job.show(poll_interval=0.05) is training_job
    shown = capsys.readouterr().out.splitlines()
    phases = [line.split()[2] for line in shown if line.startswith("--- ")]
    assert phases == [step.secondary for step in SCRIPTS["completed"]]
    assert [line for line in shown if not line.startswith("--- ")] == [text for _, text in aws.log]
    assert {str(line) for line in training_job.logs()} == {f"algo-1 {text}" for _, text in aws.log}


def test_a_job_is_shown_with_its_status_and_links(aws: StandIn, job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    training_job = submitted(job, "shown")
    assert repr(training_job) == "TrainingJob('shown', region='us-east-1')"
    training_job.wait(poll_interval=0.05)
    assert repr(training_job) == "TrainingJob('shown', region='us-east-1', status='Completed')"
    assert set(training_job.links()) == {"job", "logs", "output"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "LOCALABC")  # as the local SageMaker's begin
    page = training_job.links()["page"]
    assert page == f"{aws.endpoint}/?token=LOCALABC#training/shown"
    html = training_job._repr_html_()
    assert "Completed" in html
    assert f"href='{page}'" in html
    assert "test:accuracy" in html


@pytest.mark.usefixtures("aws")
def test_a_job_that_cannot_be_asked_for_is_shown_with_the_reason() -> None:
    assert "unknown" in launcher.TrainingJob("gone", "us-east-1")._repr_html_()


def test_rows_are_a_table_and_a_data_frame(aws: StandIn, job: Any) -> None:
    training_job = submitted(job, "rows")
    training_job.wait(poll_interval=0.05)
    metrics = training_job.metrics()
    assert list(metrics.dataframe()["metric"]) == [row["metric"] for row in metrics]
    assert metrics._repr_html_().count("<tr>") == 1 + len(metrics)
    assert "DescribeTrainingJob" in aws.calls


def test_html_of_what_a_job_says_is_text() -> None:
    rows = Table([{"rule": "<script>alert(1)</script>", "details": None}])
    assert "<script>" not in rows._repr_html_()
    assert "&lt;script&gt;" in rows._repr_html_()
    shown = job_html("a", "Failed", {"page": "https://a/?x='><b>"}, [("reason", "<img src=x onerror=alert(1)>")])
    assert "<img" not in shown
    assert "'><b>" not in shown


def test_bad_ends_are_exceptions_with_the_exit_code(aws: StandIn, job: Any) -> None:
    ends = {"failed": JobFailedError, "too long": JobStoppedError}
    for script, error in ends.items():
        aws.script = SCRIPTS[script]
        with pytest.raises(error):
            submitted(job, script.replace(" ", "-")).wait(poll_interval=0.05)
    aws.script = SCRIPTS["endless"]
    endless = submitted(job, "endless")
    with pytest.raises(WaitTimeoutError):
        endless.wait(timeout=0.2, poll_interval=0.05)
    endless.stop()
    with pytest.raises(JobStoppedError) as stopped:
        endless.wait(poll_interval=0.05)
    assert stopped.value.exit_code is ExitCode.JOB_STOPPED


def test_job_names_have_room_for_the_time() -> None:
    from launcher.request.training import new_job_name

    name = new_job_name("b" * 80)
    assert len(name) == 63
    assert name.startswith("b" * 30)


DESCRIPTION: dict[str, Any] = {
    "TrainingJobName": "star-rating-1",
    "TrainingJobStatus": "Completed",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/jobs/"},
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/a b/"},
    "ResourceConfig": {"InstanceType": "ml.c7i.2xlarge", "InstanceCount": 2},
    "EnableManagedSpotTraining": True,
    "TrainingTimeInSeconds": 1000,
    "BillableTimeInSeconds": 300,
}


def test_the_summary_has_spot_saving_and_cost() -> None:
    fields = summary(DESCRIPTION, "us-east-1")
    assert fields["spot_saving_percent"] == 70.0
    assert fields["cost_dollars"] == pytest.approx(2 * 0.4284 * 300 / 3600, abs=1e-4)
    assert "cost_dollars" not in summary(DESCRIPTION, "eu-central-1")


@pytest.mark.parametrize(
    ("resources", "dollars_per_hour"),
    [
        (
            {
                "InstancePreferences": [{"InstanceType": "ml.c7i.2xlarge"}, {"InstanceType": "ml.c7i.4xlarge"}],
                "SelectedInstanceType": "ml.c7i.4xlarge",
                "SelectedInstanceCount": 2,
            },
            2 * 0.8568,
        ),
        ({"InstancePreferences": [{"InstanceType": "ml.c7i.2xlarge"}], "InstanceCount": 3}, 3 * 0.4284),
        ({"InstancePreferences": [{"InstanceType": "ml.c7i.2xlarge"}, {"InstanceType": "ml.c7i.4xlarge"}]}, None),
        (
            {
                "InstanceGroups": [
                    {"InstanceType": "ml.c7i.2xlarge", "InstanceCount": 1},
                    {"InstanceType": "ml.c7i.4xlarge", "InstanceCount": 2},
                ]
            },
            0.4284 + 2 * 0.8568,
        ),
        ({"InstanceGroups": [{"InstanceType": "ml.odd.large", "InstanceCount": 1}]}, None),
    ],
)
def test_the_cost_is_that_of_what_was_selected(resources: dict[str, Any], dollars_per_hour: float | None) -> None:
    cost = summary({**DESCRIPTION, "ResourceConfig": resources}, "us-east-1").get("cost_dollars")
    assert cost == (None if dollars_per_hour is None else pytest.approx(dollars_per_hour * 300 / 3600, abs=1e-4))


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("us-east-1", "https://us-east-1.console.aws.amazon.com/"),
        ("cn-north-1", "https://console.amazonaws.cn/"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/"),
        ("us-iso-east-1", "https://console.c2shome.ic.gov/"),
        ("us-isob-east-1", "https://console.sc2shome.sgov.gov/"),
        ("eusc-de-east-1", "https://console.amazonaws-eusc.eu/"),
    ],
)
def test_console_links_are_of_the_regions_partition(region: str, console: str) -> None:
    pages = console_links(DESCRIPTION, region)
    assert set(pages) == {"job", "logs", "output", "checkpoints"}
    assert all(address.startswith(console) and f"region={region}" in address for address in pages.values())
    assert pages["output"].endswith("/s3/buckets/bucket?region=" + region + "&prefix=jobs/star-rating-1/")
    assert pages["checkpoints"].endswith("prefix=checkpoints/a%20b/")
    assert "$252Faws$252Fsagemaker$252FTrainingJobs" in pages["logs"]


def test_without_a_machine_the_job_runs_on_the_notebooks(tmp_path: Path) -> None:
    job = launcher.load_job(write(tmp_path / "job.toml", {"compute.instance_type": None}))
    assert launcher.build_request(job)["ResourceConfig"]["InstanceType"] == "ml.c5.9xlarge"
