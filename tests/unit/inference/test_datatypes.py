"""Every datatype of the protocol, there and back, in every way it travels."""

from __future__ import annotations

import struct
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from loopline.contracts.oip.v2 import service_pb2
from loopline.testing.onnx_models import IR_VERSION, OPSET, commit_model, move_alias
from loopline.testing.onnx_tensors import ONNX_TYPES, echo
from services.inference.adapters.protocol.oip import FIELDS
from services.inference.domain.model import TENSORS
from services.inference.domain.tensors import DTYPES, join_raw_bytes, split_raw_bytes
from services.inference.service import Inference
from tests.unit.inference.conftest import Client

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 1, 255],
    "UINT16": [0, 1, 2**16 - 1],
    "UINT32": [0, 1, 2**32 - 1],
    "UINT64": [0, 1, 2**64 - 1],
    "INT8": [-128, 0, 127],
    "INT16": [-(2**15), 0, 2**15 - 1],
    "INT32": [-(2**31), 0, 2**31 - 1],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "FP16": [0.5, -2.0, 65_504.0],
    "FP32": [0.5, -2.0, 1.5e38],
    "FP64": [0.1, -2.0, 1e300],
    "BF16": [0x3F80, 0xC000, 0x0000],
    "BYTES": [b"cat", b"", "Katze auf dem Dach: ä".encode()],
}
TYPED = sorted(FIELDS)
RAW_ONLY = ["FP16", "BF16"]


def raw(datatype: str) -> bytes:
    if datatype == "BYTES":
        return join_raw_bytes(VALUES[datatype])
    return np.array(VALUES[datatype], DTYPES[datatype]).tobytes()


async def deploy(service: Inference, *datatypes: str) -> None:
    await serve(service, echo(*datatypes))


async def serve(service: Inference, onnx: bytes) -> None:
    model = await commit_model(
        service.log, service.objects, onnx, name="echo", classes=(), task=TENSORS
    )
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()


def request_of(datatype: str, shape: list[int] | None = None) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="echo")
    request.inputs.add(name=f"in_{datatype.lower()}", datatype=datatype, shape=shape or [1, 3])
    return request


@pytest.mark.parametrize("datatype", sorted(ONNX_TYPES))
async def test_raw_elements_come_back_as_they_were(
    service: Inference, client: Client, datatype: str
) -> None:
    await deploy(service, datatype)
    request = request_of(datatype)
    request.raw_input_contents.append(raw(datatype))
    response = await client.infer(request)
    (output,) = response.outputs
    assert (output.name, output.datatype) == (f"out_{datatype.lower()}", datatype)
    assert list(output.shape) == [1, 3]
    assert response.raw_output_contents[0] == raw(datatype)


@pytest.mark.parametrize("datatype", TYPED)
async def test_typed_elements_come_back_as_they_were(
    service: Inference, client: Client, datatype: str
) -> None:
    await deploy(service, datatype)
    request = request_of(datatype)
    getattr(request.inputs[0].contents, FIELDS[datatype]).extend(VALUES[datatype])
    response = await client.infer(request)
    found = list(getattr(response.outputs[0].contents, FIELDS[datatype]))
    expected = VALUES[datatype]
    assert found == (np.array(expected, np.float32).tolist() if datatype == "FP32" else expected)
    assert not response.raw_output_contents


@pytest.mark.parametrize("datatype", TYPED)
async def test_elements_in_json_come_back_as_they_were(
    service: Inference, rest: httpx.AsyncClient, datatype: str
) -> None:
    await deploy(service, datatype)
    values = [v.decode() if isinstance(v, bytes) else v for v in VALUES[datatype]]
    tensor = {"name": f"in_{datatype.lower()}", "datatype": datatype, "shape": [1, 3]}
    for data in (values, [values]):
        answer = await rest.post(
            "/v2/models/echo/infer", json={"inputs": [{**tensor, "data": data}]}
        )
        assert answer.status_code == 200, answer.text
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [1, 3]
        expected = np.array(values, np.float32).tolist() if datatype == "FP32" else values
        assert output["data"] == expected


