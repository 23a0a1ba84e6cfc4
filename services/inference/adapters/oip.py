"""The Open Inference Protocol's requests and answers, from bytes and to bytes.

https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ and Triton's extensions
for classification and shared memory. An answer is raw where the request was raw, typed where it was
typed. `rest_codec.py` does the same for JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError

from loopline.contracts.oip.v2 import service_pb2
from loopline.contracts.oip.v2.tensor_pb2 import InferParameter
from loopline.errors import Rejected
from services.inference.adapters import request_scan
from services.inference.adapters.shared_memory import RegionUse
from services.inference.domain.answers import OutputTensor, classified
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import (
    BYTES,
    DTYPES,
    Array,
    Buffer,
    InputTensor,
    join_raw_bytes,
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
Parameters = Mapping[str, object]


class Memory(Protocol):
    """The shared memory that a client registered."""

    def read(self, use: RegionUse) -> memoryview:
        """Return a copy of a tensor's bytes."""
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
        _ = self.priority, self.timeout_s

    @property
    def sticky_key(self) -> str:
        """Requests of one key get one version while another is rolled out; "" says nothing."""
        return str(self.parameters.get(STICKY_KEY, ""))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs it asks for."""
        return tuple(output.name for output in self.wanted)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered.

    Args:
        request: What was asked.
        model: Who answers.
        outputs: What it says, after the request's wishes; `bytes` strings for classifications.
        placed: Where outputs were put, by name; those do not travel with the answer.
    """

    request: InferRequest
    model: ModelVersion
    outputs: Sequence[OutputTensor]
    placed: Mapping[str, RegionUse] = field(default_factory=dict)


def decode_request(data: bytes, memory: Memory | None = None) -> InferRequest:
    """Return a request from its bytes.

    Args:
        data: A ModelInferRequest.
        memory: The client's shared memory; None where it has none.

    Raises:
        Rejected: It is not one, or asks for what is not served.
        NotFound: It names a region of shared memory that is not there.
    """
    parts = request_scan.split(data) if len(data) >= request_scan.SMALLEST_BYTES else None
    try:
        message = service_pb2.ModelInferRequest.FromString(parts[0] if parts else data)
    except DecodeError as error:
        raise Rejected(f"not a ModelInferRequest: {error}") from error
    # Those that protobuf found come before those the scanner did: it may meet a tag spelt longer.
    contents: Sequence[Buffer] = [*message.raw_input_contents, *(parts[1] if parts else ())]
    raw = iter(contents)
    is_raw = bool(contents)
    inputs = tuple(_input(tensor, raw if is_raw else None, memory) for tensor in message.inputs)
    if next(raw, None) is not None:
        raise Rejected(
            f"{len(message.inputs)} inputs and {len(contents)} "
            "raw_input_contents: one each is needed, none for those in shared memory"
        )
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=inputs,
        wanted=tuple(
            requested_output(output.name, parameter_values(output.parameters), memory)
            for output in message.outputs
        ),
        is_raw=is_raw or any(REGION in tensor.parameters for tensor in message.inputs),
        parameters=parameter_values(message.parameters),
    )


def request_id(data: bytes) -> str:
    """Return the id of a ModelInferRequest, or "" where that cannot be told."""
    try:
        return service_pb2.ModelInferRequest.FromString(data).id
    except DecodeError:
        return ""


def answer_of(
    request: InferRequest,
    model: ModelVersion,
    outputs: Sequence[OutputTensor],
    memory: Memory | None = None,
) -> Answer:
    """Return an answer as the request wishes it; what goes to shared memory is there then.

    Raises:
        Rejected: An output is too large for its place, or cannot be told as classes.
    """
    wishes = {output.name: output for output in request.wanted}
    placed: dict[str, RegionUse] = {}
    given: list[OutputTensor] = []
    for output in outputs:
        wish = wishes.get(output.name, RequestedOutput(output.name))
        count = wish.class_count
        given.append(classified(output, count, model.classes) if count else output)
        if wish.place is not None:
            placed[output.name] = _place(given[-1], wish.place, memory)
    return Answer(request, model, given, placed)


