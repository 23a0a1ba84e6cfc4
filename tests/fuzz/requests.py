"""What is fuzzed of inference: the two request parsers, up to the arrays that a graph would get.

Whatever the bytes are, a parser returns or refuses with an error of ours. And the scanner that
spares protobuf the tensors must agree with protobuf on every input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from google.protobuf.message import DecodeError

from loopline.contracts.oip.v2.service_pb2 import ModelInferRequest
from loopline.errors import LooplineError, NotFound
from services.inference.adapters.protocol import oip, request_scan, rest_codec
from services.inference.adapters.protocol.shared_memory import RegionUse
from services.inference.domain.model import TENSORS, ModelVersion, Signature, TensorSpec
from services.inference.domain.tensors import DTYPES, InputTensor, payload_of, requested_outputs

MAX_BYTES = 1 << 20
MAX_ROWS = 16
_IMAGES = Signature(
    (TensorSpec("image", "UINT8", (-1, 2, 2, 3)),),
    (TensorSpec("probabilities", "FP32", (-1, 3)), TensorSpec("class", "BYTES", (-1,))),
)
_ARRAYS = Signature(
    tuple(TensorSpec(f"in_{d.lower()}", d, (-1, -1)) for d in (*DTYPES, "BYTES")),
    (TensorSpec("out", "FP32", (-1,)),),
)


class _Regions:
    """Shared memory with one region, `r`, of 64 bytes."""

    def read(self, use: RegionUse, view: memoryview) -> None:
        self.check(use)
        view[: use.byte_size] = bytes(use.byte_size)

    def write(self, use: RegionUse, data: bytes) -> None:
        self.check(use)

    def check(self, use: RegionUse) -> None:
        if use.region != "r" or not 0 <= use.offset <= use.offset + use.byte_size <= 64:
            raise NotFound("there is no such region")


def grpc_request(data: bytes) -> bool:
    """Parse a ModelInferRequest; return whether a graph would get it."""
    with suppress(LooplineError):
        return _reaches_a_graph(oip.decode_request(data, _Regions()))
    return False


def rest_request(data: bytes) -> bool:
    """Parse a REST body; its first byte chooses encoding and length of the JSON."""
    if not data:
        return False
    kind, body = data[0], data[1:]
    encoding = ("", "gzip", "deflate")[kind % 3]
    with suppress(LooplineError):
        body = rest_codec.decompress(body, encoding, MAX_BYTES)
        length = str(body.rfind(b"}") + 1) if kind & 4 else ""
        request = rest_codec.decode_request("m", "", body, length, _Regions())
        return _reaches_a_graph(request)
    return False


def scanned_request(data: bytes) -> bool:
    """Compare the scanner with protobuf: it may give up, it may not say something else."""
    parts = request_scan.split(data)
    if parts is None:
        return False
    try:
        whole = ModelInferRequest.FromString(data)
    except DecodeError:
        whole = None
    try:
        head = ModelInferRequest.FromString(parts[0])
    except DecodeError:
        assert whole is None, "protobuf takes what the scanner refuses"
        return False
    head.raw_input_contents.extend(bytes(view) for view in parts[1])
    assert whole is not None, "protobuf refuses what the scanner takes"
    assert head == whole, "the scanner sees another request"
    return True


def _reaches_a_graph(request: oip.InferRequest) -> bool:
    request.check()
    with suppress(LooplineError):
        requested_outputs(request.outputs, _IMAGES.outputs)
    named = {tensor.name: tensor for tensor in request.inputs}
    specs = tuple(spec for spec in _ARRAYS.inputs if spec.name in named)
    asked = (
        ("classification", _IMAGES, request.inputs),
        (TENSORS, _ARRAYS, request.inputs),
        # One input of each name is enough for a graph that takes just these.
        (TENSORS, Signature(specs, ()), tuple(named.values())),
    )
    taken = [_is_taken(inputs, task, signature) for task, signature, inputs in asked]
    return True in taken


def _is_taken(inputs: Sequence[InputTensor], task: str, signature: Signature) -> bool:
    try:
        return payload_of(inputs, _model(task), signature, MAX_ROWS).count > 0
    except LooplineError:
        return False


def _model(task: str) -> ModelVersion:
    return ModelVersion(
        name="m",
        version=1,
        digest="",
        classes=("a", "b", "c"),
        height_px=2,
        width_px=2,
        channels=3,
        interpolation="area",
        onnx_digest="",
        onnx_size_bytes=0,
        task=task,
    )


TARGETS: Mapping[str, Callable[[bytes], bool]] = {
    "grpc": grpc_request,
    "rest": rest_request,
    "scan": scanned_request,
}
"""What takes any bytes, by the name of its corpus."""
