"""S3's requests on their way to moto: bodies go straight to the disk and come straight from it, in chunks.

    application = s3_middleware(moto, objects)

Moto answers every request, but of an object's bytes it gets and gives none: it is asked with an empty body, and its
answer to HEAD stands before a GET's bytes. What it has changed is kept before it is answered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, unescape

from local_sagemaker.aws_request import read_aws_request
from local_sagemaker.services.s3_store import Incoming, ObjectStore, chunks_of, is_bucket_name
from local_sagemaker.state_files import StorageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CHANGING = ("PUT", "POST", "DELETE")

_LONGEST_DOCUMENT = 4 << 20
"""Bytes of a body that is no object: XML, of 10,000 parts or 1,000 keys."""

_DEEPEST_DOCUMENT = 32
"""Elements within each other; an inventory's configuration has seven."""

_CHUNK = 1 << 20

_NOT_THE_OBJECT = frozenset(
    ("acl", "attributes", "encryption", "legal-hold", "restore", "retention", "select", "tagging", "torrent", "uploads")
)
"""Query parameters that make a request on a key one for something else than its bytes."""

_OVERRIDES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")

_PART = re.compile(rb"<Part\b[^>]*>(.*?)</Part>", re.DOTALL)
_PART_NUMBER = re.compile(rb"<PartNumber>\s*([0-9]{1,5})\s*</PartNumber>")
_PART_ETAG = re.compile(rb"<ETag>\s*(.*?)\s*</ETag>", re.DOTALL)

Headers = list[tuple[str, str]]


