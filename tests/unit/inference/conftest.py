"""An inference service over in-memory twins, with real models and a real gRPC port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Literal

import grpc
import httpx
import pytest

from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import service_pb2
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

CALL_TIMEOUT_S = 20.0
BOTH_FRONTS = pytest.mark.parametrize("grpc_front", ["direct", "grpcio"], indirect=True)
"""Tests of what must be the same whichever of the two listens for gRPC."""


class Client:
    """Calls by method name; each in a thread, because a call may need the service's event loop."""

    def __init__(
        self, port: int, credentials: grpc.ChannelCredentials | None = None, token: str = ""
    ) -> None:
        address = f"127.0.0.1:{port}"
        # Channels of one process share connections; each of these is a client of its own.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials is not None
            else grpc.insecure_channel(address, options)
        )
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def call(
        self, method: str, request: Any, answer: Any, timeout_s: float = CALL_TIMEOUT_S
    ) -> Any:
        path = f"/inference.GRPCInferenceService/{method}"
        if method == "Predict":
            path = "/loopline.contracts.inference.v1.PredictService/Predict"
        ask = self._channel.unary_unary(
            path,
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return await asyncio.to_thread(ask, request, timeout=timeout_s, metadata=self._metadata)

    async def infer(
        self, request: service_pb2.ModelInferRequest | bytes
    ) -> service_pb2.ModelInferResponse:
        answer = await self.call("ModelInfer", request, service_pb2.ModelInferResponse)
        assert isinstance(answer, service_pb2.ModelInferResponse)
        return answer

    async def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        answer = await self.call("Predict", request, predict_pb2.PredictResponse)
        assert isinstance(answer, predict_pb2.PredictResponse)
        return answer

    async def stream(self, requests: Iterable[Any], timeout_s: float = CALL_TIMEOUT_S) -> list[Any]:
        ask = self._channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        return await asyncio.to_thread(
            lambda: list(ask(iter(requests), timeout=timeout_s, metadata=self._metadata))
        )

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def grpc_front(request: pytest.FixtureRequest) -> str:
    """Which front listens for gRPC: the default, unless a test asks for `BOTH_FRONTS`."""
    return str(getattr(request, "param", "direct"))


@pytest.fixture
def settings(tmp_path: Path, grpc_front: Literal["direct", "grpcio"]) -> InferenceSettings:
    return InferenceSettings(
        data_dir=tmp_path,
        grpc_front=grpc_front,
        engine_threads=1,
        engine_instances=1,
        engine_direct_us=0,  # so that requests queue
        decode_threads=2,
        grpc_threads=8,
        request_images_max=16,
        image_pixels_max=1_000_000,
        models_max=2,
        drain_s=1.0,
    )


@pytest.fixture
async def service(
    bus: MemoryBus, blobs: MemoryBlobs, settings: InferenceSettings
) -> AsyncIterator[Inference]:
    service = memory_service(Inference, settings, bus, blobs)
    await service.start()
    yield service
    await service.stop()
    service.objects.close()


@pytest.fixture
async def rest(service: Inference) -> AsyncIterator[httpx.AsyncClient]:
    """The same over HTTP; in this loop, because the front has a thread and a loop of its own."""
    url = f"http://127.0.0.1:{service.fronts.rest.port}"
    async with httpx.AsyncClient(base_url=url, timeout=CALL_TIMEOUT_S) as rest:
        yield rest


@pytest.fixture
async def client(service: Inference) -> AsyncIterator[Client]:
    client = Client(service.fronts.grpc.port)
    yield client
    client.close()
