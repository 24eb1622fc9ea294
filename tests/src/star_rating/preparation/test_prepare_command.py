"""`prepare` as a command and as a SageMaker Processing job: options, exit codes, messages."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import prepare
from star_rating.data.manifest import read_manifests
from star_rating.data.text_processing import TextProcessing
from star_rating.failures import ConfigurationError, DataError, UsageError
from star_rating.preparation.prepare import PrepareSettings
from star_rating.preparation.processing_job import ProcessingJob, leave_message
from star_rating.preparation.reviews import Columns
from tests.helpers.prepare_fixtures import make_weights, random_reviews, write_tsv

BARE = ProcessingJob(None, None, "algo-1", ("algo-1",))
DATA_PAGE = Path(__file__).parents[4] / "docs" / "data.md"
COMMAND_2023 = "".join(re.findall(r"^prepare --input /reviews/All_Beauty.*$", DATA_PAGE.read_text(), re.MULTILINE))
NEEDED = ["--input", "in", "--output", "out", "--weights", "weights"]


def make_job(base: Path, current_host: str = "algo-1", hosts: tuple[str, ...] = ("algo-1",)) -> Path:
    """Lay out what SageMaker gives a processing container."""
    (base / "config").mkdir(parents=True)
    config = {"current_host": current_host, "hosts": hosts, "current_instance_type": "ml.c5.xlarge"}
    (base / "config" / "resourceconfig.json").write_text(json.dumps(config), encoding="utf-8")
    write_tsv(base / "processing" / "input" / "reviews.tsv", random_reviews(200))
    (base / "processing" / "output").mkdir()
    return base


def environment(base: Path) -> dict[str, str]:
    return {"SAGEMAKER_BASE_DIR": str(base), "DISTILBERT_WEIGHTS": str(make_weights(base.parent / "weights"))}


def run(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command with /opt/ml at `base`."""
    return subprocess.run(
        [sys.executable, prepare.__file__, *arguments],
        env=environment(base),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_processing_job_needs_no_options(tmp_path: Path) -> None:
    base = make_job(tmp_path / "ml", current_host="algo-2", hosts=("algo-1", "algo-2"))

    done = run(base)

    assert (done.returncode, done.stderr) == (0, "")
    manifest = read_manifests(base / "processing" / "output" / "train")[0]
    assert (manifest.host, manifest.files[0].name) == ("algo-2", "part-algo-2-reviews.tfrecord")
    assert "train           180  90.0%" in done.stdout
    assert not (base / "output").exists()


def test_a_user_error_is_one_sentence_everywhere(tmp_path: Path) -> None:
    base = make_job(tmp_path / "ml")
    write_tsv(base / "processing" / "input" / "reviews.tsv", [("R1", 9, "secret")])

    done = run(base)

    assert done.returncode == 11
    message = (base / "output" / "message").read_text(encoding="utf-8")
    assert "1 of 1 rows are broken" in message
    assert done.stderr == f"error: {message}\n"
    assert (base / "output" / "failure").read_text(encoding="utf-8") == message
    assert "secret" not in done.stdout + done.stderr
    assert list((base / "processing" / "output").iterdir()) == []


def test_a_long_message_is_cut_to_what_sagemaker_keeps(tmp_path: Path) -> None:
    leave_message(DataError("x" * 2000), tmp_path)

    assert (tmp_path / "output" / "message").read_text(encoding="utf-8") == "x" * 1024


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("interruptible")
def test_a_job_that_is_stopped_leaves_no_half_made_file(tmp_path: Path, stop: signal.Signals) -> None:
    base = make_job(tmp_path / "ml")
    rows = random_reviews(1000)
    write_tsv(
        base / "processing" / "input" / "reviews.tsv", [(*row[:2], f"{row[2]} {n}") for n in range(100) for row in rows]
    )
    with subprocess.Popen(
        [sys.executable, prepare.__file__], env=environment(base), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        output = base / "processing" / "output"
        while process.poll() is None and not list(output.glob("*/.prepare-*/*.tfrecord")):
            time.sleep(0.01)
        process.send_signal(stop)
        _, errors = process.communicate()

    assert process.returncode == 128 + stop
    assert errors.decode().splitlines()[-1].startswith(f"Stopped by {stop.name}. ")
    assert "Traceback" not in errors.decode()
    assert [path for path in output.rglob("*") if path.is_file()] == []


def test_nothing_is_left_where_there_is_no_job(tmp_path: Path) -> None:
    done = run(tmp_path / "ml", "--output", str(tmp_path / "out"))

    assert (done.returncode, done.stderr) == (2, "error: --input is missing. `prepare --help` says what it is.\n")
    assert not (tmp_path / "ml").exists()


def test_preparing_does_not_load_tensorflow() -> None:
    code = "import prepare, sys; sys.exit('tensorflow' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], cwd=Path(prepare.__file__).parent, check=True)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"hosts": ["algo-1"]}', '{"current_host": "algo-3", "hosts": ["algo-1"]}']
)
def test_a_damaged_resourceconfig_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "resourceconfig.json").write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"resourceconfig\.json"):
        ProcessingJob.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})


