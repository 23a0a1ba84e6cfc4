"""Tensors as the Open Inference Protocol carries them, and what a model takes of them.

Decides whether a request's tensors are what the model takes, and says exactly what is wrong where
they are not. How they travel (protobuf, shared memory) is the adapters' business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from services.inference.domain.model import (
    INPUT,
    PIPELINE,
    TENSORS,
    ModelVersion,
    Signature,
    TensorSpec,
)

Array = npt.NDArray[Any]  # of any datatype of the protocol
Arrays = Mapping[str, Array]
UInt8Batch = npt.NDArray[np.uint8]
FloatBatch = npt.NDArray[np.float32]
Buffer = bytes | memoryview
Reader = Callable[[memoryview], None]
"""Puts a tensor's bytes somewhere; raises LooplineError where they are no longer to be had."""

SHAPES_REMEMBERED: Final = 1_024
_SIZES_MAX: Final = 2**40
_LENGTH: Final = struct.Struct("<I")
BYTES, UINT8, FP32, INT64, BF16 = "BYTES", "UINT8", "FP32", "INT64", "BF16"
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<u2"),
}
"""The protocol's datatypes of fixed size as numpy has them; BF16 has no equal there, so its bits
travel as uint16."""


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input of a request.

    Args:
        name: Its name.
        datatype: The protocol's spelling: "UINT8", "BYTES".
        shape: Its shape.
        elements: Its elements: raw little-endian bytes (BYTES elements each preceded by 4 bytes of
            length), or a sequence of `bytes` or numbers where they came typed.
        reader: Has the bytes, where `elements` are only room for them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: Buffer | Sequence[Any]
    reader: Reader | None = None


@dataclass(frozen=True, slots=True)
class EncodedImages:
    """Images as files."""

    files: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.files)


@dataclass(frozen=True, slots=True)
class Tensors:
    """Rows as the graph takes them.

    Args:
        feeds: An array per input of the graph.
        count: Rows, where the graph batches them; else 1.
        readers: Have the bytes of those arrays that are only room for them, by input.
    """

    feeds: Arrays
    count: int
    readers: Mapping[str, Reader] = field(default_factory=dict)

    def fetch(self) -> Arrays:
        """Return the arrays with all their bytes; LooplineError where a reader raises it."""
        for name, reader in self.readers.items():
            if self.feeds[name].nbytes:
                reader(self.feeds[name].data.cast("B"))
        return self.feeds


Payload = EncodedImages | Tensors


def payload_of(
    inputs: Sequence[InputTensor], model: ModelVersion, signature: Signature, max_images: int
) -> Payload:
    """Return what a request's tensors hold for a model.

    Raises:
        Rejected: They are not what the model takes; the message names the tensor and what is
            expected.
    """
    if model.task == TENSORS:
        return _tensors(inputs, signature, max_images)
    tensor = _only_input(inputs)
    if tensor.datatype == BYTES:
        return EncodedImages(_files(tensor, max_images))
    if model.task == PIPELINE:
        raise Rejected(
            f"input {INPUT!r} has datatype {tensor.datatype or 'none'}: a pipeline takes BYTES "
            "(encoded images)"
        )
    if tensor.datatype == UINT8:
        pixels = _pixels(tensor, model, max_images)
        return Tensors({INPUT: pixels}, len(pixels), _readers(inputs))
    raise Rejected(
        f"input {INPUT!r} has datatype {tensor.datatype or 'none'}: expected UINT8 pixels "
        f"or BYTES (encoded images)"
    )


