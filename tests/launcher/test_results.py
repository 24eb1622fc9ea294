"""What a job has come to: metrics, experiment, lineage, model, differences."""

from __future__ import annotations

import datetime as dt
import io
import json
import tarfile
from pathlib import Path

import pytest

from launcher.aws.artifacts import UnsafeArchiveError, unpack
from launcher.cli.main import main
from tests.helpers.job_files import write
from tests.helpers.sagemaker_stand_in import BUCKET, EVALUATION, StandIn, archive_of


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    return str(write(tmp_path / "job.toml", {"experiment_config.experiment_name": '"stars"'}))


def finished(job_file: str, name: str, *options: str) -> str:
    assert main(["train", "--file", job_file, "--job-name", name, "--poll-interval", "0.05", *options]) == 0
    return name


@pytest.mark.usefixtures("aws")
def test_final_metrics_are_exact(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "exact")
    capsys.readouterr()
    assert main(["metrics", "exact", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["metric"], row["value"]) for row in rows] == [("train:loss", 0.5), ("test:accuracy", 0.75)]


def test_metric_series_come_from_cloudwatch(aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "series")
    now = dt.datetime.now(dt.UTC)
    for minutes, value in ((0, 1.5), (1, 0.5)):
        aws.client("cloudwatch").put_metric_data(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricData=[
                {
                    "MetricName": "train:loss",
                    "Dimensions": [{"Name": "TrainingJobName", "Value": "series"}],
                    "Timestamp": now + dt.timedelta(minutes=minutes),
                    "Value": value,
                }
            ],
        )
    capsys.readouterr()
    assert main(["metrics", "series", "--series", "--output", "csv"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "metric,time,value"
    assert [(row.split(",")[0], row.split(",")[2]) for row in rows] == [("train:loss", "1.5"), ("train:loss", "0.5")]


def test_without_the_service_the_verdicts_are_the_images(
    aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = [
        {"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "NoIssuesFound", "LastModifiedTime": 1.5},
        {"RuleConfigurationName": "AllZero", "RuleEvaluationStatus": "IssuesFound", "StatusDetails": "step 3"},
    ]
    aws.output = {"profiler-report.html": b"<html>", "debugger/rules.json": json.dumps(statuses).encode()}
    finished(job_file, "verdicts")
    capsys.readouterr()
    assert main(["rules", "verdicts", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["rule"], row["status"], row["details"], row["source"]) for row in rows] == [
        ("Overfit", "NoIssuesFound", None, "image"),
        ("AllZero", "IssuesFound", "step 3", "image"),
    ]


@pytest.mark.parametrize("content", [b"{", b"[1]", b'[{"Rule": 1}]', b"null"])
def test_damaged_verdicts_are_a_sentence(
    aws: StandIn, job_file: str, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    aws.output = {"debugger/rules.json": content}
    finished(job_file, f"damaged-{len(content)}")
    assert main(["rules", f"damaged-{len(content)}"]) == 1
    assert "debugger/rules.json" in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_an_experiment_shows_its_runs_newest_first(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "run-1")
    finished(job_file, "run-2", "--set", "hyperparameters.epochs=5")
    capsys.readouterr()
    assert main(["experiment", "run-1", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["job"] for row in rows][:2] == ["run-2", "run-1"]
    assert [row["epochs"] for row in rows][:2] == ["5", None]
    assert rows[0]["test:accuracy"] == 0.75


@pytest.mark.usefixtures("aws")
def test_a_job_without_an_experiment_says_how_to_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(str(write(tmp_path / "plain.toml", {})), "plain")
    assert main(["experiment", "plain"]) == 1
    assert "set experiment_config.experiment_name in the job file" in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_lineage_names_data_image_and_model(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "lineage")
    capsys.readouterr()
    assert main(["lineage", "lineage", "--output", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "direction,association,type,name",
        f"from,ContributedTo,DataSet,s3://{BUCKET}/DataSet",
        f"from,ContributedTo,Image,s3://{BUCKET}/Image",
        f"to,Produced,Model,s3://{BUCKET}/Model",
    ]


@pytest.mark.usefixtures("aws")
def test_download_unpacks_the_model_and_shows_its_evaluation(
    job_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(job_file, "model")
    capsys.readouterr()
    assert main(["download", "model", "--to", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "accuracy   0.75" in printed
    assert printed.splitlines()[-1].split() == ["2", "0", "4"]
    assert json.loads((tmp_path / "out/model/metrics/evaluation.json").read_text()) == EVALUATION
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model"]


def test_download_takes_output_and_unpacked_models_too(aws: StandIn, tmp_path: Path) -> None:
    path = write(
        tmp_path / "job.toml",
        {"output_data_config.compression_type": '"NONE"', "output_data_config.s3_output_path": '"s3://{bucket}/o/"'},
    )
    finished(str(path), "unpacked")
    s3 = aws.client("s3")
    description = aws.jobs["unpacked"]
    assert description.request["OutputDataConfig"]["CompressionType"] == "NONE"
    prefix = "o/unpacked/output"
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/model/run.json", Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/output.tar.gz", Body=archive_of({"profile.html": b"<p>"}))
    aws.model_uri = f"s3://{BUCKET}/{prefix}/model/"
    assert main(["download", "unpacked", "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/model/run.json").read_text() == "{}"
    assert (tmp_path / "out/output/profile.html").read_text() == "<p>"


def test_a_model_without_files_is_an_empty_folder_and_output_is_fetched_unpacked_too(
    aws: StandIn, tmp_path: Path
) -> None:
    changes = {
        "output_data_config.compression_type": '"NONE"',
        "output_data_config.s3_output_path": '"s3://{bucket}/n/"',
    }
    finished(str(write(tmp_path / "job.toml", changes)), "empty")
    s3 = aws.client("s3")
    aws.model_uri = f"s3://{BUCKET}/n/empty/output/model/"
    assert main(["download", "empty", "--to", str(tmp_path / "a")]) == 0
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["model"]
    s3.put_object(Bucket=BUCKET, Key="n/empty/output/data/deep/profile.html", Body=b"<p>")
    assert main(["download", "empty", "--to", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b/output/deep/profile.html").read_text() == "<p>"
    s3.put_object(Bucket=BUCKET, Key="n/empty/output/data/deep//profile.html", Body=b"other")
    assert main(["download", "empty", "--to", str(tmp_path / "c")]) == 1


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("place", ["a file", "a file/x", "\0x"])
def test_a_folder_that_cannot_be_made_is_named(
    job_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "a file").touch()
    finished(job_file, f"placed-{len(place)}")
    assert main(["download", f"placed-{len(place)}", "--to", str(tmp_path / place.replace("\0", "y" * 300))]) == 1
    assert f"error: {tmp_path}/" in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "evaluation", [b"{", b"[]", b"[" * 100_000, b'{"metrics": 3}', b'{"metrics": {"a": 1}}', b"\xff"]
)
def test_an_evaluation_of_another_form_is_no_traceback(
    aws: StandIn, job_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], evaluation: bytes
) -> None:
    name = f"evaluated-{len(evaluation)}-{evaluation[-1]}"
    finished(job_file, name)
    key = f"{name}/output/model.tar.gz"
    aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive_of({"metrics/evaluation.json": evaluation}))
    code = main(["download", name, "--to", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert (code, "another model's" in said) in ((1, False), (0, True))
    assert (tmp_path / "out/model/metrics/evaluation.json").exists()


@pytest.mark.usefixtures("aws")
def test_download_overwrites_nothing(job_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "twice")
    (tmp_path / "out" / "model").mkdir(parents=True)
    assert main(["download", "twice", "--to", str(tmp_path / "out")]) == 1
    assert "model exists; name another folder with --to, or delete it" in capsys.readouterr().err


def malicious(**fields: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        good = tarfile.TarInfo("good.txt")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        member = tarfile.TarInfo("bad")
        for name, value in fields.items():
            setattr(member, name, value)
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (malicious(name="../outside"), "its member '../outside' would leave the folder"),
        (malicious(name="/etc/outside"), "its member '/etc/outside' would leave the folder"),
        (malicious(name="a/../../outside"), "its member 'a/../../outside' would leave the folder"),
        (malicious(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link to '/etc/passwd', which leads out"),
        (malicious(type=tarfile.SYMTYPE, linkname="../good.txt"), "is a link to '../good.txt', which leads out"),
        (malicious(type=tarfile.SYMTYPE, linkname="a/../.."), "is a link to 'a/../..', which leads out"),
        (malicious(type=tarfile.SYMTYPE, name="good.txt", linkname="x"), "is a link to 'x', which leads out"),
        (malicious(type=tarfile.SYMTYPE, name="good.txt/x", linkname="y"), "is a link to 'y', which leads out"),
        (malicious(type=tarfile.LNKTYPE, linkname="/etc/passwd"), "is a link to '/etc/passwd', which leads out"),
        (malicious(type=tarfile.LNKTYPE, linkname="../outside"), "is a link to '../outside', which leads out"),
        (malicious(type=tarfile.LNKTYPE, linkname="none"), "is a link to 'none', which leads out of the folder or no"),
        (malicious(type=tarfile.CHRTYPE), "its member 'bad' is a device or a FIFO"),
        (malicious(type=tarfile.FIFOTYPE), "its member 'bad' is a device or a FIFO"),
        (malicious(size=2000), "it unpacks to more than 1000 bytes"),
        (malicious()[:-20], "is damaged"),
        (b"not an archive", "is damaged"),
    ],
    # Not the archives' bytes, which hold the time: parallel tests need the same names in each process.
    ids=[
        *("above", "absolute", "climbing", "symlink", "symlink above", "symlink that climbs", "symlink over a file"),
        *("symlink below a file", "hardlink", "hardlink above", "hardlink to nothing"),
        *("device", "fifo", "large", "cut off", "no archive"),
    ],
)
def test_an_archive_that_cannot_be_trusted_leaves_nothing(archive: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "inside" / "model.tar.gz"
    path.parent.mkdir()
    path.write_bytes(archive)
    with pytest.raises(UnsafeArchiveError) as refused:
        unpack(path, tmp_path / "inside" / "model", largest=1000)
    assert why in str(refused.value)
    assert [found.name for found in tmp_path.rglob("*") if found.is_file()] == ["model.tar.gz"]


def test_links_that_stay_inside_are_links(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "ck-10").mkdir(parents=True)
    (made / "ck-10" / "weights").write_text("weights")
    (made / "latest").symlink_to("ck-10")
    (made / "ck-10" / "self").symlink_to("../latest/weights")
    (made / "same").hardlink_to(made / "ck-10" / "weights")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        for name in ("latest", "ck-10", "same"):
            tar.add(made / name, arcname=name)
    unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert (tmp_path / "model" / "latest").readlink() == Path("ck-10")
    texts = [(tmp_path / "model" / path).read_text() for path in ("latest/weights", "ck-10/self", "same")]
    assert texts == ["weights"] * 3


def test_a_link_below_a_link_leads_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        for name, target in (("p", "."), ("p/l", "..")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    with pytest.raises(UnsafeArchiveError, match="p/l"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "model")


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Each of the two members is harmless alone."""
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("up/a/folder")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        tar.addfile(link)
        climbing = tarfile.TarInfo("further")
        climbing.type, climbing.linkname = tarfile.SYMTYPE, "up/a/folder/.."
        tar.addfile(climbing)
        inside = tarfile.TarInfo("further/file")
        inside.size = 1
        tar.addfile(inside, io.BytesIO(b"x"))
    with pytest.raises(UnsafeArchiveError, match="further"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz"]


@pytest.mark.usefixtures("aws")
def test_two_jobs_differ_in_what_was_changed(job_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    finished(job_file, "base", "--set", "environment.API_TOKEN=one")
    finished(job_file, "changed", "--set", "hyperparameters.epochs=5", "--set", "environment.API_TOKEN=two")
    capsys.readouterr()
    assert main(["diff", "base", "changed", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["setting"]: (row["base"], row["changed"]) for row in rows} == {
        "HyperParameters.epochs": (None, "5"),
        "Environment.API_TOKEN": ("(not recorded)", "(not recorded)"),
    }


def test_a_record_has_what_was_submitted_and_no_secret(
    aws: StandIn,
    job_file: str,
    tmp_path: Path,
) -> None:
    finished(job_file, "recorded", "--set", "environment.TOKEN=hush-hush")
    text = (tmp_path / "state/distilbert-launcher/recorded.json").read_text()
    record = json.loads(text)
    assert record["request"]["InputDataConfig"] == aws.jobs["recorded"].request["InputDataConfig"]
    assert record["job_arn"].endswith(":training-job/recorded")
    assert len(record["git_commit"].removesuffix("-dirty")) == 40
    assert aws.jobs["recorded"].request["Environment"] == {"TOKEN": "hush-hush"}
    assert "hush-hush" not in text


@pytest.mark.parametrize("from_this_machine", [True, False])
def test_resuming_takes_over_the_checkpoints(
    aws: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, from_this_machine: bool
) -> None:
    path = str(write(tmp_path / "c.toml", {"checkpoint_config.s3_uri": '"s3://{bucket}/checkpoints/{job_name}/"'}))
    first = finished(path, f"first-{from_this_machine}".lower())
    if not from_this_machine:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    second = finished(path, f"second-{from_this_machine}".lower(), "--resume-from", first)
    request = aws.jobs[second].request
    assert request["CheckpointConfig"]["S3Uri"] == f"s3://{BUCKET}/checkpoints/{first}/"
    assert request["HyperParameters"]["enable_checkpointing"] == "True"