def test_every_option_reaches_its_setting() -> None:
    options = [
        *(
            "--format",
            "jsonl",
            "--review-body-column",
            "text",
            "--star-rating-column",
            "stars",
            "--review-id-column",
            "id",
        ),
        *("--max-seq-length", "128", "--split", "80,10.5,9.5", "--seed", "7", "--balance", "--max-broken-share", "0.2"),
        *("--truncate", "head-tail", "--keep-html"),
        *("--overwrite", "--shard-by-host", "--input", "a", "b", "--output", "o", "--weights", "w"),
    ]

    settings = prepare.read_settings(options, ProcessingJob(None, None, "algo-2", ("algo-1", "algo-2")))

    assert settings == PrepareSettings(
        inputs=(Path("a"), Path("b")),
        output=Path("o"),
        weights=Path("w"),
        review_format="jsonl",
        columns=Columns("text", "stars", "id"),
        max_seq_length=128,
        shares=(0.8, 0.105, 0.095),
        processing=TextProcessing("head-tail", keep_html=True),
        seed=7,
        balance=True,
        max_broken_share=0.2,
        overwrite=True,
        host="algo-2",
        hosts=("algo-1", "algo-2"),
        shard_by_host=True,
    )


def test_the_defaults_are_those_of_the_settings() -> None:
    expected = PrepareSettings((Path("in"),), Path("out"), Path("weights"))

    assert prepare.read_settings(NEEDED, BARE) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-seq-lenght=64"], "Unknown option --max-seq-lenght=64. Did you mean --max-seq-length?"),
        (["--balanced"], "Unknown option --balanced. Did you mean --balance?"),
        (["--max-seq", "64"], "Unknown option --max-seq."),
        (["--max-seq-length", "2"], "--max-seq-length: '2' is not a whole number from 3 to 512"),
        (["--max-seq-length", "513"], "'513' is not a whole number from 3 to 512"),
        (["--seed", "-1"], "--seed: '-1' is not a whole number from 0"),
        (["--seed", "4.2"], "--seed: '4.2' is not a whole number"),
        (["--split", "90,5"], "--split: '90,5' is not three percentages"),
        (["--split", "90,5,6"], "--split: '90,5,6' is not three percentages that add up to 100"),
        (["--split", "50,-5,55"], "is not three percentages"),
        (["--split", "nan,5,5"], "is not three percentages"),
        (["--max-broken-share", "1.5"], "--max-broken-share: '1.5' is not a number from 0 to 1"),
        (["--format", "xml"], "--format: invalid choice: 'xml'"),
        (["--seed"], "--seed: expected one argument"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(options: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare.read_settings([*NEEDED, *options], BARE)
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["--input", "--output", "--weights"])
def test_what_has_no_default_is_asked_for(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTILBERT_WEIGHTS", raising=False)
    at = NEEDED.index(missing)

    with pytest.raises(UsageError, match=f"{missing} is missing"):
        prepare.read_settings(NEEDED[:at] + NEEDED[at + 2 :], BARE)


def test_the_command_of_docs_data_md_reads_a_file_of_amazon_reviews_2023(tmp_path: Path) -> None:
    """A file of the columns and types that the data set's page lists, with a review without text."""
    lines = [
        json.dumps(
            {
                "rating": float(stars),
                "title": "Five Stars",
                "text": "" if number == 7 else f"{body}<br />It&#39;s {number}.",
                "images": [{"small_image_url": "s.jpg", "attachment_type": "IMAGE"}] if number % 3 else [],
                "asin": f"B{number:09}",
                "parent_asin": f"B{number:09}",
                "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
                "timestamp": 1588687728923 + number,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
        )
        for number, (_, stars, body) in enumerate(random_reviews(200))
    ]
    (tmp_path / "All_Beauty.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    documented = shlex.split(COMMAND_2023)[1:]
    places = {"/reviews/All_Beauty.jsonl.gz": str(tmp_path / "All_Beauty.jsonl.gz"), "/channels": str(tmp_path / "out")}
    weights = ["--weights", str(make_weights(tmp_path / "weights"))]

    assert prepare.main([*(places.get(word, word) for word in documented), *weights]) == 0

    manifests = [read_manifests(tmp_path / "out" / split)[0] for split in ("train", "validation", "test")]
    assert sum(sum(file.records for file in manifest.files) for manifest in manifests) == 199
    source = manifests[0].sources[0]
    assert (source.rows, source.kept, source.empty, source.broken) == (200, 199, 1, 0)
