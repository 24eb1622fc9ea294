"""A real server process on loopback: the hosting contract, bad requests, equal predictions, overload, the end."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_rating.failures import WeightsError
from star_rating.results.inference import ModelFolder
from star_rating.serving import app
from star_rating.serving.engine import Engine
from star_rating.serving.formats import CSV, JSON, JSON_LINES, TEXT
from tests.helpers.fuzzing import INTERESTING_BYTES
from tests.helpers.serving import LENGTH, Answer, Server, running

pytestmark = pytest.mark.slow

WORDS = ["great", "product", "broke", "after", "it", "was", "bad", "but", "not", "the", "best", "book", "poor", "ok"]
LIMITS = {"SERVE_MAX_BATCH": "1", "SERVE_MAX_QUEUE": "400", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1", "SAGEMAKER_BATCH": "no"}


@pytest.fixture(scope="module")
def server(served_model: Path) -> Iterator[Server]:
    with running(served_model) as started:
        assert set(started.wait_until_ready()) == {503, 200}
        yield started


def made_up(seed: int, count: int, longest: int = 100) -> list[str]:
    pick = random.Random(seed)
    return [" ".join(pick.choices(WORDS, k=pick.randint(1, longest))) for _ in range(count)]


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    predictions: list[dict[str, Any]] = json.loads(answer.body)["predictions"]
    return predictions


def probabilities(predictions: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([list(one["probabilities"].values()) for one in predictions])


def by_saved_model(base: Path, reviews: list[str]) -> np.ndarray[Any, Any]:
    """Ask the SavedModel itself, one review at a time."""
    import tensorflow as tf

    folder = ModelFolder(base / "model")
    serve = tf.saved_model.load(str(folder.saved_model)).signatures["serving_default"]
    padded = [folder.pad([encoding.ids]) for encoding in folder.encode(reviews)]
    return np.concatenate(
        [serve(**{name: tf.constant(ids, tf.int32) for name, ids in one.items()})["probabilities"] for one in padded]
    )


def test_predictions_are_the_saved_models_whatever_the_batching(server: Server, served_model: Path) -> None:
    reviews = made_up(1, 60)
    expected = by_saved_model(served_model, reviews)
    together = rows(server.post(json.dumps({"instances": reviews}).encode()))
    with ThreadPoolExecutor(16) as clients:
        apart = list(clients.map(lambda review: rows(server.post(json.dumps([review]).encode()))[0], reviews))
    for predictions in (together, apart):
        np.testing.assert_allclose(probabilities(predictions), expected, rtol=0, atol=1e-6)
        assert [one["stars"] for one in predictions] == (1 + expected.argmax(axis=1)).tolist()
    assert server.metric('serve_batch_reviews_bucket{le="1"}') < server.metric("serve_batch_reviews_count")


def test_each_type_is_answered_alike_and_in_order(server: Server) -> None:
    reviews = made_up(2, 20, longest=30)
    expected = rows(server.post(json.dumps([{"review_body": review} for review in reviews]).encode()))
    text = "".join(f"{review}\n" for review in reviews).encode()
    as_lines = server.post(text, TEXT)
    assert as_lines.content_type == JSON_LINES
    table = server.post(b"id,review_body\n" + b"".join(b'7,"%s"\n' % line for line in text.splitlines()), CSV)
    assert table.content_type == CSV
    cells = [line.split(",") for line in table.body.decode().splitlines()]
    assert [json.loads(line)["stars"] for line in as_lines.body.splitlines()] == [one["stars"] for one in expected]
    np.testing.assert_allclose(
        [[float(cell) for cell in row[1:6]] for row in cells], probabilities(expected), atol=1e-6
    )
    assert rows(server.post(text, TEXT, accept=JSON))[0].keys() == {"stars", "probabilities", "truncated"}


def test_a_review_of_100_000_words_is_cut_as_in_training_and_the_answer_says_so(server: Server) -> None:
    long = " ".join(made_up(3, 1, longest=1)[0] for _ in range(100_000))
    beginning = " ".join(long.split()[: LENGTH - 2])
    whole, cut = rows(server.post(json.dumps([beginning, long]).encode()))
    assert (whole["truncated"], cut["truncated"]) == (False, True)
    assert cut["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)


def test_execution_parameters_are_what_batch_transform_asks_for(server: Server) -> None:
    parameters = json.loads(server.request("GET", "/execution-parameters").body)
    assert parameters == {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 25}


def test_a_request_is_one_line_of_the_log_without_its_text(server: Server) -> None:
    before = len(server.lines)
    server.post(b"the battery broke\nok\n", TEXT)
    server.post(b"secret", "application/xml")
    for _ in range(1000):
        if len(server.lines) >= before + 2:
            break
        server.request("GET", "/ping")
    good, bad = (json.loads(line) for line in server.lines[before : before + 2])
    assert (good["status"], good["reviews"], good["truncated"], good["path"]) == (200, 2, 0, "invocations")
    assert good["tokens"] == 8
    assert good["milliseconds"] > 0
    assert (bad["status"], "application/xml" in bad["error"]) == (415, True)
    assert not any(word in line for line in server.lines for word in ("battery", "secret"))


OK = b'["ok"]'
BAD = [
    # request line, body, headers, status, what the sentence says
    ("GET /", None, {}, 404, "no such path"),
    ("POST /invocation", OK, {"content-type": JSON}, 404, "/invocations"),
    ("GET /invocations", None, {}, 405, "POST"),
    ("POST /ping", b"", {}, 405, "GET"),
    ("DELETE /metrics", None, {}, 405, "GET and HEAD"),
    ("HEAD /invocations", None, {}, 405, ""),
    ("POST /invocations", OK, {}, 415, "no Content-Type"),
    ("POST /invocations", OK, {"content-type": "application/xml"}, 415, "'application/xml' is not read"),
    ("POST /invocations", OK, {"content-type": "application/json; charset=latin-1"}, 415, "'latin-1'"),
    ("POST /invocations", OK, {"content-type": JSON, "content-encoding": "gzip"}, 415, "Content-Encoding"),
    ("POST /invocations", OK, {"content-type": JSON, "accept": "text/html"}, 406, "'text/html'"),
    ("POST /invocations", b"", {"content-type": JSON}, 400, "not JSON"),
    ("POST /invocations", b"{", {"content-type": JSON}, 400, "line 1 column 2"),
    ("POST /invocations", b"It broke.", {"content-type": JSON}, 400, "not JSON"),
    ("POST /invocations", b'"It broke."', {"content-type": JSON}, 400, "neither an object nor a list"),
    ("POST /invocations", b"{}", {"content-type": JSON}, 400, "without instances"),
    ("POST /invocations", b'{"instances": "ok"}', {"content-type": JSON}, 400, "not a list"),
    ("POST /invocations", b"[]", {"content-type": JSON}, 400, "holds no review"),
    ("POST /invocations", b'{"instances": []}', {"content-type": JSON}, 400, "holds no review"),
    ("POST /invocations", b'["ok", 7]', {"content-type": JSON}, 400, "Record 2 is not a text"),
    ("POST /invocations", b'["ok", null]', {"content-type": JSON}, 400, "Record 2 is not a text"),
    ("POST /invocations", b'["ok", ["ok"]]', {"content-type": JSON}, 400, "Record 2 is not a text"),
    ("POST /invocations", b'["ok", "ok", " \\n "]', {"content-type": JSON}, 400, "Record 3 is empty"),
    ("POST /invocations", b'[{"text": "ok"}]', {"content-type": JSON}, 400, "Record 1 has no key review_body"),
    ("POST /invocations", b'["ok", "\\ud83d"]', {"content-type": JSON}, 400, "Record 2 holds half of a surrogate pair"),
    ("POST /invocations", b"[" * 100_000, {"content-type": JSON}, 400, "nested too deeply"),
    ("POST /invocations", b"[" + b"9" * 5000 + b"]", {"content-type": JSON}, 400, "number that is too long"),
    ("POST /invocations", b'["caf\xe9"]', {"content-type": JSON}, 400, "Byte 5 of the body is not UTF-8"),
    ("POST /invocations", b'"ok"\n{"review_body": }\n', {"content-type": JSON_LINES}, 400, "Record 2 is not JSON"),
    ("POST /invocations", b'"ok"\n\n"ok"\n', {"content-type": JSON_LINES}, 400, "Record 2 is not JSON"),
    ("POST /invocations", b"ok\n\nok\n", {"content-type": TEXT}, 400, "Record 2 is empty"),
    ("POST /invocations", b"", {"content-type": TEXT}, 400, "holds no review"),
    ("POST /invocations", b"5,ok,really\n", {"content-type": CSV}, 400, "Record 1 has 3 fields"),
    ("POST /invocations", b'review_body\nok\n"bad\n', {"content-type": CSV}, 400, "Record 2 is not CSV"),
    ("POST /invocations", b"id,review_body\n7,ok\n8\n", {"content-type": CSV}, 400, "Record 2 is empty"),
    ("POST /invocations", b"review_body\n", {"content-type": CSV}, 400, "holds no review"),
    ("POST /invocations", b"a" * 1_000_001, {"content-type": TEXT}, 400, "Record 1 has 1,000,001 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "body", "headers", "status", "sentence"), BAD)
def test_a_bad_request_is_told_what_to_change(
    server: Server,
    line: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    method, path = line.split()
    answer = server.request(method, path, body, **headers)
    text = answer.body.decode()
    assert answer.status == status
    assert sentence in text
    assert text.endswith(".\n") or method == "HEAD"
    assert "Traceback" not in text
    assert ("allow" in answer.headers) == (status == 405)


def test_damaged_bodies_are_answered_or_refused(server: Server, scaled: Callable[..., int]) -> None:
    pick = random.Random(21)
    good: list[tuple[bytes, str]] = [
        (b'{"instances": ["It broke.", {"review_body": "a great book"}]}', JSON),
        (b'[{"review_body": "a great book", "id": 7}]', JSON),
        (b'"It broke."\n{"review_body": "b\xc3\xa4d"}\n', JSON_LINES),
        (b'review_body,id\n"It broke, twice",7\nok,8\n', CSV),
        (b"It broke.\nok\n", TEXT),
    ]

    def damaged(body: bytes) -> bytes:
        for _ in range(pick.randint(1, 4)):
            at = pick.randrange(len(body) + 1)
            piece = pick.choice([*INTERESTING_BYTES, bytes([pick.randrange(256)]), body[: pick.randrange(20)]])
            body = body[:at] + piece + body[at + pick.choice([0, 0, 1, 5]) :]
        return body

    requests = [(damaged(body), media_type) for body, media_type in (pick.choice(good) for _ in range(scaled(5000)))]
    process = server.process.pid
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(lambda request: server.post(*request).status, requests))
    assert set(statuses) == {200, 400}
    assert server.process.poll() is None
    assert server.process.pid == process
    assert server.post(OK).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\ngone",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_a_broken_connection_is_none_of_the_others_business(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(sent)
    assert server.post(OK).status == 200
    assert server.metric('serve_requests_total{path="invocations",code="500"}') == 0


def exchange(server: Server, *sent: bytes) -> bytes:
    """Send one piece after the other on a connection of its own; return all that comes until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        for piece in sent:
            client.sendall(piece)
        received = bytearray()
        while piece := client.recv(65536):
            received += piece
    return bytes(received)


