"""Graphs that are not classifiers: tensors of every type in and out, for tests of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from onnx import TensorProto, helper

from loopline.testing.onnx_models import IR_VERSION, OPSET

ONNX_TYPES: Final[Mapping[str, int]] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def echo(*datatypes: str, axes: tuple[int | str, ...] = ("batch", "width")) -> bytes:
    """Return a graph that gives back what it takes: `in_fp32` as `out_fp32`, and so on.

    Args:
        datatypes: The protocol's datatypes, one input and output each.
        axes: The shape of each: sizes, or names where any size goes.
    """
    names = [datatype.lower() for datatype in datatypes]
    kinds = [ONNX_TYPES[datatype] for datatype in datatypes]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in names],
        "echo",
        [tensor(f"in_{n}", kind, axes) for n, kind in zip(names, kinds, strict=True)],
        [tensor(f"out_{n}", kind, axes) for n, kind in zip(names, kinds, strict=True)],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data
