"""The Open Inference Protocol's answers, to bytes.

An answer is raw where the request was raw, typed where it was typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from loopline.contracts.oip.v2 import service_pb2
from services.inference.adapters.protocol.oip import (
    FIELDS,
    MODEL_DIGEST,
    REGION,
    REGION_OFFSET,
    REGION_SIZE,
    InferRequest,
    Memory,
    RequestedOutput,
    memory_or_refuse,
)
from services.inference.adapters.protocol.shared_memory import RegionUse
from services.inference.domain.answers import OutputTensor, classified
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import BYTES, DTYPES, Array, join_raw_bytes

HEADS_REMEMBERED: Final = 512
_RAW_TAG: Final = b"\x32"  # of field 6, raw_output_contents, length-delimited
_Output = tuple[str, str, tuple[int, ...]]  # name, datatype, shape


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered.

    Args:
        request: What was asked.
        model: Who answers.
        outputs: What it says, after the request's wishes; `bytes` strings for classifications.
        placed: Where outputs were put, by name; those do not travel with the answer.
        facts: What it tells beside its tensors, as parameters.
    """

    request: InferRequest
    model: ModelVersion
    outputs: Sequence[OutputTensor]
    placed: Mapping[str, RegionUse] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def answer_of(
    request: InferRequest,
    model: ModelVersion,
    outputs: Sequence[OutputTensor],
    memory: Memory | None = None,
    facts: Mapping[str, str] | None = None,
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
    return Answer(request, model, given, placed, facts or {})


def encode_answer(answer: Answer, extra: Mapping[str, bool | str] | None = None) -> bytes:
    """Return the bytes of a ModelInferResponse, with extra parameters."""
    model, request = answer.model, answer.request
    extra = {**answer.facts, **(extra or {})}
    # One that has no typed form makes the whole answer raw: it is one or the other.
    is_raw = request.is_raw or any(output.datatype not in FIELDS for output in answer.outputs)
    if not is_raw:
        response = _answer_head(model, request.id, extra)
        for output in answer.outputs:
            tensor = _add_output(response, output.name, output.datatype, output.values.shape)
            getattr(tensor.contents, FIELDS[output.datatype]).extend(output.values.ravel().tolist())
        return response.SerializeToString()
    outputs = tuple((o.name, o.datatype, o.values.shape) for o in answer.outputs)
    places = tuple(answer.placed.get(output.name) for output in answer.outputs)
    if request.id or extra:
        head = _raw_answer_head(model, request.id, extra, outputs, places)
    else:
        head = _repeated_head(model, outputs, places)
    parts = [head]
    for output, place in zip(answer.outputs, places, strict=True):
        # Clients count them by the outputs: an empty one stands for one that was put elsewhere.
        raw = b"" if place is not None else raw_elements(output.values, output.datatype)
        parts += (_RAW_TAG, varint(len(raw)), raw)
    return b"".join(parts)


def raw_elements(values: Array, datatype: str) -> bytes:
    """Return the raw form of an array."""
    if datatype == BYTES:
        return join_raw_bytes(values.ravel().tolist())
    return values.astype(DTYPES[datatype], copy=False).tobytes()


def _place(output: OutputTensor, place: RegionUse, memory: Memory | None) -> RegionUse:
    data = raw_elements(output.values, output.datatype)
    memory_or_refuse(memory, f"output {output.name!r}").write(place, data)
    return RegionUse(place.region, len(data), place.offset)


def _answer_head(
    model: ModelVersion, request_id: str, extra: Mapping[str, bool | str] | None
) -> service_pb2.ModelInferResponse:
    """Return an answer without its outputs."""
    response = service_pb2.ModelInferResponse(
        model_name=model.name, model_version=str(model.version), id=request_id
    )
    response.parameters[MODEL_DIGEST].string_param = model.digest
    for name, value in (extra or {}).items():
        if isinstance(value, str):
            response.parameters[name].string_param = value
        else:
            response.parameters[name].bool_param = value
    return response


def _raw_answer_head(
    model: ModelVersion,
    request_id: str,
    extra: Mapping[str, bool | str] | None,
    outputs: tuple[_Output, ...],
    places: tuple[RegionUse | None, ...],
) -> bytes:
    """Return the bytes of an answer up to its raw outputs: those are its last field."""
    response = _answer_head(model, request_id, extra)
    for (name, datatype, shape), place in zip(outputs, places, strict=True):
        tensor = _add_output(response, name, datatype, shape)
        if place is not None:
            tensor.parameters[REGION].string_param = place.region
            tensor.parameters[REGION_SIZE].int64_param = place.byte_size
            if place.offset:
                tensor.parameters[REGION_OFFSET].int64_param = place.offset
    return response.SerializeToString()


@lru_cache(HEADS_REMEMBERED)
def _repeated_head(
    model: ModelVersion, outputs: tuple[_Output, ...], places: tuple[RegionUse | None, ...]
) -> bytes:
    """Return the same for a request without an id: most answers of a version begin alike."""
    return _raw_answer_head(model, "", None, outputs, places)


def _add_output(
    response: service_pb2.ModelInferResponse, name: str, datatype: str, shape: tuple[int, ...]
) -> service_pb2.ModelInferResponse.InferOutputTensor:
    return response.outputs.add(name=name, datatype=datatype, shape=shape)


def varint(value: int) -> bytes:
    r"""Return a number as protobuf writes it.

    >>> varint(300)
    b'\xac\x02'
    """
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
