"""Requests that take too long, or that nobody waits for any more: their places are free again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
import pytest

from loopline.contracts.oip.v2 import service_pb2
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from services.inference.adapters.models.servable import Servable
from services.inference.service import Inference
from tests.unit.inference.conftest import BOTH_FRONTS, Client
from tests.unit.inference.test_rude_clients import until
from tests.unit.inference.test_safety import infer_over_rest, json_request

PIXELS = np.zeros((1, 8, 8, 3), np.uint8)


@pytest.fixture
async def servable(service: Inference) -> Servable:
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    (servable,) = service.repository.loaded()
    return servable


@contextmanager
def held(servable: Servable) -> Iterator[threading.Event]:
    """Hold the engine in its first execution until the block ends; the event tells that it is."""
    busy, gate, run = threading.Event(), threading.Event(), servable.batcher._run

    def slow(feeds: Any) -> Any:
        busy.set()
        assert gate.wait(20)
        return run(feeds)

    servable.batcher._run = slow
    try:
        yield busy
    finally:
        gate.set()


@asynccontextmanager
async def occupied(servable: Servable, client: Client) -> AsyncIterator[None]:
    """Keep the engine busy with a request of somebody else's, who is answered afterwards."""
    with held(servable) as busy:
        first = asyncio.create_task(client.infer(request()))
        assert await asyncio.to_thread(busy.wait, 20)
        yield
    assert (await first).model_name == "colours"


def request(timeout_us: int = 0) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="colours")
    message.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    message.raw_input_contents.append(PIXELS.tobytes())
    if timeout_us:
        message.parameters["timeout"].int64_param = timeout_us
    return message


@BOTH_FRONTS
async def test_a_requests_own_timeout_holds_over_grpc(client: Client, servable: Servable) -> None:
    async with occupied(servable, client):
        with pytest.raises(grpc.RpcError) as caught:
            await client.infer(request(timeout_us=100_000))
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert servable.admission.inside == 1
    await until(lambda: servable.admission.inside == 0)
    assert servable.statistics.snapshot().fail.count == 1


async def test_a_requests_own_timeout_holds_over_rest(
    client: Client, rest: httpx.AsyncClient, servable: Servable
) -> None:
    async with occupied(servable, client):
        body = {**json_request(), "parameters": {"timeout": 100_000}}
        answer = await rest.post("/v2/models/colours/infer", json=body)
        assert answer.status_code == 504
        assert servable.admission.inside == 1
    await until(lambda: servable.admission.inside == 0)
    assert servable.statistics.snapshot().fail.count == 1


@BOTH_FRONTS
async def test_a_call_that_is_cancelled_frees_its_place(
    service: Inference, client: Client, servable: Servable
) -> None:
    channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")
    ask = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )
    async with occupied(servable, client):
        call = ask.future(request())
        await until(lambda: servable.admission.inside == 2)
        call.cancel()  # type: ignore[no-untyped-call]
        await until(lambda: servable.admission.inside == 1)
    channel.close()


async def test_an_http_client_that_goes_away_frees_its_place(
    service: Inference, client: Client, servable: Servable
) -> None:
    async with occupied(servable, client):
        _, writer = await asyncio.open_connection("127.0.0.1", service.fronts.rest.port)
        body = orjson.dumps(json_request())
        head = f"POST /v2/models/colours/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await until(lambda: servable.admission.inside == 2)
        writer.close()
        await until(lambda: servable.admission.inside == 1)


@BOTH_FRONTS
async def test_a_model_that_is_unloaded_answers_who_is_inside(
    client: Client, rest: httpx.AsyncClient, servable: Servable
) -> None:
    with held(servable) as busy:
        first = asyncio.create_task(client.infer(request()))
        assert await asyncio.to_thread(busy.wait, 20)
        unloaded = await rest.post("/v2/repository/models/colours/unload")
        assert unloaded.status_code == 200
        assert (await infer_over_rest(rest)).status_code == 503
    assert (await first).model_name == "colours"
