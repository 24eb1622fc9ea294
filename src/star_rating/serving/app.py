"""The paths of SageMaker's hosting contract as an ASGI application, and the process that runs it until SIGTERM.

    exit_code = serve(Settings.from_environment(os.environ))

GET /ping, POST /invocations, GET /execution-parameters (batch transform), GET /metrics. One event loop does the HTTP,
two threads the model, two threads the tokenizing. The port is open while the model loads: /ping says 503 until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import uvicorn

from star_rating.failures import ConfigurationError
from star_rating.serving import formats
from star_rating.serving.batching import CONCURRENT_BATCHES, Batcher, QueueFullError
from star_rating.serving.engine import Engine
from star_rating.serving.formats import RequestError
from star_rating.serving.metrics import CONTENT_TYPE, Metrics
from star_rating.serving.settings import MEBIBYTE, Settings

log = logging.getLogger(__name__)

CONCURRENT_TRANSFORMS = 4
"""Requests at a time that a batch transform job is asked for: enough for full batches."""
SMALL_BODY = 4096
"""Bytes that are read and tokenized sooner than another thread is woken up."""
MOST_DISCARDED = 4
"""Times the limit: what is read of a body that is too large."""
TEXT = "text/plain; charset=utf-8"

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@dataclass
class _Answer:
    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class _Details:
    """What the log says of a request, as far as it is known."""

    reviews: int | None = None
    tokens: int | None = None
    truncated: int | None = None
    error: str | None = None


class Application:
    """Answers requests; `engine` and `batcher` come once the model is loaded."""

    def __init__(self, settings: Settings, tokenizing: ThreadPoolExecutor) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.engine: Engine | None = None
        self.batcher: Batcher | None = None
        self.is_draining = False
        self.in_work = 0
        """Invocations that have not been answered yet."""
        self.is_idle = asyncio.Event()
        """Set while there are none."""
        self.is_idle.set()
        self._tokenizing = tokenizing

    @property
    def is_ready(self) -> bool:
        """Whether invocations are taken."""
        return self.batcher is not None and not self.is_draining

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # no websocket is answered
            return
        started = time.monotonic()
        details = _Details()
        path = scope["path"]
        self._take_up(path == "/invocations")
        try:
            try:
                answer = await self._answer(scope, receive, details)
            except RequestError as error:
                details.error = str(error)
                retry = ((b"retry-after", b"1"),) if error.status in (429, 503) else ()
                answer = _Answer(error.status, f"{error}\n".encode(), headers=retry)
            except Exception as error:
                log.exception("A defect")
                details.error = type(error).__name__
                answer = _Answer(500, b"A defect of the image: its log has the traceback.\n")
            self._count(scope, answer, details, time.monotonic() - started)
            await _reply(send, answer, closes=self.is_draining or answer.status in (408, 413))
        finally:
            self._take_up(-(path == "/invocations"))

    def _take_up(self, invocations: int) -> None:
        self.in_work += invocations
        if self.in_work:
            self.is_idle.clear()
        else:
            self.is_idle.set()

    async def _answer(self, scope: MutableMapping[str, Any], receive: _Receive, details: _Details) -> _Answer:
        path, method = scope["path"], scope["method"]
        methods = {"/ping": "GET", "/invocations": "POST", "/execution-parameters": "GET", "/metrics": "GET"}
        if path not in methods:
            raise RequestError(404, f"There is no such path. Known are {', '.join(methods)}.")
        allowed = ("GET", "HEAD") if methods[path] == "GET" else (methods[path],)
        if method not in allowed:
            headers = ((b"allow", ", ".join(allowed).encode()),)
            details.error = f"{path} takes {' and '.join(allowed)}, not this method."
            return _Answer(405, f"{details.error}\n".encode(), headers=headers)
        if path == "/invocations":
            return await self._invoke(scope, receive, details)
        if path == "/metrics":
            queue = self.batcher.waiting if self.batcher is not None else 0
            return _Answer(200, self.metrics.text(queue=queue, is_ready=self.is_ready).encode(), CONTENT_TYPE)
        if path == "/execution-parameters":
            return _Answer(200, json.dumps(self._execution_parameters()).encode(), formats.JSON)
        self._require_ready()
        return _Answer(200)

    def _execution_parameters(self) -> dict[str, Any]:
        return {
            "MaxConcurrentTransforms": CONCURRENT_TRANSFORMS,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self.settings.max_payload // MEBIBYTE,
        }

    def _require_ready(self) -> None:
        if self.is_draining:
            raise RequestError(503, "The server is about to end. Send the request to another one.")
        if self.batcher is None:
            raise RequestError(503, "The model is being loaded. Send the request again in some seconds.")

    async def _invoke(self, scope: MutableMapping[str, Any], receive: _Receive, details: _Details) -> _Answer:
        self._require_ready()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError(415, "Content-Encoding is not read. Send the body as it is.")
        media_type = formats.request_type(headers.get("content-type", ""))
        wanted = formats.answer_type(headers.get("accept", ""), media_type)
        seconds = self.settings.answer_seconds
        phase = RequestError(408, f"The body did not arrive within {seconds} s. Send it faster, or less of it.")
        try:
            async with asyncio.timeout(seconds):
                body = await self._body(headers, receive)
                phase = RequestError(
                    503,
                    f"No answer is ready after {seconds} s. Send fewer reviews at a time, or use more instances.",
                )
                predictions = await self._predict(body, media_type, details)
        except TimeoutError:
            raise phase from None
        return _Answer(200, formats.write_predictions(predictions, wanted), wanted)

    async def _body(self, headers: dict[str, str], receive: _Receive) -> bytes:
        limit = self.settings.max_payload
        too_large = RequestError(
            413, f"The body has more than {limit // MEBIBYTE} MB. Send the reviews in several requests."
        )
        declared = int(headers.get("content-length", 0))  # the parser has seen to it that it is a number
        if declared > (limit if "expect" in headers else MOST_DISCARDED * limit):  # a client that waits for a word
            raise too_large
        body = bytearray()
        arrived = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "The connection was closed before the body had arrived.")
            piece = message.get("body", b"")
            arrived += len(piece)
            if arrived <= limit:
                body += piece
            else:  # read to its end, and not kept: a client that is still sending does not read the answer
                body.clear()
            if arrived > MOST_DISCARDED * limit:
                raise too_large
            if not message.get("more_body", False):
                if arrived > limit:
                    raise too_large
                return bytes(body)

    async def _predict(self, body: bytes, media_type: str, details: _Details) -> list[formats.Prediction]:
        engine, batcher = self.engine, self.batcher
        assert engine is not None
        assert batcher is not None
        loop = asyncio.get_running_loop()
        most = self.settings.max_queue

        def read() -> list[Any]:
            reviews = formats.read_reviews(body, media_type)
            details.reviews = len(reviews)
            if len(reviews) > most:
                raise RequestError(
                    413,
                    f"The request holds {len(reviews):,} reviews, more than the {most:,} that may wait "
                    "(SERVE_MAX_QUEUE). Send them in several requests.",
                )
            return engine.encode(reviews)

        encodings = read() if len(body) <= SMALL_BODY else await loop.run_in_executor(self._tokenizing, read)
        details.tokens = sum(len(encoding.ids) for encoding in encodings)
        try:
            future = batcher.submit([encoding.ids for encoding in encodings])
        except QueueFullError:
            if self.is_draining:
                self._require_ready()
            raise RequestError(
                429, f"{batcher.waiting:,} reviews wait already. Send the request again later, or use more instances."
            ) from None
        try:
            probabilities = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.cancelled() and self.is_draining:  # the time for draining is over
                self._require_ready()
            raise
        details.truncated = sum(encoding.truncated for encoding in encodings)
        self.metrics.reviews += len(encodings)
        self.metrics.truncated += details.truncated
        return engine.describe(encodings, probabilities)

    def _count(self, scope: MutableMapping[str, Any], answer: _Answer, details: _Details, seconds: float) -> None:
        known = scope["path"] in ("/ping", "/invocations", "/execution-parameters", "/metrics")
        path = scope["path"].removeprefix("/") if known else "other"
        self.metrics.requests[path, answer.status] += 1
        if path == "invocations":
            self.metrics.seconds.observe(seconds)
        elif path == "ping" or answer.status < 400:  # every few seconds
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request": uuid.uuid4().hex[:12],
            "path": path,
            "status": answer.status,
            "milliseconds": round(seconds * 1000, 1),
            "reviews": details.reviews,
            "tokens": details.tokens,
            "truncated": details.truncated,
            "answer_bytes": len(answer.body),
            "error": details.error,
        }
        sys.stdout.write(json.dumps({name: value for name, value in line.items() if value is not None}) + "\n")


async def _reply(send: _Send, answer: _Answer, *, closes: bool) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class _Server(uvicorn.Server):
    """uvicorn's, with signals of our own: it would end with the signal's code, and refuse connections at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers alone."""
        yield


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return 0 after an orderly end, raise Failure where the model cannot be loaded."""
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        # Two: a text of a million characters takes a second, and others' go on meanwhile.
        application = Application(settings, stack.enter_context(ThreadPoolExecutor(2, "tokenizer")))
        listener = _listen(settings.port)
        server = _Server(_configuration(application))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        serving = asyncio.create_task(server.serve([listener]))
        loading = loop.run_in_executor(None, _load, application, stack)
        stopping = asyncio.create_task(stop.wait())
        log.info("Listening on port %d; loading %s", listener.getsockname()[1], settings.model)
        try:
            await asyncio.wait({serving, loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                await loading
                log.info("Ready: the model is loaded, at most %d reviews a batch", settings.max_batch)
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await _drain(application)
        finally:
            server.should_exit = True
            stopping.cancel()
            await serving
        if not loading.done():  # nothing ends an import in another thread
            sys.stdout.flush()
            os._exit(0)
    return 0


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("0.0.0.0", port), backlog=2048)  # noqa: S104 - SageMaker connects from outside
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} cannot be opened: {error.strerror}. Set SAGEMAKER_BIND_TO_PORT to another one, or end what "
            "uses it."
        ) from error
    # For the connections too. asyncio does not see that this is TCP, and an answer is two writes: the second one
    # would wait for the client to acknowledge the first, 40 ms later.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _configuration(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


def _load(application: Application, stack: ExitStack) -> None:
    settings, metrics = application.settings, application.metrics
    engine = Engine.load(settings.model)
    batcher = Batcher(
        engine.probabilities,
        max_batch=settings.max_batch,
        max_delay=settings.max_delay,
        max_queue=settings.max_queue,
        concurrent_batches=CONCURRENT_BATCHES,
        on_batch=metrics.batches.observe,
    )
    application.engine, application.batcher = engine, stack.enter_context(batcher)


async def _drain(application: Application) -> None:
    """Answer what has been taken, and 503 to everything else, for at most `drain_seconds`."""
    application.is_draining = True
    log.info("Stopping: %d request(s) are being answered", application.in_work)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(application.settings.drain_seconds):
            await application.is_idle.wait()
    if application.in_work:
        log.warning("Stopping: %d request(s) are left without a prediction", application.in_work)
        if application.batcher is not None:
            application.batcher.cancel_waiting()