class _RefusedError(Exception):
    """A request that is answered with an error of S3's."""

    def __init__(self, status: str, code: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or []


def s3_middleware(behind: WSGIApplication, objects: ObjectStore) -> WSGIApplication:
    """Return `behind`, with S3's bytes on the disk, and with what its requests change kept before they are answered."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if read_aws_request(environ).service != "s3":
            return behind(environ, start_response)
        request = _Request(environ, behind, objects)
        try:
            return request.answer(start_response)
        except StorageError as error:
            # Not 507: for any status of 500 and above clients ask again, and name an outage in the end.
            refusal = _RefusedError("400 Bad Request", "InsufficientStorage", str(error))
            return _refuse(start_response, refusal, is_head=environ["REQUEST_METHOD"] == "HEAD")
        except _RefusedError as refusal:
            return _refuse(start_response, refusal, is_head=environ["REQUEST_METHOD"] == "HEAD")

    return application


class _Request:
    """One request of S3's."""

    def __init__(self, environ: WSGIEnvironment, behind: WSGIApplication, objects: ObjectStore) -> None:
        self._environ = environ
        self._behind = behind
        self._objects = objects
        self._method: str = environ["REQUEST_METHOD"]
        self._query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        self._bucket, _, self._key = _path(environ).removeprefix("/").partition("/")

    def answer(self, start_response: StartResponse) -> Iterable[bytes]:
        self._refuse_what_is_no_bucket()
        is_object = bool(self._key) and not _NOT_THE_OBJECT & self._query.keys()
        if is_object and self._method == "GET" and "uploadId" not in self._query:
            return self._get(start_response)
        if is_object and self._method == "PUT":
            return self._put(start_response)
        if is_object and self._method == "POST" and "uploadId" in self._query:
            return self._complete(start_response)
        if self._method in _CHANGING and self._is_form():
            with self._form() as form:
                return self._change(start_response, None, _with_body(form, form.seek(0, io.SEEK_END)))
        if self._method in _CHANGING:
            # Read here: nobody else is to wait for a client that is slow.
            return self._set(start_response, self._document())
        if not is_object:
            self._refuse_wrong_numbers()
        return self._behind(self._environ, start_response)

    def _set(self, start_response: StartResponse, document: bytes) -> Iterable[bytes]:
        """Let moto take a document; raise _RefusedError for one that is malformed, of which nothing is kept."""
        if "policy" in self._query and self._method == "PUT":
            _refuse_what_is_no_policy(document)
        elif document:
            _refuse_what_is_no_xml(document)
        try:
            return self._change(start_response, None, _with_body(io.BytesIO(document), len(document)))
        except (AttributeError, ExpatError, LookupError, TypeError, ValueError):
            if not self._query:
                raise
            raise _malformed_xml() from None  # moto looks for elements without asking whether they are there

    def _refuse_wrong_numbers(self) -> None:
        """Raise _RefusedError for what is to be a number in a request for a list, and is none."""
        for name in ("max-keys", "max-parts", "max-uploads"):
            if not re.fullmatch(r"[0-9]{1,9}|", self._one(name) or ""):
                text = f"Provided {name} not an integer or within integer range"
                raise _RefusedError("400 Bad Request", "InvalidArgument", text)

    def _refuse_what_is_no_bucket(self) -> None:
        """Raise _RefusedError for a name that no bucket can have, and for a request that would change all of S3."""
        if self._bucket and not is_bucket_name(self._bucket):
            text = f"The specified bucket is not valid: {self._bucket!r}"
            raise _RefusedError("400 Bad Request", "InvalidBucketName", text)
        if not self._bucket and self._method not in ("GET", "HEAD"):
            text = "The specified method is not allowed against this resource: it names no bucket."
            raise _RefusedError("405 Method Not Allowed", "MethodNotAllowed", text)

    def _get(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with an object's bytes, or those of a range or a part; what has no bytes is moto's."""
        version = self._one("versionId")
        with self._objects.changing(self._bucket, self._key):
            status, headers, _ = self._ask({"REQUEST_METHOD": "HEAD", **_WITHOUT_RANGE, **self._without_part_number()})
            stored = self._objects.stored(self._bucket, self._key, version)
            if stored is None or status[:3] != "200":
                return self._behind(self._environ, start_response)
            sizes = self._objects.part_sizes(self._bucket, self._key, version)
            content = stored.path.open("rb")
        with ExitStack() as stack:
            stack.callback(content.close)
            headers = _without(headers, "content-length")
            found = _part_range(self._one("partNumber"), sizes, stored.size) or _range(
                self._environ.get("HTTP_RANGE", ""), stored.size
            )
            begin, end = found or (0, stored.size)
            if found is not None:
                status = "206 Partial Content"
                headers = [entry for entry in headers if not entry[0].lower().startswith("x-amz-checksum-")]
                headers.append(("Content-Range", f"bytes {begin}-{end - 1}/{stored.size}"))
                if "partNumber" in self._query and sizes:
                    headers.append(("x-amz-mp-parts-count", str(len(sizes))))
            for name in _OVERRIDES:
                if value := self._one(f"response-{name}"):
                    headers = [*_without(headers, name), (name, _header_value(f"response-{name}", value))]
            start_response(status, [*headers, ("Content-Length", str(end - begin))])
            stack.pop_all()
        return _FileRange(content, begin, end - begin)

    def _put(self, start_response: StartResponse) -> Iterable[bytes]:
        """Make an object, or a part of one, of the request's body or of another object."""
        if "HTTP_X_AMZ_COPY_SOURCE" in self._environ:
            return self._change(start_response, self._copied(), {"HTTP_X_AMZ_CHECKSUM_ALGORITHM": None})
        body = _Body(self._environ)
        if not self._objects.has_bucket(self._bucket):
            body.drain()
            return self._change(start_response, None, _with_body(io.BytesIO(), 0))
        try:
            incoming = self._objects.receive(self._bucket, body.chunks())
        except (StorageError, _RefusedError):
            body.drain()
            raise
        try:
            body.refuse_other_digest(incoming)
        except _RefusedError:
            incoming.path.unlink(missing_ok=True)
            raise
        return self._change(start_response, incoming, _with_body(io.BytesIO(), 0) | body.checksums())

    def _copied(self) -> Incoming | None:
        """Return the bytes of the object that is to be copied; None, and moto says why, if it is not there."""
        source, _, query = self._environ["HTTP_X_AMZ_COPY_SOURCE"].partition("?")
        bucket, _, key = unquote(source).lstrip("/").partition("/")
        stored = self._objects.stored(bucket, key, parse_qs(query).get("versionId", [None])[-1])
        if stored is None or not self._objects.has_bucket(self._bucket):
            return None
        if "uploadId" not in self._query:
            return self._objects.same(stored, self._bucket)
        found = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", self._environ.get("HTTP_X_AMZ_COPY_SOURCE_RANGE", ""))
        begin, end = (int(found[1]), min(int(found[2]) + 1, stored.size)) if found else (0, stored.size)
        return self._objects.receive(self._bucket, chunks_of(stored.path, begin, end))

    def _complete(self, start_response: StartResponse) -> Iterable[bytes]:
        """Make an object of the parts that have been uploaded."""
        document = self._document()
        listed = [
            (int(number[1]), unescape(etag[1].decode("utf-8", "replace"), {"&quot;": '"', "&#34;": '"'}))
            for part in _PART.findall(document)
            if (number := _PART_NUMBER.search(part)) and (etag := _PART_ETAG.search(part))
        ]
        incoming = self._objects.assembled(self._bucket, self._one("uploadId") or "", listed)
        parts = self._objects.parts(self._bucket, self._one("uploadId") or "")
        answer = self._change(start_response, incoming, _with_body(io.BytesIO(document), len(document)))
        if incoming is not None and incoming.taken:
            for part in parts:
                part.unlink(missing_ok=True)
        return answer

    def _change(
        self, start_response: StartResponse, incoming: Incoming | None, changes: dict[str, Any]
    ) -> Iterable[bytes]:
        """Let moto change what it holds, and keep that, before the answer is given."""
        with self._objects.changing(self._bucket, self._key, incoming):
            status, headers, body = self._ask(changes)
            if not status.startswith(("4", "5")):  # a form may be answered with a redirection
                if self._key and "delete" not in self._query:
                    if "uploadId" not in self._query or self._method == "POST":
                        self._objects.keep(self._bucket, self._key)
                else:
                    self._objects.keep_bucket(self._bucket)
        start_response(status, headers)
        return [body]

    def _ask(self, changes: dict[str, Any]) -> tuple[str, Headers, bytes]:
        """Return moto's answer to the request as changed; None takes an entry away."""
        environ = {name: value for name, value in (self._environ | changes).items() if value is not None}
        answer: list[tuple[str, Headers]] = []

        def remember(status: str, headers: Headers, *_: object) -> Any:  # noqa: ANN401 - WSGI's
            answer.append((status, headers))

        body = b"".join(self._behind(environ, remember))
        return *answer[-1], body

    @contextmanager
    def _form(self) -> Iterator[IO[bytes]]:
        """Keep what a browser's form has sent, its file included, for as long as the request."""
        with tempfile.SpooledTemporaryFile(_CHUNK) as form:
            for chunk in _Body(self._environ).chunks():
                form.write(chunk)
            yield form

    def _document(self) -> bytes:
        body = _Body(self._environ)
        found = bytearray()
        for chunk in body.chunks():
            found += chunk
            if len(found) > _LONGEST_DOCUMENT:
                body.drain()
                raise _RefusedError("400 Bad Request", "MaxMessageLengthExceeded", "Your request was too big.")
        return bytes(found)

    def _is_form(self) -> bool:
        return str(self._environ.get("CONTENT_TYPE", "")).startswith("multipart/form-data")

    def _one(self, parameter: str) -> str | None:
        return self._query[parameter][-1] if parameter in self._query else None

    def _without_part_number(self) -> dict[str, Any]:
        entries = self._environ.get("QUERY_STRING", "").split("&")
        return {"QUERY_STRING": "&".join(entry for entry in entries if not entry.startswith("partNumber="))}


_WITHOUT_RANGE: dict[str, Any] = {"HTTP_RANGE": None}


def _with_body(stream: Any, size: int) -> dict[str, Any]:  # noqa: ANN401 - any file object
    """Return what gives a request another body than the one that came, from its beginning."""
    stream.seek(0)
    return {
        "wsgi.input": stream,
        "CONTENT_LENGTH": str(size),
        "HTTP_TRANSFER_ENCODING": None,
        "HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": None,
        "wsgi.input_terminated": None,
    }


class _Hash(Protocol):
    def update(self, content: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, content: bytes, /) -> None:
        self._value = zlib.crc32(content, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


_HASHES: dict[str, Callable[[], _Hash]] = {
    "crc32": _Crc32,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
"""Those of S3's checksums that Python computes; the others are taken as they come."""

_CHECKSUM = "x-amz-checksum-"


@dataclass
class _Body:
    """A request's body as it is read: of a given length, in HTTP's chunks, or in S3's own (aws-chunked)."""

    environ: WSGIEnvironment
    trailers: dict[str, str] = field(default_factory=dict)
    _left: int | None = None

    def __post_init__(self) -> None:
        length = self.environ.get("CONTENT_LENGTH") or "0"
        is_terminated = bool(self.environ.get("wsgi.input_terminated"))
        self._left = None if is_terminated else int(length) if length.isdecimal() else 0
        wanted = {name for name in _HASHES if self._wants(name)}
        self._hashes = {name: _HASHES[name]() for name in wanted}

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes that the client means; raise _RefusedError for a body that ends early."""
        is_own = self.environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-")
        is_own = is_own or "aws-chunked" in self.environ.get("HTTP_CONTENT_ENCODING", "")
        for chunk in self._own_chunks() if is_own else self._plain_chunks(self._left):
            for known in self._hashes.values():
                known.update(chunk)
            yield chunk

    def drain(self) -> None:
        """Read on to the end, so that the connection's next request is found."""
        while self._read(_CHUNK):
            pass

    def refuse_other_digest(self, incoming: Incoming) -> None:
        """Raise _RefusedError if the bytes are not those that the client has sent."""
        given = self.environ.get("HTTP_CONTENT_MD5")
        pairs = [("Content-MD5", given, bytes.fromhex(incoming.etag))] if given else []
        pairs += [(name, self._given(name), known.digest()) for name, known in self._hashes.items()]
        for name, text, digest in pairs:
            if text is None:
                continue
            try:
                wanted = base64.b64decode(text, validate=True)
            except binascii.Error:
                raise _RefusedError("400 Bad Request", "InvalidDigest", f"The {name} {text!r} is not valid.") from None
            if wanted != digest:
                raise _RefusedError(
                    "400 Bad Request", "BadDigest", f"The {name} that you specified did not match what was received."
                )

    def checksums(self) -> dict[str, Any]:
        """Return what tells moto the checksum of the body that it does not get."""
        changes: dict[str, Any] = {"HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM": None}
        for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"):
            value = self._given(name)
            if value is None and name in self._hashes:
                value = base64.b64encode(self._hashes[name].digest()).decode()
            if value is not None:
                changes["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = name.upper()
                changes[_environ_name(_CHECKSUM + name)] = value
        return changes

    def _wants(self, name: str) -> bool:
        declared = self.environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "").lower() == name
        follows = _CHECKSUM + name in self.environ.get("HTTP_X_AMZ_TRAILER", "")
        return declared or follows or self._given(name) is not None

    def _given(self, name: str) -> str | None:
        value: str | None = self.trailers.get(_CHECKSUM + name) or self.environ.get(_environ_name(_CHECKSUM + name))
        return value

    def _read(self, size: int) -> bytes:
        wanted = size if self._left is None else min(size, self._left)
        content: bytes = self.environ["wsgi.input"].read(wanted) if wanted else b""
        if self._left is not None:
            self._left = self._left - len(content) if content else 0
        return content

    def _line(self) -> bytes:
        line: bytes = self.environ["wsgi.input"].readline(_CHUNK if self._left is None else min(_CHUNK, self._left))
        if self._left is not None:
            self._left -= len(line)
        return line.strip()

    def _plain_chunks(self, size: int | None) -> Iterator[bytes]:
        while size is None or size:
            chunk = self._read(_CHUNK if size is None else min(_CHUNK, size))
            if not chunk and size is None:
                return
            if not chunk:
                raise _RefusedError("400 Bad Request", "IncompleteBody", "The body ends before its Content-Length.")
            size = None if size is None else size - len(chunk)
            yield chunk

    def _own_chunks(self) -> Iterator[bytes]:
        """Yield what stands in `SIZE[;chunk-signature=...]`, bytes, line break, ..., `0`, trailers."""
        while True:
            text = self._line().partition(b";")[0]
            try:
                size = int(text, 16)
            except ValueError:
                raise _RefusedError("400 Bad Request", "IncompleteBody", "The body's chunks are cut.") from None
            if size == 0:
                break
            yield from self._plain_chunks(size)
            self._line()
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        self.drain()


class _FileRange:
    """Some of a file's bytes as WSGI's answer; the file is closed with it."""

    def __init__(self, file: io.BufferedReader, begin: int, size: int) -> None:
        self._file = file
        self._begin = begin
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._begin)
        left = self._size
        while left and (chunk := self._file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return first byte and the one behind the last of a Range header; None for all; raise _RefusedError."""
    found = re.fullmatch(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", header)
    if not found or not (found[1] or found[2]):
        return None  # none, several, or none that S3 reads
    first, last = found[1], found[2]
    if first and last and int(first) > int(last):
        return None
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if begin >= size or (not first and int(last) == 0):
        raise _RefusedError(
            "416 Requested Range Not Satisfiable",
            "InvalidRange",
            "The requested range is not satisfiable",
            [("Content-Range", f"bytes */{size}")],
        )
    return begin, end


def _part_range(number: str | None, sizes: tuple[int, ...], size: int) -> tuple[int, int] | None:
    """Return where a part's bytes are; an object that came as a whole has one."""
    if number is None or not number.isdecimal():
        return None
    sizes = sizes or (size,)
    if not 1 <= int(number) <= len(sizes):
        raise _RefusedError(
            "416 Requested Range Not Satisfiable", "InvalidPartNumber", "The requested partnumber is not satisfiable"
        )
    begin = sum(sizes[: int(number) - 1])
    return begin, begin + sizes[int(number) - 1]


def _refuse(start_response: StartResponse, refusal: _RefusedError, *, is_head: bool) -> Iterable[bytes]:
    inside = f"<Code>{refusal.code}</Code><Message>{escape(str(refusal))}</Message><RequestId>local</RequestId>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>'.encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *refusal.headers]
    start_response(refusal.status, headers)
    return [] if is_head else [body]


def _without(headers: Headers, name: str) -> Headers:
    return [entry for entry in headers if entry[0].lower() != name]


def _malformed_xml() -> _RefusedError:
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return _RefusedError("400 Bad Request", "MalformedXML", text)


def _refuse_what_is_no_xml(document: bytes) -> None:
    """Raise _RefusedError for what is not well-formed, defines entities, or is deeper than any of S3's documents."""
    depth = 0

    def begin(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST_DOCUMENT:
            raise _malformed_xml()

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise _malformed_xml()

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = begin, end, refuse
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat takes it by position
    except ExpatError:
        raise _malformed_xml() from None


def _refuse_what_is_no_policy(document: bytes) -> None:
    try:
        is_policy = isinstance(json.loads(document.decode()), dict)
    except (ValueError, RecursionError):
        is_policy = False
    if not is_policy:
        text = "Policies must be valid JSON and the first byte must be '{'"
        raise _RefusedError("400 Bad Request", "MalformedPolicy", text)


def _header_value(name: str, text: str) -> str:
    """Return a text as WSGI takes it for a header; raise _RefusedError for one that would be more than a header."""
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise _RefusedError("400 Bad Request", "InvalidArgument", f"{name} has characters that no header has.")
    return text.encode("utf-8", "replace").decode("latin-1")


def _environ_name(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


def _path(environ: WSGIEnvironment) -> str:
    raw: str = environ["PATH_INFO"]
    return raw.encode("latin-1").decode("utf-8", "replace")
