"""Writes a network again in 8 bit integers (onnxruntime's static quantization).

Weights get a scale for each channel, activations one for each tensor, from what they are on
calibration images. Only what multiplies matrices is changed; what decodes boxes or masks, and what
normalises images, stays as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from loopline.errors import Rejected
from services.trainer.domain.job import Placed
from services.trainer.domain.manifest import InputFormat
from services.trainer.evaluation.network import INPUT, batches

OPERATORS: Final = ("Conv", "Gemm", "MatMul")


class _Images(CalibrationDataReader):  # type: ignore[misc]  # it is untyped
    """Batches of images, as onnxruntime asks for them."""

    def __init__(self, examples: Sequence[Placed], input_format: InputFormat) -> None:
        self._batches: Iterator[Any] = batches(examples, input_format)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, None after the last."""
        found = next(self._batches, None)
        return None if found is None else {INPUT: found[1]}


def quantize(onnx_model: bytes, examples: Sequence[Placed], input_format: InputFormat) -> bytes:
    """Return the network in 8 bit integers.

    Args:
        onnx_model: The file's bytes.
        examples: Images like those it will be asked about.
        input_format: What goes before the network.

    Raises:
        Rejected: There are no images, or the network cannot be quantized.
    """
    if not examples:
        raise Rejected("quantization needs images to calibrate with, and there are none")
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{n}.onnx" for n in ("a", "b", "c"))
        source.write_bytes(onnx_model)
        try:
            # Folds batch norms into convolutions, whose true range is then seen.
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(target),
                _Images(examples, input_format),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        except Rejected:
            raise
        except Exception as error:  # onnxruntime's tools raise anything
            raise Rejected(f"the network cannot be quantized: {error}") from error
        model = onnx.load(str(target))
    data: bytes = model.SerializeToString(deterministic=True)
    return data
