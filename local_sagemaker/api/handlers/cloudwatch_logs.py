"""Reading CloudWatch Logs as AWS answers: moto passes over stream prefixes, the order of time and most patterns.

An event's place is its time, its stream and its number there: a token names a place, so pages neither repeat nor pass
over an event, whatever is written in between.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator

from moto.logs.models import LogEvent, LogGroup, LogStream, logs_backends

from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.errors import ApiError
from local_sagemaker.state import ACCOUNT

_MOST = 10_000
_MOST_BYTES = 1 << 20
_OVERHEAD = 26
"""Bytes that CloudWatch Logs counts for each event beside its message."""

Place = tuple[int, str, int]
"""Time in milliseconds, name of the stream, number of the event in it."""


def filter_log_events(context: RequestContext, request: Document) -> Document:
    """FilterLogEvents: of the streams that are named or begin with a prefix, in the order of time."""
    group = _group(context, request)
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names and prefix is not None:
        raise _invalid("Cannot specify both logStreamNames and logStreamNamePrefix.")
    streams = [
        _stream(group, name) for name in (names or sorted(group.streams)) if names or name.startswith(prefix or "")
    ]
    fits = _pattern(request.get("filterPattern", ""))
    first, last = request.get("startTime", 0), request.get("endTime")
    events = [
        (place, event)
        for stream in streams
        for place, event in _events(stream)
        if event.timestamp >= first and (last is None or event.timestamp <= last) and fits(event.message)
    ]
    if "nextToken" in request:
        behind = _place(request["nextToken"], "f")
        events = [entry for entry in events if entry[0] > behind]
    events.sort(key=lambda entry: entry[0])
    page = _page(events, request)
    answer: Document = {
        "events": [
            {
                "logStreamName": place[1],
                "timestamp": event.timestamp,
                "message": event.message,
                "ingestionTime": event.ingestion_time,
                "eventId": f"{event.timestamp:014d}{place[2]:012d}{zlib.crc32(place[1].encode()):030d}",
            }
            for place, event in page
        ],
        "searchedLogStreams": [],
    }
    return answer | ({"nextToken": _token("f", page[-1][0])} if len(page) < len(events) else {})


def get_log_events(context: RequestContext, request: Document) -> Document:
    """GetLogEvents: a stream's end, or its beginning if startFromHead; each token goes on in its own direction."""
    stream = _stream(_group(context, request), request["logStreamName"])
    first, last = request.get("startTime", 0), request.get("endTime")
    events = sorted(
        (
            (place, event)
            for place, event in _events(stream)
            if event.timestamp >= first and (last is None or event.timestamp < last)
        ),
        key=lambda entry: entry[0],
    )
    token = request.get("nextToken")
    forward = token.startswith("f/") if token else bool(request.get("startFromHead"))
    if token:
        at = _place(token, "f" if forward else "b")
        events = [entry for entry in events if (entry[0] > at if forward else entry[0] < at)]
    page = _page(events if forward else events[::-1], request)
    page = page if forward else page[::-1]
    at = _place(token, token[0]) if token else (first, "", -1)
    return {
        "events": [
            {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingestion_time}
            for _, event in page
        ],
        # At an end there is nothing to go on from but where the question came from: AWS gives the same token again.
        "nextForwardToken": _token("f", page[-1][0] if page else at),
        "nextBackwardToken": _token("b", page[0][0] if page else at),
    }


def _group(context: RequestContext, request: Document) -> LogGroup:
    named = request.get("logGroupName") or request.get("logGroupIdentifier", "").partition(":log-group:")[2]
    name = (named or request.get("logGroupIdentifier", "")).removesuffix(":*")
    if not name:
        raise _invalid("Either logGroupName or logGroupIdentifier must be specified.")
    group = logs_backends[ACCOUNT][context.region].groups.get(name)
    if group is None:
        raise ApiError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def _stream(group: LogGroup, name: str) -> LogStream:
    stream = group.streams.get(name)
    if stream is None:
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
    return stream


def _events(stream: LogStream) -> Iterator[tuple[Place, LogEvent]]:
    for number, event in enumerate(list(stream.events)):
        yield (event.timestamp, stream.log_stream_name, number), event


def _page(events: list[tuple[Place, LogEvent]], request: Document) -> list[tuple[Place, LogEvent]]:
    """Return as many of the first events as `limit`, 10,000 and a megabyte allow; one at least."""
    most, size = min(request.get("limit", _MOST), _MOST), 0
    for number, (_, event) in enumerate(events[:most]):
        size += len(event.message.encode()) + _OVERHEAD
        if size > _MOST_BYTES and number > 0:
            return events[:number]
    return events[:most]


def _pattern(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a message has all terms of a pattern, one of its ?terms and none of its -terms."""
    if pattern.strip().startswith(("{", "[", "%")):
        raise _invalid(f"filterPattern {pattern!r} is not available in the local SageMaker: only terms and phrases are")
    terms = [(kind, quoted or word) for kind, quoted, word in re.findall(r'([?-]?)(?:"([^"]*)"|(\S+))', pattern)]
    wanted = [term for kind, term in terms if kind == ""]
    some = [term for kind, term in terms if kind == "?"]
    none = [term for kind, term in terms if kind == "-"]

    def fits(message: str) -> bool:
        return (
            all(term in message for term in wanted)
            and not any(term in message for term in none)
            and (not some or any(term in message for term in some))
        )

    return fits


def _token(direction: str, place: Place) -> str:
    return f"{direction}/{base64.urlsafe_b64encode(json.dumps(place).encode()).decode()}"


def _place(token: str, direction: str) -> Place:
    try:
        time, stream, number = json.loads(base64.urlsafe_b64decode(token.removeprefix(f"{direction}/")))
        return int(time), str(stream), int(number)
    except (ValueError, TypeError):
        raise _invalid("The specified nextToken is invalid.") from None


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)
