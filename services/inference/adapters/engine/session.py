"""onnxruntime: one session per model version.

Decides which execution providers are used and how many threads, and measures what a version takes;
leaves batching to `batching`.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from loopline.errors import LooplineError, Rejected
from services.inference.adapters.engine import engine_types
from services.inference.domain.admission import Exhausted
from services.inference.domain.model import (
    CLASSIFICATION,
    GRAPH_OUTPUTS,
    INPUT,
    PROBABILITIES,
    ModelVersion,
    Signature,
    TensorSpec,
)
from services.inference.domain.tensors import BF16, BYTES, DTYPES, UINT8, Array, Arrays

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
DATATYPES: Final[Mapping[str, str]] = {
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
    "tensor(bfloat16)": BF16,
    "tensor(string)": BYTES,
}
"""onnxruntime's types as the protocol spells them."""
WARM_UP_S: Final = 2.0  # no larger batch is timed once those before took this long
TIMED_ROUNDS: Final = 3  # the quickest counts: whatever else runs only ever adds
TIMED_AGAIN_S: Final = 0.3  # nothing is timed once more after this long
SAME_COST: Final = 1.03  # an image of a batch that costs no more than this is as cheap
_NO_MEMORY: Final = ("bad_alloc", "bad allocation", "Failed to allocate memory")
_SILENT: Final = 3  # onnxruntime's log severity: errors only


class EngineError(LooplineError):
    """The engine failed on an input that was right."""


class OutOfMemory(Exhausted):
    """There is not enough memory for this batch now; a smaller one may go."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How sessions run.

    Args:
        threads: Threads of one execution. 1 is best where several run at once: N executions of one
            thread beat one of N.
        providers: Execution providers in order of preference; empty for what is there.
        max_batch: The largest batch; sizes up to it are run before a session counts as ready.
    """

    threads: int = 1
    providers: tuple[str, ...] = ()
    max_batch: int = 8


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
        model: What it must be: for a task on images, input `image` uint8 `(N, H, W, C)` and the
            outputs of `GRAPH_OUTPUTS`; for `TENSORS`, whatever the graph says.
        options: How it runs.

    Raises:
        Rejected: The file is not a model, needs what this onnxruntime has not, or is not what
            `model` says.
    """

    def __init__(self, onnx: bytes, model: ModelVersion, options: EngineOptions) -> None:
        self._model = model
        wanted = choose_providers(options.providers)
        before_bytes = _resident_bytes()
        try:
            self._session = ort.InferenceSession(onnx, _session_options(options), providers=wanted)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise Rejected(f"{model.key} cannot be loaded: {error}", model=model.name) from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        missing = [name for name in options.providers if name not in self.providers]
        if missing:
            raise Rejected(f"{model.key} runs on {self.providers}, not on {missing[0]} as set")
        self.signature = signature_of(self._session, model)
        self._outputs = [spec.name for spec in self.signature.outputs]
        self._needs_care = engine_types.needs_care(self.signature)
        check_contract(self.signature, model)
        self._on_gpu = not _GPU_PROVIDERS.isdisjoint(self.providers)
        self.instances = 1 if self._on_gpu else max(1, cores() // options.threads)
        self.image_s = 0.0  # what an image costs alone
        self.preferred_batch = self._warm_up(options)
        # What others allocate meanwhile counts too, so it is never told too small but by sharing.
        grown_bytes = _resident_bytes() - before_bytes
        self.size_bytes = max(model.onnx_size_bytes, len(onnx), grown_bytes)

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """Return what the graph gives for a batch.

        On the processor an image's outputs are the same to the bit whatever batch it is in
        and however many threads run (tests/unit/inference/test_engine.py holds it).

        Args:
            feeds: An array per input; the first axis is the batch.

        Returns:
            An array per output of the signature.

        Raises:
            EngineError: onnxruntime failed.
            OutOfMemory: It could not get the memory that this batch needs.
            Rejected: An input holds what the graph cannot take.
        """
        try:
            if self._needs_care:
                return engine_types.run(self._session, self.signature, feeds)
            if self._on_gpu:
                return self.run_bound(feeds)
            values = self._session.run(self._outputs, feeds)
        except Rejected:
            raise
        except Exception as error:  # as above
            raise _failure(self._model, error) from error
        return dict(zip(self._outputs, values, strict=True))

    def run_bound(self, feeds: Arrays) -> dict[str, Array]:
        """As `run`, with each tensor bound: a device's copies need no buffers in between."""
        binding = self._session.io_binding()
        for name, values in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in self._outputs:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))

    def _warm_up(self, options: EngineOptions) -> int:
        """Run batches, so that no request pays for what happens once.

        Returns:
            The size at which an image costs least: between 1 and the largest the processor's caches
            decide, and no rule tells where.
        """
        sizes = _warm_up_sizes(options.max_batch) if self.signature.batches else [1]
        # Another thread's work is not in a thread's own clock; several threads' work is not either.
        clock = time.thread_time if options.threads == 1 and not self._on_gpu else time.perf_counter
        feeds = {size: {s.name: _zeros(s, size) for s in self.signature.inputs} for size in sizes}
        for count in sizes:
            self._try_out(feeds[count], count)
        costs: dict[int, float] = {}
        spent_s = 0.0
        for number in range(TIMED_ROUNDS):
            for count in sizes:
                if spent_s < (WARM_UP_S if number == 0 else TIMED_AGAIN_S):
                    started = clock()
                    self._try_out(feeds[count], count)
                    took_s = clock() - started
                    spent_s += took_s
                    costs[count] = min(took_s, costs.get(count, took_s))
        self.image_s = costs[1]
        per_image = {count: cost / count for count, cost in costs.items()}
        least = min(per_image.values())
        return max(count for count, cost in per_image.items() if cost <= least * SAME_COST)

    def _try_out(self, feeds: Arrays, count: int) -> None:
        try:
            outputs = self.run(feeds)
        except EngineError as error:  # it would fail each request so
            raise Rejected(error.message, **error.ids) from error
        if self._model.task in GRAPH_OUTPUTS:
            _check_outputs(outputs, count, self._model)


