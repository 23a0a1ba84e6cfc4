"""What a graph takes and gives: tensors by name, with the protocol's datatypes.

The engine reads it from the session when a version is loaded; the protocol's adapters check
requests against it, tell it in metadata, and put answers into words by it. Between them go
`Tensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[Any]]
"""Arrays by name; axis 0 of each is the batch. BYTES are arrays of objects (`bytes`), BF16 travels
as uint16 (NumPy has none)."""

BYTES: Final = "BYTES"
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
"""How raw tensors lie in memory, by the protocol's datatype; BYTES have no fixed size."""
_ONNX: Final[Mapping[str, str]] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": BYTES,
}
ANY: Final = -1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Args:
        name: Its name in the graph.
        datatype: The protocol's spelling: "UINT8", "FP32", "BYTES".
        shape: Its shape with the batch axis first; -1 where any size goes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def of_onnx(cls, name: str, onnx_type: str, shape: tuple[object, ...]) -> TensorSpec:
        """Return the spec of an ONNX value; a type the protocol has no word for keeps its own.

        >>> TensorSpec.of_onnx("boxes", "tensor(float)", ("batch", 100, 4))
        TensorSpec(name='boxes', datatype='FP32', shape=(-1, 100, 4))
        """
        sizes = tuple(size if isinstance(size, int) else ANY for size in shape)
        return cls(name, _ONNX.get(onnx_type, onnx_type), sizes)


@dataclass(frozen=True, slots=True)
class Signature:
    """All inputs and outputs of a graph, in its order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
