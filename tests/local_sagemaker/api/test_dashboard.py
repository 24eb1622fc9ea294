"""The page's side of HTTP: what it says of jobs, who may ask, and that nothing of a job gets its rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.local_server import BUCKET, SIGNED_FOR_S3, ApiServer, send, serving
from tests.helpers.made_up_jobs import COUNTS, REPORT, complete, fail, train, tune

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
JOBS = "/_local/page/jobs"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with serving(tmp_path) as api:
        yield api


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with jobs, for tests that change nothing and ask nothing of moto, which all servers here share."""
    with serving(tmp_path_factory.mktemp("state")) as api:
        train(api, "job")
        complete(api, "job")
        train(api, "running")
        yield api


def get(server: ApiServer, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], Any]:
    status, answered, body = send(server, "GET", path, headers=headers)
    return status, answered, json.loads(body) if answered["content-type"] == "application/json" else body


def test_a_browser_gets_the_page_and_a_program_its_buckets(server: ApiServer) -> None:
    status, headers, body = get(server, "/", BROWSER)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>Local SageMaker</title>" in body
    buckets = get(server, "/", SIGNED_FOR_S3)[2]
    assert BUCKET.encode() in buckets


@pytest.mark.parametrize("asset", ["page.js", "page.css"])
def test_what_the_page_needs_comes_with_it(shared: ApiServer, asset: str) -> None:
    status, headers, body = get(shared, f"/_local/page/{asset}")
    assert status == 200
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http:" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https:" not in body


def test_the_page_may_run_its_own_script_and_nothing_else(shared: ApiServer) -> None:
    policy = get(shared, "/", BROWSER)[1]["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_a_tuning_job(server: ApiServer) -> None:
    tune(server, "tunes", [0.7, 0.4, None])
    (row,) = get(server, JOBS)[2]["jobs"]
    assert (row["kind"], row["key"], row["metrics"]) == ("tuning", "tunes", {"validation:loss": 0.4})
    job = get(server, f"{JOBS}/tuning/tunes")[2]
    assert [(trial["objective"], trial["best"]) for trial in job["trials"]] == [
        (0.7, False),
        (0.4, True),
        (None, False),
    ]
    assert get(server, f"{JOBS}/tuning/other")[0] == 404
    assert get(server, f"{JOBS}/tuning/tunes.eu-west-1")[0] == 404


def test_the_list_and_a_job(server: ApiServer) -> None:
    train(server, "first")
    complete(server, "first")
    train(server, "second", {"Environment": {"TOKEN": "secret-value"}})
    listed = get(server, JOBS)[2]
    assert [(job["name"], job["status"]) for job in listed["jobs"]] == [
        ("first", "Completed"),
        ("second", "InProgress"),
    ]
    status, _, body = send(server, "GET", f"{JOBS}/training/second")
    assert (status, b"secret-value" in body, b"TOKEN" in body) == (200, False, True)
    job = json.loads(body)
    assert job["can_stop"]
    assert not job["can_interrupt"]
    assert [phase["status"] for phase in job["transitions"]] == ["Starting", "Downloading", "Training"]


def test_the_list_waits_for_a_change(server: ApiServer) -> None:
    train(server, "first")
    last = get(server, JOBS)[2]["last"]
    train(server, "second")
    answer = get(server, f"{JOBS}?after={last}")[2]
    assert answer["last"] > last
    assert len(answer["jobs"]) == 2


def test_the_log_is_read_on_from_where_it_was(server: ApiServer) -> None:
    train(server, "job", steps=10)
    first = get(server, f"{JOBS}/training/job/log")[2]
    assert len(first["lines"]) == 12
    assert first["lines"][0][1:] == ["algo-1", "star rating: 3,336 train reviews, 5 classes"]
    path = next((server.jobs.store.folder("training", "job") / "log").glob("*.jsonl"))
    with path.open("a") as file:
        file.write('{"t": 1790000900000000000, "m": "one more"}\n{"t": 17900009')
    second = get(server, f"{JOBS}/training/job/log?at={quote(json.dumps(first['positions']))}")[2]
    assert [text for _, _, text in second["lines"]] == ["one more"]
    third = get(server, f"{JOBS}/training/job/log?at={quote(json.dumps(second['positions']))}")[2]
    assert third["lines"] == []


def test_a_long_log_begins_with_its_end(server: ApiServer) -> None:
    train(server, "job")
    path = next((server.jobs.store.folder("training", "job") / "log").glob("*.jsonl"))
    path.write_text("".join(f'{{"t": {number}, "m": "{"x" * 1000} {number}"}}\n' for number in range(2000)))
    answer = get(server, f"{JOBS}/training/job/log")[2]
    assert answer["skipped"]
    assert answer["lines"][-1][2].endswith(" 1999")
    assert len(answer["lines"]) < 300


def test_a_chart_has_its_first_and_last_point_and_not_too_many(server: ApiServer) -> None:
    train(server, "job", steps=3000)
    charts = get(server, f"{JOBS}/training/job/metrics")[2]
    assert len(charts["train:loss"]) == 400
    assert charts["train:loss"][0][0] < charts["train:loss"][-1][0] == 1_790_000_010 + 2999 * 2.5


def test_results_are_there_to_look_at_and_to_save(server: ApiServer) -> None:
    train(server, "job")
    assert get(server, f"{JOBS}/training/job/results")[2].get("evaluation") is None
    complete(server, "job")
    found = get(server, f"{JOBS}/training/job/results")[2]
    assert found["evaluation"]["confusion_matrix"]["counts"] == COUNTS
    assert {place["label"]: place["count"] for place in found["files"]} == {
        "model": 1,
        "checkpoints": 3,
        "rule ProfilerReport": 1,
    }
    status, headers, body = get(server, f"{JOBS}/training/job/file?uri={quote(found['files'][0]['uri'])}")
    assert (status, len(body)) == (200, found["files"][0]["bytes"])
    assert headers["content-disposition"] == 'attachment; filename="model.tar.gz"'


def test_the_report_is_seen_in_a_sandbox(server: ApiServer) -> None:
    train(server, "job")
    complete(server, "job")
    report = get(server, f"{JOBS}/training/job/results")[2]["report"]
    status, headers, body = get(server, f"{JOBS}/training/job/file?view=1&uri={quote(report)}")
    assert (status, body) == (200, REPORT)
    assert headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{BUCKET}/channels/train/part-0.tfrecord",
        f"s3://{BUCKET}/checkpoints/../../jobs/training/job/job.json",
        "s3://other/checkpoints/x",
        "file:///etc/passwd",
        "../../job.json",
        "",
    ],
)
def test_only_files_of_the_job_are_sent(shared: ApiServer, uri: str) -> None:
    assert get(shared, f"{JOBS}/training/job/file?uri={quote(uri)}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{JOBS}/training/nothing",
        f"{JOBS}/training/..%2f..%2fserver.lock/log",
        f"{JOBS}/training/../../../etc/log",
        f"{JOBS}/horses/job",
        "/_local/page/../../../etc/passwd",
        "/_local/page/%2e%2e/__init__.py",
        "/_local/page/application.py",
    ],
)
def test_a_path_that_climbs_leads_nowhere(shared: ApiServer, path: str) -> None:
    assert get(shared, path)[0] == 404


