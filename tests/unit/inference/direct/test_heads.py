"""Heads of calls: read as HPACK says, whatever was remembered of them before."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.adapters.fronts.direct.frames import ConnectionFault, ErrorCode
from services.inference.adapters.fronts.direct.heads import (
    HeadReader,
    head_of,
    opening,
    refused,
    trailers,
)
from tests.unit.inference.http2 import call_fields

MAX_BYTES = 16 * 1024
CALL = [(name.encode(), value.encode()) for name, value in call_fields("/s/M")]

# Few names and values, so that they come again and are references; some fill the table.
NAMES = st.sampled_from([b"a", b"x-bin", b"grpc-timeout", b"user-agent", b"authorization", b"te"])
VALUES = st.sampled_from([b"", b"1", b"1S", b"AAEC", b"v" * 200, b"w" * 3_000, b"\xff\xfe"])
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=4)
BLOCK = st.tuples(
    st.sampled_from([b"/s/M", b"/s/Other"]),
    FIELDS,
    st.booleans(),  # Huffman
    st.sampled_from([None, None, None, 0, 64, 4_096]),  # the table's new size
)


@given(blocks=st.lists(BLOCK, min_size=1, max_size=12), repeats=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_a_head_is_what_hpack_says_whatever_came_before(
    blocks: list[tuple[bytes, list[tuple[bytes, bytes, bool]], bool, int | None]], repeats: int
) -> None:
    encoder, decoder = Encoder(), Decoder(max_header_list_size=MAX_BYTES)
    reader = HeadReader(MAX_BYTES)
    for path, more, is_huffman, table in blocks:
        if table is not None:
            encoder.header_table_size = table
        fields = [HeaderTuple(n, path if n == b":path" else v) for n, v in CALL]
        for name, value, is_secret in more:
            kind = NeverIndexedHeaderTuple if is_secret else HeaderTuple
            fields.append(kind(name, value))
        for _ in range(repeats):
            block = encoder.encode(fields, huffman=is_huffman)
            assert reader.read(block) == head_of(decoder.decode(block, raw=True))


@given(blocks=st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_head_or_a_fault(blocks: list[bytes]) -> None:
    reader = HeadReader(MAX_BYTES)
    faults = []
    for block in blocks:
        try:
            reader.read(block)
        except ConnectionFault as fault:
            faults.append(fault.code)
            break
    assert faults in ([], [ErrorCode.COMPRESSION_ERROR], [ErrorCode.ENHANCE_YOUR_CALM])


def test_references_are_read_anew_when_the_table_moved() -> None:
    """The same bytes mean another field once something stands before it in the table."""
    reader, decoder, encoder = HeadReader(MAX_BYTES), Decoder(), Encoder()
    fields = [*call_fields("/s/M"), ("key", "one")]
    first, references = encoder.encode(fields), encoder.encode(fields)
    before = reader.read(first)
    assert reader.read(references) == before
    assert reader.read(references) is reader.read(references), "it is remembered"
    literal = b"\x40\x03key\x03two"
    reader.read(literal)
    decoder.decode(first + literal)
    after = reader.read(references)
    assert after == head_of(decoder.decode(references, raw=True))
    assert after != before


@pytest.mark.parametrize(
    ("text", "timeout_s"),
    [
        ("1H", 3_600.0),
        ("2M", 120.0),
        ("99999999S", 99_999_999.0),
        ("250m", 0.25),
        ("5u", 5e-6),
        ("7n", 7e-9),
        ("0m", 0.0),
    ],
)
def test_timeouts_have_units(text: str, timeout_s: float) -> None:
    head = head_of([*CALL, (b"grpc-timeout", text.encode())])
    assert head.timeout_s == pytest.approx(timeout_s)
    assert head.fault == ""


@pytest.mark.parametrize(
    "text", [b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"\xb2S", b"1 S"]
)
def test_what_is_no_timeout_is_a_fault(text: bytes) -> None:
    assert "grpc-timeout" in head_of([*CALL, (b"grpc-timeout", text)]).fault


def test_binary_metadata_may_be_a_list_with_or_without_padding() -> None:
    head = head_of([*CALL, (b"x-bin", b"AAE=,AAE,"), (b"x-bin", b"/w")])
    assert (
        head.metadata
        == (
            (":authority", "localhost"),
            ("x-bin", b"\0\1"),
            ("x-bin", b"\0\1"),
            ("x-bin", b""),
            ("x-bin", b"\xff"),
        )[1:]
    )


def decoded(block: bytes) -> dict[str, str]:
    return {str(name): str(value) for name, value in Decoder().decode(block)}


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_reason_travels_as_printable_text(reason: str) -> None:
    fields = decoded(trailers(5, reason))
    assert fields["grpc-status"] == "5"
    told = fields.get("grpc-message", "")
    assert all(" " <= letter <= "~" for letter in told)
    sent = reason.encode("utf-8", "replace").decode()
    whole = unquote(told, errors="strict")
    assert whole == sent if len(sent.encode()) <= 1_024 else sent.startswith(whole)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 383, 16_000])
def test_fields_of_any_length_are_written(size: int) -> None:
    fields = decoded(opening((("x", "v" * size), ("n" * (size or 1), "w"))))
    assert fields == {
        ":status": "200",
        "content-type": "application/grpc",
        "x": "v" * size,
        "n" * (size or 1): "w",
    }


def test_a_lone_surrogate_harms_nobody() -> None:
    assert decoded(trailers(2, "bad \ud800", (("k", "\udfff"),)))["grpc-message"] == "bad ?"


def test_what_is_no_call_is_told_why() -> None:
    assert decoded(refused(400, "no: ü"))[":status"] == "400"