def signature_of(session: ort.InferenceSession, model: ModelVersion) -> Signature:
    """Return what a session takes and gives.

    Raises:
        Rejected: One of its tensors has a type that the protocol, or numpy, has not.
    """
    inputs = tuple(_spec(tensor, model) for tensor in session.get_inputs())
    outputs = tuple(_spec(tensor, model) for tensor in session.get_outputs())
    # Rows of several requests share an execution only where every tensor has rows, any number.
    batches = all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, batches)


def check_contract(signature: Signature, model: ModelVersion) -> None:
    """Raise Rejected where a graph is not what its task says."""
    if model.task not in GRAPH_OUTPUTS:
        return
    wanted = GRAPH_OUTPUTS[model.task]
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    if set(inputs) != {INPUT} or not set(wanted) <= set(outputs):
        raise Rejected(
            f"{model.key} has inputs {sorted(inputs)} and outputs {sorted(outputs)}: "
            f"expected {INPUT!r} and {', '.join(map(repr, wanted))}"
        )
    spec = inputs[INPUT]
    if spec.datatype != UINT8 or spec.shape[1:] != model.image_shape:
        raise Rejected(
            f"{model.key} takes {spec.datatype} {list(spec.shape)}: its version says "
            f"{UINT8} [N, {', '.join(map(str, model.image_shape))}]"
        )


def _spec(tensor: ort.NodeArg, model: ModelVersion) -> TensorSpec:
    datatype = DATATYPES.get(tensor.type)
    if datatype is None:
        raise Rejected(f"{model.key}: {tensor.name!r} is a {tensor.type}, which cannot be served")
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    return TensorSpec(tensor.name, datatype, shape)


def _failure(model: ModelVersion, error: Exception) -> LooplineError:
    """Return what a failure of onnxruntime means; it tells by its text alone."""
    text = str(error)
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return OutOfMemory(f"{model.key}: not enough memory for this batch", model=model.name)
    return EngineError(f"{model.key} failed: {text}", model=model.name)


def _zeros(spec: TensorSpec, count: int) -> Array:
    rows = count if spec.shape[:1] == (-1,) else (spec.shape or (1,))[0]
    shape = (rows, *(1 if size == -1 else size for size in spec.shape[1:])) if spec.shape else ()
    if spec.datatype == BYTES:
        return np.full(shape, b"", object)
    return np.zeros(shape, DTYPES[spec.datatype])


def _check_outputs(outputs: Arrays, count: int, model: ModelVersion) -> None:
    for name, axes in GRAPH_OUTPUTS[model.task].items():
        shape = outputs[name].shape
        if len(shape) != axes or shape[0] != count:
            raise Rejected(f"{model.key} gives {name!r} of shape {shape} for {count} images")
    if model.task == CLASSIFICATION and outputs[PROBABILITIES].shape[1] != len(model.classes):
        raise Rejected(
            f"{model.key} gives {outputs[PROBABILITIES].shape} for {count} images "
            f"and {len(model.classes)} classes"
        )


def cores() -> int:
    """Return how many cores this process may use, which may be fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _warm_up_sizes(largest: int) -> list[int]:
    """Return 1, 2, 4, ... and the largest.

    >>> _warm_up_sizes(12)
    [1, 2, 4, 8, 12]
    """
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return [*powers, largest]


def _resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


@cache
def _share_arena() -> bool:
    """Make one arena for the sessions of the process: what one has free another may use."""
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(memory, None)
    return True


def _session_options(options: EngineOptions) -> ort.SessionOptions:
    session = ort.SessionOptions()
    if _share_arena():
        session.add_session_config_entry("session.use_env_allocators", "1")
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    session.log_severity_level = _SILENT
    # Threads that spin while they wait double the processor time as soon as others want the cores.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return session
