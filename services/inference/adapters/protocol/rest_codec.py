"""The protocol's requests and answers as JSON, with the binary data extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
A body is JSON, or JSON followed by the raw bytes of those tensors that say `binary_data_size`; a
header then tells where the JSON ends.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
from google.protobuf.message import Message

from loopline.errors import Rejected
from services.inference.adapters.protocol import oip, oip_answers
from services.inference.domain.answers import OutputTensor
from services.inference.domain.tensors import BYTES, DTYPES, InputTensor

HEADER_LENGTH: Final = "inference-header-content-length"
BINARY, BINARY_SIZE, BINARY_OUTPUT = "binary_data", "binary_data_size", "binary_data_output"
AXES_MAX: Final = 32
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
ENCODINGS: Final = ("gzip", "deflate")
Json = dict[str, Any]


class TooLarge(Rejected):
    """A body is larger than may be."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body as it was before its `Content-Encoding`; never more than `max_bytes`.

    Raises:
        TooLarge: It would be.
        Rejected: The encoding is not known, or the body is not of it.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise Rejected(f"content encoding {encoding!r} is not known; there are {ENCODINGS}")
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflate.decompress(body, max_bytes)
    except zlib.error as error:
        raise Rejected(f"the body is not {encoding}: {error}") from error
    if inflate.unconsumed_tail:
        raise TooLarge(f"the body is more than {max_bytes} bytes when it is decompressed")
    if not inflate.eof:
        raise Rejected(f"the body's {encoding} ends early")
    return plain


def compress(body: bytes, encoding: str) -> bytes:
    """Return a body in one of `ENCODINGS`."""
    bits = 16 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS
    deflate = zlib.compressobj(level=1, wbits=bits)
    return deflate.compress(body) + deflate.flush()


def json_object(body: bytes | memoryview) -> Json:
    """Return the object that JSON holds; an empty body is an empty one.

    Raises:
        Rejected: It is not JSON, or something else than an object.
    """
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Rejected("the body is not a JSON object")
    return document


def decode_request(
    model: str, version: str, body: bytes, header_length: str, memory: oip.Memory | None
) -> oip.InferRequest:
    """Return an inference request from a body.

    Args:
        model: From the path.
        version: From the path; "" for the default version.
        body: The body, decompressed.
        header_length: The header that says how long the JSON is; "" where all of it is.
        memory: The client's shared memory; None where it has none.

    Raises:
        Rejected: It is not one.
        NotFound: It names a region of shared memory that is not there.
    """
    length = _length(header_length, len(body))
    view = memoryview(body)
    document, binary = json_object(view[:length]), _Binary(view[length:])
    parameters = _object(document, "parameters", "the request")
    inputs = tuple(
        _input(each, binary, memory) for each in _objects(document, "inputs", "the request")
    )
    binary.check_end()
    by_default = parameters.get(BINARY_OUTPUT, False) is True
    wanted = tuple(
        _requested(each, by_default, memory)
        for each in _objects(document, "outputs", "the request")
    )
    return oip.InferRequest(
        model=model,
        version=version,
        id=text(document, "id", "the request"),
        inputs=inputs,
        wanted=wanted,
        is_raw=by_default,
        parameters=parameters,
    )


def encode_answer(answer: oip_answers.Answer) -> tuple[bytes, int]:
    """Return the body of an answer, and how long its JSON is; 0 where all of it is JSON."""
    request, model = answer.request, answer.model
    wishes = {output.name: output.is_binary for output in request.wanted}
    outputs: list[Json] = []
    binary: list[bytes] = []
    for output in answer.outputs:
        told: Json = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.values.shape),
        }
        placed = answer.placed.get(output.name)
        if placed is not None:
            told["parameters"] = {
                oip.REGION: placed.region,
                oip.REGION_SIZE: placed.byte_size,
                **({oip.REGION_OFFSET: placed.offset} if placed.offset else {}),
            }
        # 16-bit floats have no JSON in the protocol: they go binary whatever was asked for.
        elif wishes.get(output.name, request.is_raw) or output.datatype in ("FP16", "BF16"):
            raw = oip_answers.raw_elements(output.values, output.datatype)
            told["parameters"] = {BINARY_SIZE: len(raw)}
            binary.append(raw)
        else:
            told["data"] = _data(output)
        outputs.append(told)
    document: Json = {
        "model_name": model.name,
        "model_version": str(model.version),
        "parameters": {oip.MODEL_DIGEST: model.digest, **answer.facts},
        "outputs": outputs,
    }
    if request.id:
        document["id"] = request.id
    head = orjson.dumps(document)
    return (b"".join([head, *binary]), len(head)) if binary else (head, 0)


def plain(message: Message) -> Json:
    """Return a message of the protocol as its JSON form says it: every field, numbers as numbers.

    Protobuf's own JSON mapping writes 64-bit numbers as text, which no client of the protocol
    expects.
    """
    found: Json = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = {key: _scalar(field, value[key]) for key in value}
        elif field.is_repeated:
            found[field.name] = [_scalar(field, each) for each in value]
        elif field.message_type is None or message.HasField(field.name):
            found[field.name] = _scalar(field, value)
    return found


