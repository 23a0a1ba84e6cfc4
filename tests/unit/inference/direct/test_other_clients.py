"""Clients that are not grpcio: what nghttp2, in Node, makes of the direct front."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopline.contracts.oip.v2 import service_pb2
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.service import Inference

NODE = Path(sys.executable).parent / "node"
CLIENT = Path(__file__).parent / "client.mjs"
SERVICE = "/inference.GRPCInferenceService"


async def node(port: int, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Have Node make calls at once over one connection, and return what it got."""
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(CLIENT),
        str(port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate(json.dumps(calls).encode())
    assert process.returncode == 0
    found: list[dict[str, Any]] = json.loads(said)
    return found


def request(colour: int, **fields: Any) -> bytes:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    pixels[..., colour] = 255
    message = service_pb2.ModelInferRequest(model_name="colours", **fields)
    message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    message.raw_input_contents.append(pixels.tobytes())
    return message.SerializeToString()


def answered(response: service_pb2.ModelInferResponse) -> tuple[str, int]:
    """Return whose answer it is, and which colour is the likeliest."""
    scores = np.frombuffer(response.raw_output_contents[0], "<f4")
    return response.id, int(scores.argmax())


async def test_node_infers_alone_and_in_a_stream(service: Inference) -> None:
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    requests = [request(at % 3, id=str(at)) for at in range(9)]
    calls = [{"path": f"{SERVICE}/ModelInfer", "messages": [each.hex()]} for each in requests]
    stream = {
        "path": f"{SERVICE}/ModelStreamInfer",
        "messages": [each.hex() for each in requests],
    }
    *alone, streamed = await node(service.fronts.grpc.port, [*calls, stream])
    assert [each["trailers"]["grpc-status"] for each in (*alone, streamed)] == ["0"] * 10
    found = [
        service_pb2.ModelInferResponse.FromString(bytes.fromhex(message))
        for each in alone
        for message in each["messages"]
    ]
    in_stream = [
        service_pb2.ModelStreamInferResponse.FromString(bytes.fromhex(message)).infer_response
        for message in streamed["messages"]
    ]
    expected = [(str(at), answered(found[at])[1]) for at in range(9)]
    assert len({colour for _, colour in expected}) == 3
    assert [answered(each) for each in found] == [answered(each) for each in in_stream] == expected


@pytest.mark.parametrize("size", [0, 100_000, 2_000_000])
async def test_node_gets_back_what_it_sent(shared: DirectListener, size: int) -> None:
    message = (bytes(range(256)) * (size // 256 + 1))[:size].hex()
    calls: list[dict[str, Any]] = [
        {"path": f"/t.T/{name}", "messages": [message]} for name in ("Echo", "Started", "Chat")
    ]
    for each in await node(shared.port, calls):
        assert (each["status"], each["messages"]) == (200, [message])
        assert each["trailers"] == {"grpc-status": "0"}


async def test_node_is_told_of_errors(shared: DirectListener) -> None:
    calls: list[dict[str, Any]] = [
        {"path": "/t.T/Nothing", "messages": [""]},
        {"path": "/t.T/Abort", "messages": [b"no".hex()]},
        {"path": "/t.T/Echo", "messages": [""], "head": {"content-type": "text/plain"}},
    ]
    nothing, aborted, plain = await node(shared.port, calls)
    assert nothing["head"]["grpc-status"] == "12"
    assert (aborted["head"]["grpc-status"], aborted["head"]["grpc-message"]) == ("9", "no")
    assert aborted["head"]["why"] == "because"
    assert plain["status"] == 415