def encode_answer(answer: Answer, extra: Mapping[str, bool] | None = None) -> bytes:
    """Return the bytes of a ModelInferResponse, with extra parameters."""
    model, request = answer.model, answer.request
    response = service_pb2.ModelInferResponse(
        model_name=model.name, model_version=str(model.version), id=request.id
    )
    response.parameters[MODEL_DIGEST].string_param = model.digest
    for name, value in (extra or {}).items():
        response.parameters[name].bool_param = value
    # One that has no typed form makes the whole answer raw: it is one or the other.
    is_raw = request.is_raw or any(output.datatype not in FIELDS for output in answer.outputs)
    for output in answer.outputs:
        _add_output(response, output, answer.placed.get(output.name), is_raw)
    return response.SerializeToString()


def raw_elements(values: Array, datatype: str) -> bytes:
    """Return the raw form of an array."""
    if datatype == BYTES:
        return join_raw_bytes(values.ravel().tolist())
    return values.astype(DTYPES[datatype], copy=False).tobytes()


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
        _memory(memory, what).check(place)
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
    """Return an input whose elements are in shared memory; they are copied.

    Raises:
        NotFound: There is no such region.
        Rejected: It is smaller than the tensor.
    """
    data = _memory(memory, f"input {name!r}").read(use)
    return InputTensor(name, datatype, shape, data.toreadonly())


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


def _input(
    tensor: service_pb2.ModelInferRequest.InferInputTensor,
    raw: Iterator[Buffer] | None,
    memory: Memory | None,
) -> InputTensor:
    what = f"input {tensor.name!r}"
    shape = tuple(tensor.shape)
    use = region_use(parameter_values(tensor.parameters), what) if tensor.parameters else None
    if (use is not None or raw is not None) and tensor.HasField("contents"):
        raise Rejected(f"{what} has both contents and {'raw contents' if raw else 'a region'}")
    if use is not None:
        return in_region(tensor.name, tensor.datatype, shape, use, memory)
    if raw is None:
        return InputTensor(tensor.name, tensor.datatype, shape, _typed(tensor))
    elements = next(raw, None)
    if elements is None:
        raise Rejected(f"{what} has no raw_input_contents: one each is needed")
    return InputTensor(tensor.name, tensor.datatype, shape, elements)


def _typed(tensor: service_pb2.ModelInferRequest.InferInputTensor) -> Sequence[Any]:
    name = FIELDS.get(tensor.datatype)
    if name is None:
        known = ", ".join((*DTYPES, BYTES))
        reason = "travels raw only" if tensor.datatype in DTYPES else f"is none of {known}"
        raise Rejected(f"input {tensor.name!r}: datatype {tensor.datatype!r} {reason}")
    found = [field.name for field, _ in tensor.contents.ListFields()]
    if found not in ([], [name]):
        raise Rejected(
            f"input {tensor.name!r}: {tensor.datatype} elements belong into {name}, "
            f"the request has {', '.join(found)}"
        )
    elements: Sequence[Any] = getattr(tensor.contents, name)
    return elements


def _place(output: OutputTensor, place: RegionUse, memory: Memory | None) -> RegionUse:
    data = raw_elements(output.values, output.datatype)
    _memory(memory, f"output {output.name!r}").write(place, data)
    return RegionUse(place.region, len(data), place.offset)


def _memory(memory: Memory | None, what: str) -> Memory:
    if memory is None:
        raise Rejected(f"{what}: shared memory is not served here")
    return memory


def _add_output(
    response: service_pb2.ModelInferResponse,
    output: OutputTensor,
    placed: RegionUse | None,
    is_raw: bool,
) -> None:
    values, datatype = output.values, output.datatype
    tensor = response.outputs.add(name=output.name, datatype=datatype, shape=values.shape)
    if placed is not None:
        tensor.parameters[REGION].string_param = placed.region
        tensor.parameters[REGION_SIZE].int64_param = placed.byte_size
        if placed.offset:
            tensor.parameters[REGION_OFFSET].int64_param = placed.offset
        if is_raw:
            response.raw_output_contents.append(b"")  # clients count them by the outputs
    elif is_raw:
        response.raw_output_contents.append(raw_elements(values, datatype))
    else:
        getattr(tensor.contents, FIELDS[datatype]).extend(values.ravel().tolist())
