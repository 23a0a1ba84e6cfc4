"""Requests that fuzzing starts from: one of every kind that is taken."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from loopline.contracts.oip.v2.service_pb2 import ModelInferRequest
from services.inference.adapters.protocol.oip import FIELDS
from services.inference.domain.tensors import DTYPES, join_raw_bytes

_JSON_DATA: Mapping[str, list[Any]] = {"BYTES": ["a", "b"], "BOOL": [True, False]}


def seeds(target: str) -> list[bytes]:
    """Return the seeds of a target of `TARGETS`."""
    return list(_rest() if target == "rest" else _grpc())


def _grpc() -> Iterator[bytes]:
    for datatype, field in FIELDS.items():
        request = ModelInferRequest(model_name="m", model_version="1", id="i")
        tensor = request.inputs.add(name=f"in_{datatype.lower()}", datatype=datatype, shape=[1, 2])
        getattr(tensor.contents, field).extend([b"a", b"b"] if datatype == "BYTES" else [0, 1])
        yield request.SerializeToString()
    for datatype, dtype in DTYPES.items():
        request = ModelInferRequest(model_name="m")
        request.inputs.add(name=f"in_{datatype.lower()}", datatype=datatype, shape=[2, 1])
        request.raw_input_contents.append(bytes(2 * dtype.itemsize))
        yield request.SerializeToString()
    images = ModelInferRequest(model_name="m")
    images.inputs.add(name="image", datatype="BYTES", shape=[2, 1])
    images.raw_input_contents.append(join_raw_bytes([b"\xff\xd8\xff", b"\x89PNG"]))
    images.outputs.add(name="class").parameters["classification"].int64_param = 2
    images.parameters["timeout"].int64_param = 1_000
    images.parameters["priority"].uint64_param = 1
    yield images.SerializeToString()
    region = ModelInferRequest(model_name="m")
    pixels = region.inputs.add(name="image", datatype="UINT8", shape=[1, 2, 2, 3])
    pixels.parameters["shared_memory_region"].string_param = "r"
    pixels.parameters["shared_memory_byte_size"].int64_param = 12
    pixels.parameters["shared_memory_offset"].int64_param = 8
    yield region.SerializeToString()


def _rest() -> Iterator[bytes]:
    for datatype in (*DTYPES, "BYTES"):
        data = _JSON_DATA.get(datatype, [0, 1])
        yield _body({"name": f"in_{datatype.lower()}", "datatype": datatype, "shape": [1, 2]}, data)
    plain = _body({"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3]}, [0] * 12)
    yield plain
    yield b"\1" + zlib.compress(plain[1:], wbits=31)
    yield b"\2" + zlib.compress(plain[1:])
    tensor: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3]}
    tensor["parameters"] = {"binary_data_size": 12}
    document = {
        "id": "i",
        "inputs": [tensor],
        "outputs": [{"name": "class", "parameters": {"binary_data": True, "classification": 1}}],
        "parameters": {"binary_data_output": True, "timeout": 5},
    }
    yield b"\6" + orjson.dumps(document) + bytes(12)


def _body(tensor: Mapping[str, Any], data: list[Any]) -> bytes:
    return b"\0" + orjson.dumps({"inputs": [{**tensor, "data": data}]})