def post(body: bytes = OK, *headers: str, version: str = "1.1", target: str = "/invocations") -> bytes:
    lines = [f"POST {target} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


TYPE, CLOSE = f"Content-Type: {JSON}", "Connection: close"
CHUNKED = f"POST /invocations HTTP/1.1\r\nHost: x\r\n{TYPE}\r\n{CLOSE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param([post(OK, TYPE, version="1.0")], 1, id="HTTP/1.0, as nginx asks by default"),
        pytest.param([post(OK, TYPE), post(OK, TYPE, CLOSE)], 2, id="keep-alive"),
        pytest.param([post(OK, TYPE) * 4 + post(OK, TYPE, CLOSE)], 5, id="pipelining"),
        pytest.param([CHUNKED, b'2\r\n["\r\n', b'4;x=y\r\nok"]\r\n0\r\n\r\n'], 1, id="chunks"),
        pytest.param([post(OK, TYPE, CLOSE, target="/invocations?x=1&y=%20")], 1, id="query string"),
        pytest.param([post(OK, TYPE, CLOSE, target="http://x:8080/invocations")], 1, id="whole URL"),
        pytest.param([post(OK, 'CONTENT-TYPE: Application/JSON; Charset="UTF-8"', CLOSE)], 1, id="charset"),
        pytest.param([post(b"\xef\xbb\xbf" + OK, TYPE, CLOSE)], 1, id="byte order mark"),
        pytest.param([post(b'"ok"\r\n"ok"\r\n', f"Content-Type: {JSON_LINES}", CLOSE)], 1, id="CRLF"),
        pytest.param([post(b"ok", f"Content-Type: {TEXT}", CLOSE)], 1, id="SingleRecord, no line end"),
        pytest.param(
            [post(OK, TYPE, CLOSE, "X-Amzn-SageMaker-Custom-Attributes: a=b", "X-Forwarded-For: 10.0.0.1, 10.0.0.2")],
            1,
            id="headers of SageMaker and of proxies",
        ),
    ],
)
def test_clients_have_different_habits(server: Server, sent: list[bytes], answers: int) -> None:
    received = exchange(server, *sent)
    assert received.count(b"HTTP/1.1 200 OK") == answers
    assert received.count(b'"stars": ') == answers + (b'"ok"\r\n"ok"' in sent[0])


