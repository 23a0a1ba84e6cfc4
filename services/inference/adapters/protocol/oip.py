"""The Open Inference Protocol's requests, from bytes; `oip_answers.py` has the answers.

https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ and Triton's extensions
for classification and shared memory. `rest_codec.py` does the same for JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import numpy as np
from google.protobuf.message import DecodeError

from loopline.contracts.oip.v2 import service_pb2
from loopline.contracts.oip.v2.tensor_pb2 import InferParameter, InferTensorContents
from loopline.errors import Rejected
from services.inference.adapters.protocol import request_scan
from services.inference.adapters.protocol.shared_memory import RegionUse
from services.inference.domain.tensors import (
    BYTES,
    DTYPES,
    Buffer,
    InputTensor,
)

MODEL_DIGEST: Final = "model_digest"
FIELDS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Where typed elements are, by datatype; FP16 and BF16 have no field: they travel raw."""
PRIORITY, TIMEOUT, STICKY_KEY = "priority", "timeout", "sticky_key"
REGION, REGION_SIZE, REGION_OFFSET = (
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
)
CLASSIFICATION: Final = "classification"
CLASSES_MAX: Final = 1_000
_US: Final = 1e-6
HEADS_REMEMBERED: Final = 1_024
HEAD_REMEMBERED_BYTES: Final = 1_024
Parameters = Mapping[str, object]


class Memory(Protocol):
    """The shared memory that a client registered."""

    def read(self, use: RegionUse, view: memoryview) -> None:
        """Copy a tensor's bytes."""
        ...

    def write(self, use: RegionUse, data: bytes) -> None:
        """Put a tensor's bytes there."""
        ...

    def check(self, use: RegionUse) -> None:
        """Raise where the place is none of the client's."""
        ...


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that a request names.

    Args:
        name: Its name.
        class_count: Answer it as the so many likeliest classes; 0 for the tensor itself.
        place: Where to put it; None for the answer.
        is_binary: Whether it goes after the JSON of an answer, not into it (REST alone).
    """

    name: str
    class_count: int = 0
    place: RegionUse | None = None
    is_binary: bool = False


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request.

    Args:
        model: The model's name.
        version: Its version, alias, or empty.
        id: Returned with the answer.
        inputs: Its tensors.
        wanted: The outputs it names, in order; none for all of them.
        is_raw: Whether the tensors came raw, and the answer goes raw.
        parameters: Its parameters, as plain values.
    """

    model: str
    version: str
    id: str
    inputs: tuple[InputTensor, ...]
    wanted: tuple[RequestedOutput, ...]
    is_raw: bool
    parameters: Parameters = field(default_factory=dict)

    @property
    def priority(self) -> int:
        """Lower is sooner; 0 says nothing."""
        return integer(self.parameters, PRIORITY, "the request")

    @property
    def timeout_s(self) -> float | None:
        """How long it may wait for the engine; None says nothing."""
        microseconds = integer(self.parameters, TIMEOUT, "the request")
        return microseconds * _US if microseconds > 0 else None

    def check(self) -> None:
        """Raise Rejected where a parameter is not what it must be."""
        if self.parameters:
            _ = self.priority, self.timeout_s

    @property
    def sticky_key(self) -> str:
        """Requests of one key get one version while another is rolled out; "" says nothing."""
        return str(self.parameters.get(STICKY_KEY, ""))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs it asks for."""
        return tuple(output.name for output in self.wanted)


def decode_request(data: Buffer, memory: Memory | None = None) -> InferRequest:
    """Return a request from its bytes.

    Args:
        data: A ModelInferRequest.
        memory: The client's shared memory; None where it has none.

    Raises:
        Rejected: It is not one, or asks for what is not served.
        NotFound: It names a region of shared memory that is not there.
    """
    parts = request_scan.split(data)
    head, found = parts or (bytes(data), [])
    try:
        parsed = _repeated(head) if len(head) <= HEAD_REMEMBERED_BYTES else _parsed(head)
    except DecodeError as error:
        raise Rejected(f"not a ModelInferRequest: {error}") from error
    # Those that protobuf found come before those the scanner did: it may meet a tag spelt longer.
    contents: Sequence[Buffer] = [*parsed.raw, *found]
    raw = iter(contents)
    is_raw = bool(contents)
    inputs = tuple([_filled(given, raw if is_raw else None, memory) for given in parsed.inputs])
    if next(raw, None) is not None:
        raise Rejected(
            f"{len(inputs)} inputs and {len(contents)} "
            "raw_input_contents: one each is needed, none for those in shared memory"
        )
    wanted = parsed.wanted
    if wanted is None:
        wanted = tuple([requested_output(name, given, memory) for name, given in parsed.outputs])
    return InferRequest(
        parsed.model,
        parsed.version,
        parsed.id,
        inputs,
        wanted,
        is_raw or parsed.is_placed,
        parsed.parameters,
    )


def request_id(data: bytes) -> str:
    """Return the id of a ModelInferRequest, or "" where that cannot be told."""
    try:
        return service_pb2.ModelInferRequest.FromString(data).id
    except DecodeError:
        return ""


def requested_output(
    name: str, parameters: Parameters, memory: Memory | None, *, is_binary: bool = False
) -> RequestedOutput:
    """Return an output that a request names, from its parameters.

    Raises:
        Rejected: A parameter is not what it must be.
        NotFound: It names a region of shared memory that is not there.
    """
    what = f"output {name!r}"
    count = integer(parameters, CLASSIFICATION, what)
    if not 0 <= count <= CLASSES_MAX:
        raise Rejected(f"{what}: 1 to {CLASSES_MAX} classes can be asked for, not {count}")
    place = region_use(parameters, what)
    if place is not None:
        memory_or_refuse(memory, what).check(place)
    return RequestedOutput(name, count, place, is_binary)


def region_use(parameters: Parameters, what: str) -> RegionUse | None:
    """Return where a tensor is in shared memory; None where it is not.

    Raises:
        Rejected: A parameter is not what it must be.
    """
    if REGION not in parameters:
        return None
    region = parameters[REGION]
    if not isinstance(region, str):
        raise Rejected(f"{what}: {REGION} must be text")
    size = integer(parameters, REGION_SIZE, what)
    if size < 1:
        raise Rejected(f"{what}: {REGION_SIZE} must be given with {REGION}")
    return RegionUse(region, size, integer(parameters, REGION_OFFSET, what))


def in_region(
    name: str, datatype: str, shape: tuple[int, ...], use: RegionUse, memory: Memory | None
) -> InputTensor:
    """Return an input whose elements are in shared memory.

    Text is copied now, since how long it is decides what it is; numbers as they are needed.

    Raises:
        NotFound: There is no such region.
        Rejected: It is smaller than the tensor.
    """
    memory = memory_or_refuse(memory, f"input {name!r}")
    memory.check(use)
    room = np.empty(use.byte_size, np.uint8).data  # not cleared: it is written over
    reader = partial(memory.read, use)
    if datatype != BYTES:
        return InputTensor(name, datatype, shape, room, reader)
    reader(room)
    return InputTensor(name, datatype, shape, room)


def integer(parameters: Parameters, name: str, what: str) -> int:
    """Return a whole number, 0 where it is not given; Rejected if it is something else."""
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Rejected(f"{what}: parameter {name!r} must be a whole number, not {value!r}")
    return value


def parameter_values(parameters: Mapping[str, InferParameter]) -> dict[str, object]:
    """Return parameters as plain values; one without a value is left out."""
    found: dict[str, object] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            found[name] = getattr(parameter, choice)
    return found


@dataclass(frozen=True, slots=True)
class _Given:
    """An input as a request's head has it: what it is, not yet what it holds."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters
    typed: service_pb2.ModelInferRequest.InferInputTensor | None


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A request but for its raw tensors."""

    model: str
    version: str
    id: str
    inputs: tuple[_Given, ...]
    outputs: tuple[tuple[str, Parameters], ...]
    parameters: Parameters
    raw: tuple[bytes, ...]
    wanted: tuple[RequestedOutput, ...] | None  # where the outputs are named without more
    is_placed: bool


def _parsed(head: bytes) -> _Parsed:
    message = service_pb2.ModelInferRequest.FromString(head)
    is_plain = not any(output.parameters for output in message.outputs)
    return _Parsed(
        message.model_name,
        message.model_version,
        message.id,
        tuple(
            _Given(
                tensor.name,
                tensor.datatype,
                tuple(tensor.shape),
                parameter_values(tensor.parameters),
                tensor if tensor.HasField("contents") else None,
            )
            for tensor in message.inputs
        ),
        tuple((output.name, parameter_values(output.parameters)) for output in message.outputs),
        parameter_values(message.parameters),
        tuple(message.raw_input_contents),
        tuple(RequestedOutput(output.name) for output in message.outputs) if is_plain else None,
        any(REGION in tensor.parameters for tensor in message.inputs),
    )


_repeated = lru_cache(HEADS_REMEMBERED)(_parsed)
"""A client's requests mostly differ in their tensors alone: the rest is parsed once."""


