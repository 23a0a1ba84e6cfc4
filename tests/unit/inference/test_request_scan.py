"""Raw tensors are found without protobuf, or left to it: never told wrongly."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from loopline.contracts.oip.v2.service_pb2 import ModelInferRequest
from services.inference.adapters.protocol.request_scan import split

names = st.text(max_size=20)
tensors = st.lists(st.binary(max_size=300), max_size=4)


@given(names, names, names, tensors)
def test_what_protobuf_wrote_comes_apart_as_it_was(
    model: str, version: str, id_: str, raw: list[bytes]
) -> None:
    request = ModelInferRequest(model_name=model, model_version=version, id=id_)
    for number in range(len(raw)):
        tensor = request.inputs.add(name=f"x{number}", datatype="FP32", shape=[1, 3])
        tensor.parameters["k"].int64_param = -number
    request.raw_input_contents.extend(raw)
    parts = split(request.SerializeToString())
    if not raw:
        assert parts is None
        return
    assert parts is not None
    head, views = parts
    assert [bytes(view) for view in views] == raw
    request.ClearField("raw_input_contents")
    assert ModelInferRequest.FromString(head) == request


@given(st.binary(max_size=200))
def test_no_bytes_are_told_otherwise_than_protobuf_does(data: bytes) -> None:
    agrees_with_protobuf(data)


@given(tensors, st.data())
def test_one_changed_byte_is_told_as_protobuf_does(raw: list[bytes], draw: st.DataObject) -> None:
    request = ModelInferRequest(model_name="m", raw_input_contents=raw)
    request.inputs.add(name="x", datatype="FP32", shape=[1])
    data = bytearray(request.SerializeToString())
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] = draw.draw(st.integers(0, 255))
    agrees_with_protobuf(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x3a\x01a\x0a\x01m", id="something follows the raw tensors"),
        pytest.param(b"\x3a\x05a", id="a raw tensor is cut off"),
        pytest.param(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="a length too long"),
        pytest.param(b"\x3a", id="no length"),
        pytest.param(b"\x0b\x3a\x00", id="a group"),
        pytest.param(b"\x00\x3a\x00", id="field 0"),
        pytest.param(b"\x0a\x7fm\x3a\x00", id="a name that is cut off"),
    ],
)
def test_what_is_not_sure_is_left_to_protobuf(data: bytes) -> None:
    assert split(data) is None


def agrees_with_protobuf(data: bytes) -> None:
    parts = split(data)
    if parts is None:
        return
    head, views = parts
    try:
        whole = ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            ModelInferRequest.FromString(head)
        return
    assert [bytes(view) for view in views] == list(whole.raw_input_contents)
    whole.ClearField("raw_input_contents")
    assert ModelInferRequest.FromString(head) == whole
