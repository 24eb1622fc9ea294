"""The real training in the real image, on TFRecords made elsewhere: what it leaves, who can read it, how it fails."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.containers import Containers
from tests.helpers.real_job import RealJob

pytestmark = pytest.mark.image


@pytest.fixture(scope="module", params=[64, pytest.param(128, marks=pytest.mark.long)])
def trained(
    request: pytest.FixtureRequest, containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> RealJob:
    job = RealJob(containers, tmp_path_factory.mktemp("trained"), request.param)
    result = job.run()
    assert result.exit_code == 0, result.log
    (job.root / "log").write_text(result.log)
    return job


def test_everything_that_it_leaves_belongs_to_the_caller(trained: RealJob) -> None:
    owners = {path.stat().st_uid for folder in ("model", "output") for path in (trained.root / folder).rglob("*")}
    assert owners == {os.getuid()}


def test_its_log_is_plain_lines_with_measurements_and_no_noise(trained: RealJob) -> None:
    lines = (trained.root / "log").read_text().splitlines()
    assert [
        line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING) |train: |no ", line)
    ] == []
    assert any(re.search(r" train:loss=\S+ ", line) for line in lines)
    assert any(re.search(r" test:accuracy=\S+ ", line) for line in lines)


def test_the_commands_own_metric_definitions_read_its_log(trained: RealJob) -> None:
    definitions = json.loads(trained.containers.run(["metrics"]).log)
    log = (trained.root / "log").read_text()
    unread = [entry["Name"] for entry in definitions if not re.search(entry["Regex"], log, re.MULTILINE)]
    assert unread == []


def test_saved_model_cli_shows_and_runs_the_model(trained: RealJob) -> None:
    folder = "/opt/ml/model/tensorflow/saved_model/0"
    shown = trained.inside("saved_model_cli", "show", "--all", "--dir", folder)
    assert shown.exit_code == 0, shown.log
    assert all(name in shown.log for name in ("serving_default", "input_ids", "input_mask", "logits", "probabilities"))
    signature = ("--tag_set", "serve", "--signature_def", "serving_default")
    inputs = "input_ids=[[101, 2009, 3631, 102]];input_mask=[[1, 1, 1, 1]]"
    ran = trained.inside("saved_model_cli", "run", "--dir", folder, *signature, "--input_exprs", inputs)
    assert ran.exit_code == 0, ran.log
    assert "Result for output key probabilities" in ran.log


AGREE = """
import numpy as np, tensorflow as tf
from tokenizers import Tokenizer
from transformers import TFDistilBertForSequenceClassification
model = "/opt/ml/model/"
tokenizer = Tokenizer.from_file(model + "transformers/fine-tuned/tokenizer.json")
tokenizer.enable_padding()
encoded = tokenizer.encode_batch(["It broke.", "The best that I ever had, really"])
words = {
    "input_ids": np.array([text.ids for text in encoded]),
    "attention_mask": np.array([text.attention_mask for text in encoded]),
}
classifier = TFDistilBertForSequenceClassification.from_pretrained(model + "transformers/fine-tuned")
theirs = classifier(**words).logits.numpy()
serve = tf.saved_model.load(model + "tensorflow/saved_model/0").signatures["serving_default"]
ids, mask = (tf.constant(words[name], tf.int32) for name in ("input_ids", "attention_mask"))
ours = serve(input_ids=ids, input_mask=mask)["logits"].numpy()
print("difference", np.abs(theirs - ours).max(), classifier.config.id2label)
assert np.abs(theirs - ours).max() < 1e-4
"""


def test_transformers_loads_the_export_and_agrees_with_the_saved_model(trained: RealJob) -> None:
    result = trained.inside("python", "-c", AGREE)
    assert result.exit_code == 0, result.log
    assert "{0: '1', 1: '2', 2: '3', 3: '4', 4: '5'}" in result.log


AS_SERVED = """
import json, random, subprocess, sys, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, tensorflow as tf
sys.path.insert(0, "src")
from star_rating.results.inference import ModelFolder
server = subprocess.Popen([sys.executable, "src/serve.py"], stdout=subprocess.DEVNULL)
def ask(path, reviews=None):
    body = json.dumps({"instances": reviews}).encode() if reviews else None
    request = urllib.request.Request("http://127.0.0.1:8080" + path, body, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))["predictions"] if reviews else urllib.request.urlopen(request)