def _filled(given: _Given, raw: Iterator[Buffer] | None, memory: Memory | None) -> InputTensor:
    name, datatype, shape = given.name, given.datatype, given.shape
    use = region_use(given.parameters, f"input {name!r}") if given.parameters else None
    if given.typed is not None and (use is not None or raw is not None):
        beside = "raw contents" if raw else "a region"
        raise Rejected(f"input {name!r} has both contents and {beside}")
    if use is not None:
        return in_region(name, datatype, shape, use, memory)
    if raw is None:
        return InputTensor(name, datatype, shape, _typed(given))
    elements = next(raw, None)
    if elements is None:
        raise Rejected(f"input {name!r} has no raw_input_contents: one each is needed")
    return InputTensor(name, datatype, shape, elements)


def _typed(given: _Given) -> Sequence[Any]:
    name = FIELDS.get(given.datatype)
    if name is None:
        known = ", ".join((*DTYPES, BYTES))
        reason = "travels raw only" if given.datatype in DTYPES else f"is none of {known}"
        raise Rejected(f"input {given.name!r}: datatype {given.datatype!r} {reason}")
    contents = InferTensorContents() if given.typed is None else given.typed.contents
    found = [field.name for field, _ in contents.ListFields()]
    if found not in ([], [name]):
        raise Rejected(
            f"input {given.name!r}: {given.datatype} elements belong into {name}, "
            f"the request has {', '.join(found)}"
        )
    elements: Sequence[Any] = getattr(contents, name)
    return elements


def memory_or_refuse(memory: Memory | None, what: str) -> Memory:
    """Return a client's shared memory; Rejected where it has none."""
    if memory is None:
        raise Rejected(f"{what}: shared memory is not served here")
    return memory