def test_a_client_that_waits_for_a_word_gets_it(server: Server) -> None:
    """Expect: 100-continue (curl from a megabyte on): 100 before the body, or a refusal instead of it."""
    head, _, body = post(OK, TYPE, CLOSE, "Expect: 100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    too_large = head.replace(f"Content-Length: {len(OK)}".encode(), b"Content-Length: 30000000") + b"\r\n\r\n"
    assert exchange(server, too_large).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", ["/ping", "/metrics", "/execution-parameters"])
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    answer = server.request("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")


def test_no_answer_waits_for_the_client_to_acknowledge_its_first_packet() -> None:
    with app._listen(0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_time_runs_out_and_a_killed_server_leaves_nothing_in_the_way(served_model: Path) -> None:
    """A body that does not come is 408, an answer that is not ready 503; what is left when draining is over, 503."""
    limits = {"SERVE_MAX_BATCH": "1", "SERVE_MAX_QUEUE": "100000"}
    forever = b"ok\n" * 20_000  # as many batches
    files = sorted(served_model.rglob("*"))
    with running(served_model, **limits, SERVE_ANSWER_SECONDS="1") as server:
        server.wait_until_ready()
        assert exchange(server, post(OK, TYPE)[:-1]).startswith(b"HTTP/1.1 408 ")
        answer = server.post(forever, TEXT)
        assert (answer.status, b"No answer is ready after 1 s" in answer.body) == (503, True)
        assert server.post(OK).status == 200
        server.process.kill()
        assert server.process.wait(60) == -signal.SIGKILL
    port = str(server.port)
    with running(served_model, **limits, SERVE_DRAIN_SECONDS="0", SAGEMAKER_BIND_TO_PORT=port) as server:
        server.wait_until_ready()
        assert server.post(OK).status == 200
        answers: list[Answer] = []
        left = threading.Thread(target=lambda: answers.append(server.post(forever, TEXT)))
        left.start()
        server.wait_for_metric("serve_queue_reviews")
        assert server.stop() == 0
        left.join()
    assert (answers[0].status, answers[0].headers["connection"]) == (503, "close")
    assert sorted(served_model.rglob("*")) == files


def test_a_small_server_says_so_and_ends_in_order(served_model: Path) -> None:
    """Too much at once is 413, too much together 429, after SIGTERM 503; what was taken is answered."""
    many = json.dumps(made_up(5, 400)).encode()
    with running(served_model, **LIMITS) as server:
        server.wait_until_ready()
        assert server.post(b"a\n" * 600_000, TEXT).status == 413
        too_many = server.post(b"ok\n" * 401, TEXT)
        assert (too_many.status, b"401 reviews, more than the 400" in too_many.body) == (413, True)

        answers: list[Answer] = []
        first = threading.Thread(target=lambda: answers.append(server.post(many)))
        first.start()
        server.wait_for_metric("serve_queue_reviews")
        refused = server.post(many)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")

        # Connected before the end began, and asking after it.
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as late:
            server.process.terminate()
            statuses = {server.request("GET", "/ping").status for _ in range(20) if first.is_alive()}
            late.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            late.recv(100)
        first.join()
        assert server.process.wait(60) == 0
    assert len(rows(answers[0])) == 400
    assert statuses <= {200, 503}
    assert 503 in statuses


def test_a_folder_without_a_model_ends_the_server_with_a_sentence(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        code = server.process.wait(60)
        server._reader.join()
    assert code == 12
    assert "saved_model.pb is missing" in server.lines[-1]
    assert not any("Traceback" in line for line in server.lines)


SAVED_MODEL, FINE_TUNED = Path("tensorflow/saved_model/0"), Path("transformers/fine-tuned")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (SAVED_MODEL / "saved_model.pb", b"damaged"),
        (SAVED_MODEL / "variables" / "variables.data-00000-of-00001", b"cut short"),
        (SAVED_MODEL / "variables" / "variables.index", b""),
        (FINE_TUNED / "tokenizer.json", b"{"),
        (FINE_TUNED / "config.json", b"{}"),
        (FINE_TUNED / "config.json", b'{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}'),
        (FINE_TUNED / "tokenizer_config.json", b"{}"),
    ],
)
def test_a_damaged_model_is_refused_at_the_start(
    served_model: Path, tmp_path: Path, file: Path, content: bytes
) -> None:
    model = tmp_path / "model"
    shutil.copytree(served_model / "model", model)
    (model / file).write_bytes(content)
    with pytest.raises(WeightsError, match=r"Unpack model.*again"):
        Engine.load(model)
