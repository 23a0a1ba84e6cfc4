"""onnxruntime: one session per model version.

Decides which execution providers are used and how many threads; leaves batching to `batching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from loopline.errors import LooplineError, Rejected
from services.inference.domain.model import INPUT, PROBABILITIES, ModelVersion
from services.inference.domain.tensors import FloatBatch, UInt8Batch

CPU: Final = "CPUExecutionProvider"
AUTOMATIC: Final = (
    "CUDAExecutionProvider",
    "OpenVINOExecutionProvider",
    "CoreMLExecutionProvider",
    CPU,
)
"""Tried in this order where no setting says otherwise. TensorRT builds its engines for minutes at
the first start: by setting only."""
_GPU_PROVIDERS: Final = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})
_GPU_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
_SILENT: Final = 3  # onnxruntime's log severity: errors only


class EngineError(LooplineError):
    """The engine failed on an input that was right."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How sessions run.

    Args:
        threads: Threads of one execution; 0 for one per core.
        providers: Execution providers in order of preference; empty for what is there.
        warm_up_batches: Batch sizes that are run before a session counts as ready.
    """

    threads: int = 0
    providers: tuple[str, ...] = ()
    warm_up_batches: tuple[int, ...] = (1, 8)


def choose_providers(wanted: Sequence[str]) -> list[str]:
    """Return the execution providers to ask for, the processor last.

    The GPU build of onnxruntime lists its providers on every machine: without a device they would
    be tried, fail and print an error for each session.

    Raises:
        Rejected: A provider of the setting is not in this build of onnxruntime.
    """
    available = ort.get_available_providers()
    for name in wanted:
        if name not in available:
            raise Rejected(f"onnxruntime here has no {name!r}; it has {', '.join(available)}")
    if wanted:
        return [*wanted, *([] if CPU in wanted else [CPU])]
    has_gpu = any(device.exists() for device in _GPU_DEVICES)
    return [
        name for name in AUTOMATIC if name in available and (has_gpu or name not in _GPU_PROVIDERS)
    ]


class OnnxEngine:
    """A model version in onnxruntime. `run` may be called from several threads.

    Args:
        onnx: The file's bytes.
        model: What it must be: input `image` uint8 `(N, H, W, C)`, output `probabilities` float32
            `(N, classes)`.
        options: How it runs.

    Raises:
        Rejected: The file is not a model, needs what this onnxruntime has not, or is not what
            `model` says.
    """

    def __init__(self, onnx: bytes, model: ModelVersion, options: EngineOptions) -> None:
        self._model = model
        wanted = choose_providers(options.providers)
        try:
            self._session = ort.InferenceSession(onnx, _session_options(options), providers=wanted)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise Rejected(f"{model.key} cannot be loaded: {error}", model=model.name) from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        missing = [name for name in options.providers if name not in self.providers]
        if missing:
            raise Rejected(f"{model.key} runs on {self.providers}, not on {missing[0]} as set")
        self._check_contract()
        self._warm_up(options.warm_up_batches)

    def run(self, pixels: UInt8Batch) -> FloatBatch:
        """Return the probabilities of a batch.

        On the processor an image's probabilities are the same to the bit whatever batch it is in
        and however many threads run (tests/unit/inference/test_engine.py holds it).

        Args:
            pixels: `(N, H, W, C)` uint8.

        Returns:
            `(N, classes)` float32.

        Raises:
            EngineError: onnxruntime failed.
        """
        try:
            (probabilities,) = self._session.run([PROBABILITIES], {INPUT: pixels})
        except Exception as error:  # as above
            raise EngineError(
                f"{self._model.key} failed: {error}", model=self._model.name
            ) from error
        return np.asarray(probabilities, np.float32)

    def _check_contract(self) -> None:
        model = self._model
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if set(inputs) != {INPUT} or PROBABILITIES not in outputs:
            raise Rejected(
                f"{model.key} has inputs {sorted(inputs)} and outputs {sorted(outputs)}: "
                f"expected {INPUT!r} and {PROBABILITIES!r}"
            )
        tensor = inputs[INPUT]
        if tensor.type != "tensor(uint8)" or tuple(tensor.shape[1:]) != model.image_shape:
            raise Rejected(
                f"{model.key} takes {tensor.type} {tensor.shape}: its version says "
                f"tensor(uint8) [N, {', '.join(map(str, model.image_shape))}]"
            )

    def _warm_up(self, batches: Sequence[int]) -> None:
        for count in batches:
            shape = self.run(np.zeros((count, *self._model.image_shape), np.uint8)).shape
            if shape != (count, len(self._model.classes)):
                raise Rejected(
                    f"{self._model.key} gives {shape} for {count} images "
                    f"and {len(self._model.classes)} classes"
                )


def _session_options(options: EngineOptions) -> ort.SessionOptions:
    session = ort.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    session.log_severity_level = _SILENT
    # Threads that spin while they wait double the processor time as soon as others want the cores.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return session