@pytest.mark.parametrize("datatype", sorted(ONNX_TYPES))
async def test_binary_elements_over_rest_come_back_as_they_were(
    service: Inference, rest: httpx.AsyncClient, datatype: str
) -> None:
    await deploy(service, datatype)
    data = raw(datatype)
    tensor = {"name": f"in_{datatype.lower()}", "datatype": datatype, "shape": [1, 3]}
    document = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
        "parameters": {"binary_data_output": True},
    }
    request = rest.build_request("POST", "/v2/models/echo/infer", json=document)
    head = request.content
    answer = await rest.post(
        "/v2/models/echo/infer",
        content=head + data,
        headers={"inference-header-content-length": str(len(head))},
    )
    assert answer.status_code == 200, answer.text
    assert answer.content[int(answer.headers["inference-header-content-length"]) :] == data


@pytest.mark.parametrize("without", ["BF16", "BYTES"])
async def test_many_datatypes_go_in_one_request(
    service: Inference, client: Client, without: str
) -> None:
    datatypes = sorted(set(ONNX_TYPES) - {without})
    await deploy(service, *datatypes)
    request = service_pb2.ModelInferRequest(model_name="echo")
    for datatype in datatypes:
        request.inputs.add(name=f"in_{datatype.lower()}", datatype=datatype, shape=[1, 3])
        request.raw_input_contents.append(raw(datatype))
    response = await client.infer(request)
    assert [o.datatype for o in response.outputs] == datatypes
    assert list(response.raw_output_contents) == [raw(datatype) for datatype in datatypes]


@pytest.mark.parametrize("text_comes", ["in", "out"])
async def test_text_and_halves_go_together(
    service: Inference, client: Client, text_comes: str
) -> None:
    """Text beside halves that come in; and text that is told of them, beside halves that go out."""
    await serve(service, said(text_comes))
    request = request_of("BF16")
    request.raw_input_contents.append(raw("BF16"))
    if text_comes == "in":
        request.inputs.add(name="in_bytes", datatype="BYTES", shape=[1, 3])
        request.raw_input_contents.append(raw("BYTES"))
    response = await client.infer(request)
    outputs = {output.name: output.datatype for output in response.outputs}
    answers = dict(zip(outputs, response.raw_output_contents, strict=True))
    numbers = np.array([1.0, -2.0, 0.0], "<f4")
    if text_comes == "in":
        assert outputs == {"out_fp32": "FP32", "out_bytes": "BYTES"}
        assert answers == {"out_fp32": numbers.tobytes(), "out_bytes": raw("BYTES")}
    else:
        assert outputs == {"out_bf16": "BF16", "out_text": "BYTES"}
        assert answers["out_bf16"] == raw("BF16")
        assert [float(text) for text in split_raw_bytes(answers["out_text"], 3)] == [1, -2, 0]


def said(text_comes: str) -> bytes:
    """Return a graph that has text and BF16: both come in, or both go out."""
    tensor, axes = helper.make_tensor_value_info, ["batch", "width"]
    halves = tensor("in_bf16", TensorProto.BFLOAT16, axes)
    as_float = helper.make_node("Cast", ["in_bf16"], ["out_fp32"], to=TensorProto.FLOAT)
    if text_comes == "in":
        nodes = [as_float, helper.make_node("Identity", ["in_bytes"], ["out_bytes"])]
        inputs = [halves, tensor("in_bytes", TensorProto.STRING, axes)]
        outputs = [
            tensor("out_fp32", TensorProto.FLOAT, axes),
            tensor("out_bytes", TensorProto.STRING, axes),
        ]
    else:
        text = helper.make_node("Cast", ["out_fp32"], ["out_text"], to=TensorProto.STRING)
        nodes = [as_float, text, helper.make_node("Identity", ["in_bf16"], ["out_bf16"])]
        inputs = [halves]
        outputs = [
            tensor("out_bf16", TensorProto.BFLOAT16, axes),
            tensor("out_text", TensorProto.STRING, axes),
        ]
    graph = helper.make_graph(nodes, "said", inputs, outputs)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