def _scalar(field: Any, value: Any) -> Any:  # protobuf has two classes of descriptors
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value


class _Binary:
    """What follows the JSON of a body: the tensors' bytes, one after the other."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def take(self, size: int, what: str) -> memoryview:
        left = len(self._view) - self._at
        if not 0 <= size <= left:
            raise Rejected(f"{what}: {BINARY_SIZE} is {size}, {left} bytes are left")
        self._at += size
        return self._view[self._at - size : self._at]

    def check_end(self) -> None:
        left = len(self._view) - self._at
        if left:
            raise Rejected(f"{left} bytes follow the last input: no input claims them")


def _length(header: str, total: int) -> int:
    if not header:
        return total
    if not header.isdecimal() or len(header) > 12 or int(header) > total:
        raise Rejected(f"{HEADER_LENGTH} is {header[:40]!r}, the body has {total} bytes")
    return int(header)


def _input(document: Json, binary: _Binary, memory: oip.Memory | None) -> InputTensor:
    name = text(document, "name", "an input")
    what = f"input {name!r}"
    datatype, shape = text(document, "datatype", what), _shape(document, what)
    parameters = _object(document, "parameters", what)
    use = oip.region_use(parameters, what)
    sources = [use is not None, BINARY_SIZE in parameters, "data" in document]
    if sum(sources) != 1:
        raise Rejected(f"{what} needs exactly one of data, {BINARY_SIZE} and {oip.REGION}")
    if use is not None:
        return oip.in_region(name, datatype, shape, use, memory)
    if BINARY_SIZE in parameters:
        size = oip.integer(parameters, BINARY_SIZE, what)
        return InputTensor(name, datatype, shape, binary.take(size, what))
    return InputTensor(name, datatype, shape, _elements(document["data"], datatype, what))


def _elements(data: Any, datatype: str, what: str) -> Sequence[Any]:
    """Return the elements of JSON data, which may be nested as the shape is, or flat."""
    if datatype in ("FP16", "BF16"):
        raise Rejected(f"{what}: {datatype} has no JSON: send it as binary data")
    if datatype not in DTYPES and datatype != BYTES:
        raise Rejected(f"{what}: datatype {datatype!r} is none of {', '.join((*DTYPES, BYTES))}")
    if not isinstance(data, list):
        raise Rejected(f"{what}: data must be a list")
    elements = list(_flat(data, what))
    if datatype == BYTES:
        _check(elements, str, datatype, what)
        return [element.encode("utf-8", "surrogatepass") for element in elements]
    if datatype == "BOOL":
        _check(elements, bool, datatype, what)
    elif datatype.startswith("FP"):
        _check(elements, (int, float), datatype, what)
        return [float(element) for element in elements]
    else:
        _check(elements, int, datatype, what)
    return elements


def _check(
    elements: Sequence[Any], kind: type | tuple[type, ...], datatype: str, what: str
) -> None:
    for element in elements:
        if not isinstance(element, kind) or (kind is not bool and isinstance(element, bool)):
            shown = repr(element)[:40]
            raise Rejected(f"{what}: {shown} is no {datatype}")


def _flat(data: list[Any], what: str, depth: int = 0) -> Iterator[Any]:
    if depth >= AXES_MAX:
        raise Rejected(f"{what}: data is nested more than {AXES_MAX} deep")
    for each in data:
        if isinstance(each, list):
            yield from _flat(each, what, depth + 1)
        else:
            yield each


def _requested(document: Json, by_default: bool, memory: oip.Memory | None) -> oip.RequestedOutput:
    name = text(document, "name", "an output")
    what = f"output {name!r}"
    parameters = _object(document, "parameters", what)
    is_binary = parameters.get(BINARY, by_default)
    if not isinstance(is_binary, bool):
        raise Rejected(f"{what}: {BINARY} must be true or false")
    return oip.requested_output(name, parameters, memory, is_binary=is_binary)


def _data(output: OutputTensor) -> list[Any]:
    values: list[Any] = output.values.ravel().tolist()
    if output.datatype == BYTES:
        return [value.decode("utf-8", "replace") for value in values]
    return values


def _shape(document: Json, what: str) -> tuple[int, ...]:
    shape = document.get("shape")
    if not isinstance(shape, list) or len(shape) > AXES_MAX:
        raise Rejected(f"{what}: shape must be a list of at most {AXES_MAX} sizes")
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, int):
            raise Rejected(f"{what}: shape holds {size!r}, which is no size")
    return tuple(shape)


def text(document: Json, name: str, what: str) -> str:
    """Return a field that is text, "" where it is not given; Rejected if it is something else."""
    value = document.get(name, "")
    if not isinstance(value, str):
        raise Rejected(f"{what}: {name} must be text")
    return value


def whole_number(document: Json, name: str, what: str) -> int:
    """Return a field that is a whole number, 0 where it is not given; Rejected otherwise."""
    return oip.integer(document, name, what)


def _object(document: Json, name: str, what: str) -> Json:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise Rejected(f"{what}: {name} must be an object")
    return value


def _objects(document: Json, name: str, what: str) -> list[Json]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Rejected(f"{what}: {name} must be a list of objects")
    return value
