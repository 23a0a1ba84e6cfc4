"""Tensors as the Open Inference Protocol carries them, and what a model takes of them.

Decides whether a request's tensors are what the model takes, and says exactly what is wrong where
they are not. How they travel (protobuf, shared memory) is the adapters' business.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from services.inference.domain.model import INPUT, OUTPUTS, ModelVersion

UInt8Batch = npt.NDArray[np.uint8]
FloatBatch = npt.NDArray[np.float32]

_LENGTH: Final = struct.Struct("<I")
BYTES, UINT8, FP32 = "BYTES", "UINT8", "FP32"


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input of a request.

    Args:
        name: Its name.
        datatype: The protocol's spelling: "UINT8", "BYTES".
        shape: Its shape.
        elements: Its elements: raw little-endian bytes (BYTES elements each preceded by 4 bytes of
            length), or a sequence of `bytes` or integers where they came typed.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: bytes | Sequence[bytes | int]


@dataclass(frozen=True, slots=True)
class EncodedImages:
    """Images as files."""

    files: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.files)


@dataclass(frozen=True, slots=True)
class PixelBatch:
    """Images as the network takes them: `(N, H, W, C)` uint8."""

    pixels: UInt8Batch

    @property
    def count(self) -> int:
        """How many."""
        return int(self.pixels.shape[0])


Payload = EncodedImages | PixelBatch


def payload_of(inputs: Sequence[InputTensor], model: ModelVersion, max_images: int) -> Payload:
    """Return the images in a request's tensors.

    Raises:
        Rejected: They are not what the model takes; the message names the tensor and what is
            expected.
    """
    tensor = _only_input(inputs)
    if tensor.datatype == BYTES:
        return EncodedImages(_files(tensor, max_images))
    if tensor.datatype == UINT8:
        return PixelBatch(_pixels(tensor, model, max_images))
    raise Rejected(
        f"input {INPUT!r} has datatype {tensor.datatype or 'none'}: expected UINT8 pixels "
        f"or BYTES (encoded images)"
    )


def requested_outputs(names: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs to give: those named, in that order, or all.

    Raises:
        Rejected: One of them does not exist.
    """
    for name in names:
        if name not in OUTPUTS:
            raise Rejected(f"there is no output {name!r}: there are {', '.join(OUTPUTS)}")
    return tuple(dict.fromkeys(names)) or OUTPUTS


def split_raw_bytes(data: bytes, count: int, name: str = INPUT) -> tuple[bytes, ...]:
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
        elements.append(data[start:offset])
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
    if isinstance(tensor.elements, bytes):
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
    if isinstance(tensor.elements, bytes):
        return np.frombuffer(tensor.elements, np.uint8).reshape(tensor.shape)
    values = np.asarray(tensor.elements, np.uint32)
    if values.max() > 255:
        raise Rejected(f"input {INPUT!r} of UINT8 holds the value {values.max()}")
    return values.astype(np.uint8).reshape(tensor.shape)
