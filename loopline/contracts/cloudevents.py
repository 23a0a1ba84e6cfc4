"""The envelope: CloudEvents 1.0 over NATS.

Written in binary mode (`ce-*` headers, protobuf body). Read in binary mode with a protobuf or JSON
body, and in JSON structured mode, so that a publisher without protobuf gets the same reaction.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from loopline.contracts.catalog import BY_TYPE, MAX_EVENT_BYTES
from loopline.errors import Rejected

SPEC_VERSION = "1.0"
PROTOBUF = "application/protobuf"
JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
TRACE_HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The attributes of one event, and its message."""

    id: str
    source: str
    type: str
    message: Message
    traceparent: str = ""
    tracestate: str = ""


def encode(
    message: Message,
    *,
    source: str,
    time: datetime,
    id: str = "",
    trace: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of `message` in binary mode.

    Raises:
        Rejected: The body is larger than `MAX_EVENT_BYTES`.
    """
    full_name = str(message.DESCRIPTOR.full_name)
    body = message.SerializeToString(deterministic=True)
    if len(body) > MAX_EVENT_BYTES:
        raise Rejected(
            f"{full_name} is {len(body)} bytes; an event has at most {MAX_EVENT_BYTES}",
            type=full_name,
            size_bytes=len(body),
        )
    headers = {
        "ce-specversion": SPEC_VERSION,
        "ce-id": id or str(uuid.uuid4()),
        "ce-source": source,
        "ce-type": full_name,
        "ce-time": time.isoformat(),
        "content-type": PROTOBUF,
        **(trace or {}),
    }
    return headers, body


def decode(headers: Mapping[str, str] | None, body: bytes, expected: type[Message]) -> Envelope:
    """Return the event in `body`.

    Args:
        headers: The NATS headers, any case.
        body: The payload.
        expected: The class this subject carries.

    Raises:
        Rejected: It is none, of another type, or not readable; the message says what is wrong.
    """
    lower = {key.lower(): value for key, value in (headers or {}).items()}
    if _is_structured(lower, body):
        return _structured(lower, body, expected)
    content_type = _content_type(lower)
    attributes = {key[3:]: value for key, value in lower.items() if key.startswith("ce-")}
    _check(attributes, expected)
    message = _parsed(body, content_type or PROTOBUF, expected)
    return _envelope(attributes, lower, message)


def trace_context(headers: Mapping[str, str] | None, body: bytes) -> dict[str, str]:
    """Return the W3C trace context that an event came with; empty if it came with none.

    It is in headers of its own or in the event's attributes (the CloudEvents extension "distributed
    tracing"), which in structured mode are in the body.
    """
    lower = {key.lower(): value for key, value in (headers or {}).items()}
    found = {key: lower.get(key) or lower.get(f"ce-{key}") for key in TRACE_HEADERS}
    if not found["traceparent"] and _is_structured(lower, body):
        try:
            event = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}  # `decode` says what is wrong
        found = {key: event.get(key) for key in TRACE_HEADERS} if isinstance(event, dict) else {}
    return {key: str(value) for key, value in found.items() if value}


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").split(";")[0].strip().lower()


def _is_structured(headers: Mapping[str, str], body: bytes) -> bool:
    content_type = _content_type(headers)
    bare = not content_type and "ce-type" not in headers and body[:1] == b"{"
    return content_type == STRUCTURED or bare


def _structured(headers: Mapping[str, str], body: bytes, expected: type[Message]) -> Envelope:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the event is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise Rejected("the event is JSON, but not an object")
    attributes = {str(k).lower(): v for k, v in event.items() if k not in ("data", "data_base64")}
    _check(attributes, expected)
    if "data_base64" in event:
        content_type = str(attributes.get("datacontenttype", PROTOBUF))
        message = _parsed(_base64(event["data_base64"]), content_type, expected)
    else:
        message = _from_json(event.get("data", {}), expected)
    return _envelope(attributes, headers, message)


def _envelope(
    attributes: Mapping[str, Any], headers: Mapping[str, str], message: Message
) -> Envelope:
    trace = {key: str(headers.get(key) or attributes.get(key) or "") for key in TRACE_HEADERS}
    return Envelope(
        str(attributes["id"]),
        str(attributes["source"]),
        str(attributes["type"]),
        message,
        trace["traceparent"],
        trace["tracestate"],
    )


def _check(attributes: Mapping[str, Any], expected: type[Message]) -> None:
    missing = [name for name in ("specversion", "id", "source", "type") if not attributes.get(name)]
    if missing:
        raise Rejected(f"not a CloudEvent: it lacks {', '.join(missing)}", missing=missing)
    if attributes["specversion"] != SPEC_VERSION:
        raise Rejected(
            f"CloudEvents {attributes['specversion']!r} is not known; use {SPEC_VERSION}"
        )
    wanted = str(expected.DESCRIPTOR.full_name)
    got = str(attributes["type"])
    if got != wanted:
        known = "is not what this subject carries" if got in BY_TYPE else "is not a type we know"
        raise Rejected(
            f"the event type {got!r} {known}; send {wanted!r}", type=got, expected=wanted
        )


def _parsed(body: bytes, content_type: str, expected: type[Message]) -> Message:
    if content_type == JSON:
        try:
            return _from_json(orjson.loads(body), expected)
        except orjson.JSONDecodeError as error:
            raise Rejected(f"the body is not JSON: {error}") from error
    if content_type not in (PROTOBUF, "application/x-protobuf"):
        raise Rejected(f"the content type {content_type!r} is not known; send {PROTOBUF} or {JSON}")
    try:
        return expected.FromString(body)
    except DecodeError as error:
        raise Rejected(f"the body is not a {expected.DESCRIPTOR.full_name}: {error}") from error


def _from_json(data: Any, expected: type[Message]) -> Message:  # parsed JSON
    if not isinstance(data, dict):
        raise Rejected(f"the data is not a JSON object, as {expected.DESCRIPTOR.full_name} must be")
    try:
        return json_format.ParseDict(data, expected())
    except json_format.ParseError as error:
        raise Rejected(f"the data is not a {expected.DESCRIPTOR.full_name}: {error}") from error


def _base64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError as error:
        raise Rejected(f"data_base64 is not base64: {error}") from error