def requested_outputs(
    names: Sequence[str], outputs: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """Return the outputs to give: those named, in that order, or all.

    Raises:
        Rejected: One of them does not exist.
    """
    known = {spec.name: spec for spec in outputs}
    for name in names:
        if name not in known:
            raise Rejected(f"there is no output {name!r}: there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(outputs)


def array_of(tensor: InputTensor, spec: TensorSpec) -> Array:
    """Return a tensor as an array; raw bytes are not copied.

    Raises:
        Rejected: Its datatype, shape or number of elements is not what the graph takes.
    """
    size_bytes = _size_bytes(tensor.name, tensor.datatype, tensor.shape, spec)
    if spec.datatype == BYTES:
        return _byte_strings(tensor)
    dtype = DTYPES[spec.datatype]
    if isinstance(tensor.elements, Buffer):
        if len(tensor.elements) != size_bytes:
            raise Rejected(
                f"input {spec.name!r} has {len(tensor.elements)} bytes, its shape "
                f"{list(tensor.shape)} of {spec.datatype} takes {size_bytes}"
            )
        return np.frombuffer(tensor.elements, dtype).reshape(tensor.shape)
    return _typed(tensor, dtype)


@lru_cache(SHAPES_REMEMBERED)
def _size_bytes(name: str, datatype: str, shape: tuple[int, ...], spec: TensorSpec) -> int:
    """Return how many bytes a tensor takes, 0 for text; Rejected as `array_of`."""
    if datatype != spec.datatype:
        raise Rejected(
            f"input {name!r} has datatype {datatype or 'none'}: expected {spec.datatype}"
        )
    if not _fits(shape, spec.shape):
        raise Rejected(f"input {name!r} has shape {list(shape)}: expected {_shown(spec.shape)}")
    if prod(max(size, 1) for size in shape) > _SIZES_MAX:  # NumPy raises, even for 0 x 2**62
        raise Rejected(f"input {name!r} has shape {list(shape)}: that is too large")
    return 0 if datatype == BYTES else prod(shape) * DTYPES[datatype].itemsize


def split_raw_bytes(data: Buffer, count: int, name: str = INPUT) -> tuple[bytes, ...]:
    """Return the elements of a raw BYTES tensor.

    Raises:
        Rejected: The bytes are not exactly `count` elements, each after its 4-byte length.
    """
    elements: list[bytes] = []
    offset = 0
    while offset < len(data) and len(elements) < count:
        start = offset + _LENGTH.size
        if start > len(data):
            raise Rejected(
                f"input {name!r}: {len(data) - offset} bytes are left where a length is due"
            )
        (size,) = _LENGTH.unpack_from(data, offset)
        offset = start + size
        if offset > len(data):
            raise Rejected(
                f"input {name!r}: element {len(elements)} claims {size} bytes, "
                f"{len(data) - start} are left"
            )
        elements.append(bytes(data[start:offset]))
    if len(elements) != count or offset != len(data):
        raise Rejected(
            f"input {name!r}: its raw bytes hold {len(elements)} elements and {len(data) - offset} "
            f"bytes more, its shape says {count}"
        )
    return tuple(elements)


def join_raw_bytes(elements: Sequence[bytes]) -> bytes:
    r"""Return the raw form of a BYTES tensor.

    >>> join_raw_bytes([b"cat"])
    b'\x03\x00\x00\x00cat'
    """
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def _tensors(inputs: Sequence[InputTensor], signature: Signature, max_rows: int) -> Tensors:
    specs = {spec.name: spec for spec in signature.inputs}
    given = {tensor.name: tensor for tensor in inputs}
    for tensor in inputs:
        if tensor.name not in specs:
            raise Rejected(f"there is no input {tensor.name!r}: the model takes {', '.join(specs)}")
    if len(given) != len(inputs) or len(given) != len(specs):
        raise Rejected(f"the model takes {', '.join(specs)}, once each")
    feeds = {name: array_of(given[name], spec) for name, spec in specs.items()}
    readers = _readers(inputs)
    if not signature.batches:
        return Tensors(feeds, 1, readers)
    counts = {len(array) for array in feeds.values()}
    if len(counts) != 1:
        raise Rejected(f"the inputs have different batch sizes: {sorted(counts)}")
    (count,) = counts
    _check_count(count, max_rows)
    return Tensors(feeds, count, readers)


def _readers(inputs: Sequence[InputTensor]) -> dict[str, Reader]:
    return {tensor.name: tensor.reader for tensor in inputs if tensor.reader is not None}


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        have >= 0 and want in (have, -1) for have, want in zip(shape, wanted, strict=True)
    )


def _shown(shape: Sequence[int]) -> str:
    return "[" + ", ".join("any" if size == -1 else str(size) for size in shape) + "]"


def _byte_strings(tensor: InputTensor) -> Array:
    count = prod(tensor.shape)
    if isinstance(tensor.elements, Buffer):
        elements: Sequence[Any] = split_raw_bytes(tensor.elements, count, tensor.name)
    else:
        elements = tensor.elements
    if len(elements) != count:
        raise Rejected(
            f"input {tensor.name!r} has {len(elements)} elements, its shape says {count}"
        )
    array = np.empty(count, object)
    array[:] = elements
    return array.reshape(tensor.shape)


def _typed(tensor: InputTensor, dtype: np.dtype[Any]) -> Array:
    expected = prod(tensor.shape)
    if len(tensor.elements) != expected:
        raise Rejected(
            f"input {tensor.name!r} has {len(tensor.elements)} elements, its shape "
            f"{list(tensor.shape)} takes {expected}"
        )
    try:
        return np.array(tensor.elements, dtype).reshape(tensor.shape)
    except OverflowError as error:
        bounds = np.iinfo(dtype)
        wrong = next(v for v in tensor.elements if not bounds.min <= v <= bounds.max)
        raise Rejected(
            f"input {tensor.name!r} of {tensor.datatype} holds the value {wrong}"
        ) from error


def _only_input(inputs: Sequence[InputTensor]) -> InputTensor:
    for tensor in inputs:
        if tensor.name != INPUT:
            raise Rejected(f"there is no input {tensor.name!r}: the model takes {INPUT!r}")
    if len(inputs) != 1:
        raise Rejected(f"the model takes one input, {INPUT!r}; the request has {len(inputs)}")
    return inputs[0]


def _check_count(count: int, max_images: int) -> None:
    if count < 1:
        raise Rejected("the batch is empty")
    if count > max_images:
        raise Rejected(f"the batch has {count} images: at most {max_images} go into one request")


def _files(tensor: InputTensor, max_images: int) -> tuple[bytes, ...]:
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise Rejected(
            f"input {INPUT!r} of BYTES has shape {list(shape)}: "
            "expected [N] or [N, 1], an encoded image each"
        )
    _check_count(shape[0], max_images)
    if isinstance(tensor.elements, Buffer):
        return split_raw_bytes(tensor.elements, shape[0])
    files = tuple(element for element in tensor.elements if isinstance(element, bytes))
    if len(files) != shape[0]:
        raise Rejected(f"input {INPUT!r} has {len(files)} elements, its shape says {shape[0]}")
    return files


def _pixels(tensor: InputTensor, model: ModelVersion, max_images: int) -> UInt8Batch:
    if len(tensor.shape) != 4 or tensor.shape[1:] != model.image_shape:
        expected = ", ".join(map(str, model.image_shape))
        raise Rejected(
            f"input {INPUT!r} of UINT8 has shape {list(tensor.shape)}: expected [N, {expected}]"
        )
    _check_count(tensor.shape[0], max_images)
    expected_bytes = prod(tensor.shape)
    if len(tensor.elements) != expected_bytes:
        raise Rejected(
            f"input {INPUT!r} has {len(tensor.elements)} elements, its shape {list(tensor.shape)} "
            f"takes {expected_bytes}"
        )
    if isinstance(tensor.elements, Buffer):
        return np.frombuffer(tensor.elements, np.uint8).reshape(tensor.shape)
    return _typed(tensor, DTYPES[UINT8])
