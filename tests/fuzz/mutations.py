"""Mutations that keep a request's structure: without, nearly every input ends at the first byte."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import orjson
from google.protobuf.message import DecodeError

from loopline.contracts.oip.v2.service_pb2 import ModelInferRequest
from services.inference.adapters.protocol.oip import FIELDS
from services.inference.domain.tensors import DTYPES

_DATATYPES = (*DTYPES, "BYTES", "", "INT4")
_SIZES = (0, 1, 2, 3, -1, 16, 17, 255, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_NAMES = ("image", "class", "x", "", *(f"in_{d.lower()}" for d in _DATATYPES))
_PARAMETERS = (
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "classification",
    "timeout",
    "priority",
    "binary_data_size",
    "binary_data",
    "binary_data_output",
)
_ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 2**63, "r", "", [], {}, [[0]], "\ud7ff")


def mutate_message(data: bytes, rng: random.Random) -> bytes | None:
    """Return another ModelInferRequest like this one; None where it is none."""
    try:
        request = ModelInferRequest.FromString(data)
    except DecodeError:
        return None
    for _ in range(rng.randint(1, 4)):
        _change(request, rng)
    return request.SerializeToString()


def _change(request: ModelInferRequest, rng: random.Random) -> None:
    tensor = rng.choice(request.inputs) if request.inputs else request.inputs.add(name="image")
    choice = rng.randrange(9)
    if choice == 0:
        tensor.datatype = rng.choice(_DATATYPES)
    elif choice == 1:
        tensor.shape.append(rng.choice(_SIZES))
    elif choice == 2 and tensor.shape:
        tensor.shape[rng.randrange(len(tensor.shape))] = rng.choice(_SIZES)
    elif choice == 3:
        request.raw_input_contents.append(rng.randbytes(rng.choice((0, 1, 4, 8, 12, 24))))
    elif choice == 4 and request.raw_input_contents:
        request.raw_input_contents.pop()
    elif choice == 5:
        field = rng.choice(list(FIELDS.values()))
        getattr(tensor.contents, field).append(b"\xff" if field == "bytes_contents" else 1)
    elif choice == 6:
        tensor.name = rng.choice(_NAMES)
    elif choice == 7:
        holder: Any = rng.choice((request, tensor, request.outputs.add(name=rng.choice(_NAMES))))
        parameter = holder.parameters[rng.choice(_PARAMETERS)]
        if rng.random() < 0.5:
            parameter.int64_param = rng.choice(_SIZES)
        else:
            parameter.string_param = rng.choice(("r", "", "x"))
    else:
        request.inputs.add().CopyFrom(tensor)


def mutate_body(data: bytes, rng: random.Random) -> bytes | None:
    """Return another REST body like this one; None where it holds no JSON."""
    end = data.rfind(b"}") + 1
    try:
        document = orjson.loads(data[1:end])
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    for _ in range(rng.randint(1, 4)):
        _change_node(document, rng)
    tail = data[end:] if rng.random() < 0.5 else rng.randbytes(rng.choice((0, 1, 12, 24)))
    return data[:1] + orjson.dumps(document, default=str) + tail


def _change_node(node: Any, rng: random.Random) -> None:
    """Walk down a random way and change what is there."""
    while isinstance(node, dict | list) and node and rng.random() < 0.7:
        key: Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        below = node[key]
        if not isinstance(below, dict | list) or rng.random() < 0.3:
            node[key] = deepcopy(rng.choice((*_ODD, *_DATATYPES, *_SIZES)))
            return
        node = below
    if isinstance(node, dict):
        name = rng.choice((*_PARAMETERS, "parameters", "data", "outputs", "id"))
        node[name] = deepcopy(rng.choice(_ODD))
    elif isinstance(node, list):
        node.append(deepcopy(rng.choice((*_SIZES, *_ODD))))
