"""Bodies in, bodies out, and what the environment may say of a server; no server runs here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_rating.failures import ConfigurationError
from star_rating.serving.formats import (
    CSV,
    JSON,
    JSON_LINES,
    TEXT,
    Prediction,
    RequestError,
    answer_type,
    read_reviews,
    request_type,
    write_predictions,
)
from star_rating.serving.metrics import Metrics
from star_rating.serving.settings import Settings

PREDICTIONS = [
    Prediction(5, {"1": 0.0, "2": 0.0, "3": 0.125, "4": 0.25, "5": 0.625}, truncated=False),
    Prediction(1, {"1": 1.0, "2": 0.0, "3": 0.0, "4": 0.0, "5": 0.0}, truncated=True),
]


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ('{"instances": ["good, really", "b\\u00e4d"]}', JSON),
        ('{"instances": [{"review_body": "good, really"}, "bäd"], "signature_name": "x"}', JSON),
        ('[{"review_body": "good, really", "star_rating": 5}, {"review_body": "bäd"}]', JSON),
        ('["good, really", "bäd"]', JSON),
        ('"good, really"\n{"review_body": "bäd"}\n', JSON_LINES),
        ('"good, really"\r\n"bäd"', JSON_LINES),
        ('"good, really"\nbäd\n', CSV),
        ('star_rating,review_body\r\n5,"good, really"\r\n1,bäd\r\n', CSV),
        ('review_body\n"good, really"\nbäd', CSV),
        ("good, really\nbäd\n", TEXT),
        ("\ufeffgood, really\r\nbäd", TEXT),
    ],
)
def test_each_type_says_the_same_reviews(body: str, media_type: str) -> None:
    assert read_reviews(body.encode(), media_type) == ["good, really", "bäd"]


def test_a_line_ends_where_a_line_feed_stands_and_nowhere_else() -> None:
    body = "one\u2028two\x0bthree\n" + "four\n"
    assert read_reviews(body.encode(), TEXT) == ["one\u2028two\x0bthree", "four"]
    assert read_reviews('"one\u2028two"\n"three"\n'.encode(), JSON_LINES) == ["one\u2028two", "three"]


def test_a_quoted_field_of_csv_may_hold_a_line_end() -> None:
    assert read_reviews(b'"one\ntwo"\nthree\n', CSV) == ["one\ntwo", "three"]


@pytest.mark.parametrize(
    ("accept", "requested", "answered"),
    [
        ("", JSON, JSON),
        ("*/*", JSON_LINES, JSON_LINES),
        ("*/*", CSV, CSV),
        ("", TEXT, JSON_LINES),
        ("application/*", CSV, JSON),
        ("text/csv", JSON, CSV),
        ("Text/CSV; q=0.5, application/jsonlines", JSON, JSON_LINES),
        ("text/html, application/json;q=0.9, */*;q=0.1", TEXT, JSON),
        ("text/html, */*;q=0.1", CSV, CSV),
    ],
)
def test_the_answer_has_the_type_that_is_accepted(accept: str, requested: str, answered: str) -> None:
    assert answer_type(accept, requested) == answered


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "text/plain", "nonsense", ","])
def test_an_answer_that_is_not_accepted_is_406(accept: str) -> None:
    with pytest.raises(RequestError, match=r"Accept one of application/json") as refused:
        answer_type(accept, JSON)
    assert refused.value.status == 406


def test_a_content_type_may_have_parameters() -> None:
    assert request_type('Text/CSV; charset="UTF-8"; header=present') == CSV


def test_answers_keep_the_order_in_every_type() -> None:
    assert json.loads(write_predictions(PREDICTIONS, JSON)) == {"predictions": [one.document() for one in PREDICTIONS]}
    lines = write_predictions(PREDICTIONS, JSON_LINES).splitlines()
    assert [json.loads(line) for line in lines] == [one.document() for one in PREDICTIONS]
    assert write_predictions(PREDICTIONS, CSV) == b"5,0.0,0.0,0.125,0.25,0.625,false\n1,1.0,0.0,0.0,0.0,0.0,true\n"


def test_sagemakers_variables_and_ours_are_read() -> None:
    settings = Settings.from_environment(
        {
            "SAGEMAKER_BASE_DIR": "/base",
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "SAGEMAKER_SAFE_PORT_RANGE": "9000-9010",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "3",
            "SERVE_MAX_BATCH": "8",
            "SERVE_MAX_DELAY_MS": "20",
            "SERVE_MAX_QUEUE": "100",
            "SERVE_ANSWER_SECONDS": "5",
            "SERVE_DRAIN_SECONDS": "0",
        }
    )
    assert settings == Settings(Path("/base/model"), 9000, 8, 0.02, 100, 3 << 20, 5, 0)


def test_by_default_sagemakers_own_limits_are_kept() -> None:
    settings = Settings.from_environment({})
    assert settings.answer_seconds < 60
    assert settings.drain_seconds < 30


def test_a_batch_transform_job_waits_longer_and_may_queue_what_it_likes() -> None:
    alone = Settings.from_environment({})
    batch = Settings.from_environment({"SAGEMAKER_BATCH": "true"})
    assert (batch.max_payload, alone.max_payload) == (6 << 20, 25 << 20)
    assert batch.answer_seconds > 60 > alone.answer_seconds
    assert batch.max_queue > 6 << 16 > alone.max_queue


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "9000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "9010-9000"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "-1"),
        ("SERVE_MAX_BATCH", "0"),
        ("SERVE_MAX_DELAY_MS", "1.5"),
        ("SERVE_MAX_QUEUE", "١٢"),
        ("SERVE_ANSWER_SECONDS", "0"),
        ("SERVE_DRAIN_SECONDS", "25 s"),
    ],
)
def test_a_setting_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.requests["invocations", 200] += 3
    for seconds in (0.004, 0.005, 0.3, 100.0):
        metrics.seconds.observe(seconds)
    text = metrics.text(queue=7, is_ready=True)
    lines = text.splitlines()
    assert text.endswith("\n")
    assert 'serve_requests_total{path="invocations",code="200"} 3' in lines
    assert 'serve_request_seconds_bucket{le="0.005"} 2' in lines
    assert 'serve_request_seconds_bucket{le="0.5"} 3' in lines
    assert 'serve_request_seconds_bucket{le="+Inf"} 4' in lines
    assert "serve_request_seconds_count 4" in lines
    assert "serve_queue_reviews 7" in lines
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")} <= {
        f"{name}{suffix}" for name in names for suffix in ("", "_bucket", "_sum", "_count")
    }
