"""The envelope: what is accepted, and what is refused with which reason."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from loopline.contracts import BucketLocation, ImportImages, TrainModel, cloudevents
from loopline.errors import Rejected

TYPE = "loopline.contracts.ingest.v1.ImportImages"
COMMAND = ImportImages(dataset="catalogue", source=BucketLocation(connection="c", bucket="b"))
TIME = datetime(2026, 1, 1, tzinfo=UTC)
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "shop", "ce-type": TYPE}


def structured(**changes: Any) -> bytes:
    event: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "shop", "type": TYPE}
    event |= {"data": json_format.MessageToDict(COMMAND), **changes}
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def test_encode_and_decode_are_inverse() -> None:
    headers, body = cloudevents.encode(COMMAND, source="s", time=TIME, id="7")
    envelope = cloudevents.decode(headers, body, ImportImages)
    assert (envelope.id, envelope.source, envelope.message) == ("7", "s", COMMAND)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(BINARY, COMMAND.SerializeToString(), id="binary protobuf by default"),
        pytest.param(
            {**BINARY, "Content-Type": "application/json"},
            json_format.MessageToJson(COMMAND).encode(),
            id="binary json",
        ),
        pytest.param(
            {"Content-Type": "application/cloudevents+json; charset=utf-8"},
            structured(),
            id="structured",
        ),
        pytest.param({}, structured(), id="structured without any header"),
        pytest.param(
            {"content-type": "application/cloudevents+json"},
            structured(
                data=None, data_base64=base64.b64encode(COMMAND.SerializeToString()).decode()
            ),
            id="structured with protobuf inside",
        ),
        pytest.param(
            {k.upper(): v for k, v in BINARY.items()}, COMMAND.SerializeToString(), id="upper case"
        ),
    ],
)
def test_every_documented_form_gives_the_same_event(headers: dict[str, str], body: bytes) -> None:
    envelope = cloudevents.decode(headers, body, ImportImages)
    assert envelope.message == COMMAND
    assert (envelope.id, envelope.source, envelope.type) == ("1", "shop", TYPE)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        pytest.param(BINARY, b"\xff\xff\xff", "not a loopline.contracts", id="invalid protobuf"),
        pytest.param(
            {**BINARY, "ce-type": "no.such.Type"},
            b"",
            "'no.such.Type' is not a type we know",
            id="type",
        ),
        pytest.param(
            {**BINARY, "ce-type": str(TrainModel.DESCRIPTOR.full_name)},
            b"",
            "is not what this subject carries",
            id="another subject's type",
        ),
        pytest.param({}, b"", "lacks specversion, id, source, type", id="no event"),
        pytest.param(
            {**BINARY, "ce-specversion": "0.3"}, b"", "CloudEvents '0.3' is not known", id="version"
        ),
        pytest.param(
            {**BINARY, "content-type": "text/xml"},
            b"<a/>",
            "'text/xml' is not known",
            id="media type",
        ),
        pytest.param({}, b'{"specversion": ', "not JSON", id="broken json"),
        pytest.param(
            {"content-type": "application/cloudevents+json"}, b"[1]", "not an object", id="list"
        ),
        pytest.param(
            {}, structured(data={"datset": "x"}), 'no field named "datset"', id="unknown field"
        ),
        pytest.param({}, structured(data=[1]), "not a JSON object", id="data is a list"),
        pytest.param({}, structured(data=None, data_base64="%"), "not base64", id="base64"),
    ],
)
def test_bad_events_are_rejected_with_the_reason(
    headers: dict[str, str], body: bytes, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason.replace("(", r"\(")):
        cloudevents.decode(headers, body, ImportImages)


def test_an_event_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Rejected, match="an event has at most 1000000"):
        cloudevents.encode(ImportImages(dataset="x" * 2_000_000), source="s", time=TIME)


@given(
    st.binary(max_size=200), st.dictionaries(st.sampled_from(list(BINARY)), st.text(max_size=20))
)
def test_no_input_raises_anything_but_rejected(body: bytes, headers: dict[str, str]) -> None:
    with contextlib.suppress(Rejected):
        cloudevents.decode(headers, body, ImportImages)


def test_the_trace_context_travels_in_headers_and_in_structured_events() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    by_header = cloudevents.decode({"traceparent": parent}, structured(), ImportImages)
    inside = cloudevents.decode({}, structured(traceparent=parent), ImportImages)
    assert by_header.traceparent == inside.traceparent == parent


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({"Traceparent": "00-a-b-01"}, b"", id="its own header"),
        pytest.param({**BINARY, "ce-traceparent": "00-a-b-01"}, b"", id="an attribute's header"),
        pytest.param({}, structured(traceparent="00-a-b-01"), id="an attribute in the body"),
    ],
)
def test_trace_context_is_found_wherever_an_event_may_carry_it(
    headers: dict[str, str], body: bytes
) -> None:
    assert cloudevents.trace_context(headers, body) == {"traceparent": "00-a-b-01"}


@pytest.mark.parametrize("body", [b"{", b"{}", b"[]", b""])
def test_event_without_trace_context_has_none(body: bytes) -> None:
    assert cloudevents.trace_context({"content-type": cloudevents.STRUCTURED}, body) == {}
    assert cloudevents.trace_context(BINARY, body) == {}