async def test_a_graph_that_takes_text_and_gives_halves_is_refused_with_the_reason(
    service: Inference, client: Client
) -> None:
    await deploy(service, "BF16", "BYTES")
    code, details = await refusal(client, request_of("BYTES"))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "takes text and gives BF16" in details


async def test_metadata_spells_every_datatype(service: Inference, client: Client) -> None:
    datatypes = sorted(set(ONNX_TYPES) - {"BF16"})
    await deploy(service, *datatypes)
    metadata = await client.call(
        "ModelMetadata",
        service_pb2.ModelMetadataRequest(name="echo"),
        service_pb2.ModelMetadataResponse,
    )
    assert [(t.datatype, list(t.shape)) for t in metadata.inputs] == [
        (datatype, [-1, -1]) for datatype in datatypes
    ]


@pytest.mark.parametrize("datatype", RAW_ONLY)
async def test_halves_travel_raw_only(service: Inference, client: Client, datatype: str) -> None:
    await deploy(service, datatype)
    request = request_of(datatype)
    request.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    code, details = await refusal(client, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "raw only" in details


@pytest.mark.parametrize(
    ("datatype", "field", "values", "reason"),
    [
        ("INT8", "int_contents", [1, 2, 128], "holds the value 128"),
        ("UINT8", "uint_contents", [1, 2, 256], "holds the value 256"),
        ("INT16", "int_contents", [-40_000, 0, 0], "holds the value -40000"),
        ("UINT16", "uint_contents", [70_000, 0, 0], "holds the value 70000"),
        ("INT32", "int64_contents", [1, 2, 3], "belong into int_contents"),
        ("FP32", "fp64_contents", [1, 2, 3], "belong into fp32_contents"),
        ("FP32", "fp32_contents", [1, 2], "has 2 elements"),
        ("BYTES", "bytes_contents", [b"\xff", b"", b""], "not UTF-8"),
    ],
)
async def test_typed_elements_that_do_not_fit_are_refused(
    service: Inference,
    client: Client,
    datatype: str,
    field: str,
    values: list[Any],
    reason: str,
) -> None:
    await deploy(service, datatype)
    request = request_of(datatype)
    getattr(request.inputs[0].contents, field).extend(values)
    code, details = await refusal(client, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in details


@pytest.mark.parametrize(
    ("shape", "data", "reason"),
    [
        ([1, 3], bytes(11), "has 11 bytes"),
        ([1, 3, 1], bytes(12), "has shape [1, 3, 1]"),
        ([-1, 3], bytes(12), "has shape [-1, 3]"),
        ([0, 3], b"", "batch is empty"),
        ([2**40, 2**40], b"", "too large"),
        ([2**62, 0], b"", "too large"),
        ([17, 1], bytes(68), "at most 16"),
    ],
)
async def test_raw_elements_that_do_not_fit_are_refused(
    service: Inference, client: Client, shape: list[int], data: bytes, reason: str
) -> None:
    await deploy(service, "FP32")
    request = request_of("FP32", shape)
    request.raw_input_contents.append(data)
    code, details = await refusal(client, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in details


async def test_text_of_a_wrong_length_is_refused(service: Inference, client: Client) -> None:
    await deploy(service, "BYTES")
    request = request_of("BYTES")
    request.raw_input_contents.append(struct.pack("<I", 2**32 - 1))
    assert (await refusal(client, request))[0] == grpc.StatusCode.INVALID_ARGUMENT


async def refusal(
    client: Client, request: service_pb2.ModelInferRequest
) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request)
    return caught.value.code(), caught.value.details() or ""
