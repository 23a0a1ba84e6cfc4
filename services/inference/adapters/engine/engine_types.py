"""Tensors of the types that onnxruntime, NumPy and the protocol do not share: BF16 and text.

BF16 goes as uint16, because NumPy has none; BYTES are ONNX's strings, which are UTF-8. Graphs
without either never come here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnxruntime as ort

from loopline.errors import Rejected
from services.inference.domain.model import Signature, TensorSpec
from services.inference.domain.tensors import BF16, BYTES, Array, Arrays

_ONNX_BFLOAT16: Final = 16  # onnx.TensorProto.BFLOAT16


def needs_care(signature: Signature) -> bool:
    """Tell whether a graph has such tensors.

    Raises:
        Rejected: It takes text and gives BF16: onnxruntime takes text from Python in calls alone
            whose answers are of NumPy's types.
    """
    if _has(signature.inputs, BYTES) and _has(signature.outputs, BF16):
        raise Rejected("a graph that takes text and gives BF16 cannot be served")
    tensors = (*signature.inputs, *signature.outputs)
    return _has(tensors, BF16) or _has(tensors, BYTES)


def run(session: ort.InferenceSession, signature: Signature, feeds: Arrays) -> dict[str, Array]:
    """Return what a graph gives, by name.

    Raises:
        Rejected: An element of a BYTES input is not UTF-8.
    """
    names = [spec.name for spec in signature.outputs]
    if _has(signature.outputs, BF16):
        values = {s.name: _value(s, feeds[s.name]) for s in signature.inputs}
        given = zip(signature.outputs, session.run_with_ort_values(names, values), strict=True)
        return {spec.name: _bytes(spec, _array(spec, value)) for spec, value in given}
    mixed = {s.name: _fed(s, feeds[s.name]) for s in signature.inputs}
    found = zip(signature.outputs, session.run(names, mixed), strict=True)
    return {spec.name: _bytes(spec, array) for spec, array in found}


def _has(specs: Sequence[TensorSpec], datatype: str) -> bool:
    return any(spec.datatype == datatype for spec in specs)


def _fed(spec: TensorSpec, array: Array) -> Array | ort.OrtValue:
    return _value(spec, array) if spec.datatype == BF16 else _text(spec, array)


def _value(spec: TensorSpec, array: Array) -> ort.OrtValue:
    contiguous = np.ascontiguousarray(array)
    if spec.datatype == BF16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, _ONNX_BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(contiguous)


def _array(spec: TensorSpec, value: ort.OrtValue) -> Array:
    if spec.datatype != BF16:
        array: Array = value.numpy()
        return array
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())  # a copy: value frees
    return np.frombuffer(data, np.uint16).reshape(value.shape())


def _text(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype != BYTES:
        return array
    text = np.empty(array.size, object)
    for index, element in enumerate(array.ravel()):
        try:
            text[index] = element.decode()
        except UnicodeDecodeError as error:
            raise Rejected(
                f"input {spec.name!r}: element {index} is not UTF-8, as the graph's strings are"
            ) from error
    return text.reshape(array.shape)


def _bytes(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype != BYTES:
        return array
    found = np.empty(array.size, object)
    found[:] = [element.encode() for element in array.ravel()]
    return found.reshape(array.shape)