def test_stop_asks_the_job_to_stop_once(server: ApiServer) -> None:
    train(server, "job")
    assert send(server, "POST", f"{JOBS}/training/job/stop")[0] == 200
    assert server.jobs.get("training", "job").stop_requested
    fail(server, "job", "AlgorithmError: x")
    status, _, body = send(server, "POST", f"{JOBS}/training/job/stop")
    assert (status, "end state" in json.loads(body)["error"]) == (409, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example:80@127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", JOBS),
        ("POST", f"{JOBS}/training/running/stop"),
        ("PUT", f"/{BUCKET}/key"),
        ("GET", f"/{BUCKET}/channels/train/part-0.tfrecord"),
        ("POST", "/moto-api/reset"),
        ("POST", "/"),
    ],
)
def test_another_site_gets_nothing(shared: ApiServer, method: str, path: str, headers: dict[str, str]) -> None:
    assert send(shared, method, path, headers=headers)[0] == 403
    assert not shared.jobs.get("training", "running").stop_requested
    assert shared.objects.path(BUCKET, "channels/train/part-0.tfrecord").read_bytes() == b"record"


def test_a_link_elsewhere_may_lead_to_the_page(shared: ApiServer) -> None:
    from_elsewhere = BROWSER | {"Sec-Fetch-Site": "cross-site"}
    assert get(shared, "/", from_elsewhere)[0] == 200
    assert get(shared, f"/{BUCKET}/channels/train/part-0.tfrecord", from_elsewhere)[0] == 403


def test_an_object_that_is_a_page_has_no_rights(server: ApiServer) -> None:
    body = b"<script>fetch('/_local/page/jobs')</script>"
    send(server, "PUT", f"/{BUCKET}/evil.html", body, {"Content-Type": "text/html"} | SIGNED_FOR_S3)
    status, headers, got = get(server, f"/{BUCKET}/evil.html", BROWSER | SIGNED_FOR_S3)
    assert (status, got) == (200, body)
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("key", ["../../../escaped", "a/../../../../escaped", "%2e%2e/%2e%2e/escaped", "/etc/escaped"])
def test_a_key_that_climbs_is_a_key(server: ApiServer, tmp_path: Path, key: str) -> None:
    before = set(tmp_path.parent.rglob("*escaped*"))
    send(server, "PUT", f"/{BUCKET}/{key}", b"x", SIGNED_FOR_S3)
    assert set(tmp_path.parent.rglob("*escaped*")) == before
    assert all(path.parent == tmp_path / "s3" / BUCKET for path in (tmp_path / "s3" / BUCKET).rglob("*"))


def test_it_listens_on_loopback_only(shared: ApiServer) -> None:
    port = f"{shared.port:04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]