pick = random.Random(0)
words = "it broke the best book that I ever read was not good".split()
reviews = [" ".join(pick.choices(words, k=number)) for number in range(1, 81)]
folder = ModelFolder(Path("/opt/ml/model"))
model = tf.saved_model.load(str(folder.saved_model)).signatures["serving_default"]
def alone(ids):
    return model(**{name: tf.constant(rows, tf.int32) for name, rows in folder.pad([ids]).items()})["probabilities"][0]
expected = np.array([alone(encoding.ids) for encoding in folder.encode(reviews)])
while True:
    try:
        ask("/ping")
        break
    except (urllib.error.URLError, ConnectionError):
        assert server.poll() is None
        time.sleep(0.1)
together = ask("/invocations", reviews)
with ThreadPoolExecutor(16) as clients:
    apart = list(clients.map(lambda review: ask("/invocations", [review])[0], reviews))
for answers in (together, apart):
    found = np.array([list(answer["probabilities"].values()) for answer in answers])
    print("difference", np.abs(found - expected).max())
    assert np.abs(found - expected).max() < 1e-6
server.terminate()
assert server.wait() == 0
"""


def test_served_predictions_are_the_saved_models_whatever_the_batching(
    trained: RealJob, say: Callable[[str], None]
) -> None:
    result = trained.inside("python", "-c", AS_SERVED)
    assert result.exit_code == 0, result.log
    say("; ".join(re.findall(r"difference \S+", result.log)))


def missing_channel(job: RealJob) -> list[str]:
    (job.root / "input" / "data" / "test").rename(job.root / "input" / "data" / "tset")
    return []


def other_length(job: RealJob) -> list[str]:
    job.configure(max_seq_length="32")
    return []


def bad_hyperparameter(job: RealJob) -> list[str]:
    job.configure(learning_rat="1e-5")
    return []


def unreadable_weights(job: RealJob) -> list[str]:
    weights = job.root / "input" / "data" / "model"
    weights.mkdir()
    (weights / "config.json").write_text("{")
    return []


def full_disk(job: RealJob) -> list[str]:
    (job.root / "model").mkdir()
    return ["--tmpfs", f"/opt/ml/model:size=4m,uid={os.getuid()}"]


def disk_that_fills_up(job: RealJob) -> list[str]:
    """Large enough for the weights of both exports (180.6 MB), but not for what else they need."""
    (job.root / "model").mkdir()
    return ["--tmpfs", f"/opt/ml/model:size=181000000,uid={os.getuid()}"]


BAD_INPUTS: dict[Callable[[RealJob], list[str]], tuple[int, str]] = {
    missing_channel: (11, "no channel 'test'"),
    other_length: (11, "input_ids holds 64 values, max_seq_length is 32"),
    bad_hyperparameter: (10, "Did you mean learning_rate?"),
    unreadable_weights: (12, "config.json"),
    full_disk: (14, "/opt/ml/model has 4 MB free, the exports need 181 MB"),
    disk_that_fills_up: (14, "The disk is full"),
}


@pytest.mark.parametrize("spoil", BAD_INPUTS, ids=lambda spoil: spoil.__name__)
def test_a_bad_input_ends_the_container_with_its_code_and_one_sentence(
    containers: Containers, tmp_path: Path, spoil: Callable[[RealJob], list[str]]
) -> None:
    job = RealJob(containers, tmp_path)
    options = spoil(job)
    result = job.run(*options)
    exit_code, said = BAD_INPUTS[spoil]
    assert result.exit_code == exit_code, result.log
    assert said in job.failure
    assert len(job.failure) <= 1024
    # At the end, but not always last: stdout, which has warnings, reaches Docker by another pipe than stderr.
    assert f"error: {job.failure}" in result.log.splitlines()[-5:]
    assert result.log.count(job.failure) == 1
    assert "Traceback" not in result.log


def test_a_full_output_folder_costs_what_belongs_there_and_not_the_model(
    containers: Containers, tmp_path: Path
) -> None:
    job = RealJob(containers, tmp_path)
    job.configure(train_steps_per_epoch="3", enable_tensorboard="True", run_test="False")
    (job.root / "output").mkdir()
    result = job.run("--tmpfs", f"/opt/ml/output:size=32k,uid={os.getuid()}")
    assert result.exit_code == 0, result.log
    assert (job.root / "model" / "tensorflow" / "saved_model" / "0" / "saved_model.pb").is_file()
    warnings = [line.partition(" WARNING ")[2] for line in result.log.splitlines() if " WARNING " in line]
    assert {warning.partition(":")[0] for warning in warnings} >= {"debugger", "profiler", "tensorboard"}, result.log
    assert "Traceback" not in result.log
