"""What the fronts tell of themselves and of the models: metadata, statistics, health, ports."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from loopline.contracts import ArtefactRef
from loopline.contracts.oip.v2 import (
    model_config_pb2,
    repository_pb2,
    service_pb2,
    statistics_pb2,
)
from loopline.errors import LooplineError
from loopline.testing.onnx_models import (
    colour_classifier,
    commit_model,
)
from services.inference.adapters.fronts.fronts import Fronts
from services.inference.adapters.scheduling import Scheduler
from services.inference.domain.admission import Limits
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.conftest import BOTH_FRONTS, Client
from tests.unit.inference.test_front import deploy, encoded, images_request, refusal

StatusCode = grpc.StatusCode


@pytest.fixture
async def model(service: Inference) -> ArtefactRef:
    return (await deploy(service)).ref


@BOTH_FRONTS
async def test_a_server_without_models_is_live_and_ready(client: Client) -> None:
    live = await client.call(
        "ServerLive", service_pb2.ServerLiveRequest(), service_pb2.ServerLiveResponse
    )
    ready = await client.call(
        "ServerReady", service_pb2.ServerReadyRequest(), service_pb2.ServerReadyResponse
    )
    index = await client.call(
        "RepositoryIndex",
        repository_pb2.RepositoryIndexRequest(),
        repository_pb2.RepositoryIndexResponse,
    )
    assert live.live
    assert ready.ready
    assert not index.models


async def test_a_model_is_ready_when_it_is_loaded(
    client: Client, model: ArtefactRef, service: Inference
) -> None:
    await commit_model(service.log, service.objects, colour_classifier(sharpness=0.2))

    async def ready(name: str, version: str = "") -> bool:
        request = service_pb2.ModelReadyRequest(name=name, version=version)
        answer = await client.call("ModelReady", request, service_pb2.ModelReadyResponse)
        return bool(answer.ready)

    assert await ready("colours")
    assert await ready("colours", "1")
    assert await ready("colours", "champion")
    assert not await ready("colours", "2")
    assert not await ready("colours", "challenger")
    assert not await ready("nothing")


async def test_metadata_config_and_index_say_what_is_served(
    client: Client, model: ArtefactRef
) -> None:
    server = await client.call(
        "ServerMetadata", service_pb2.ServerMetadataRequest(), service_pb2.ServerMetadataResponse
    )
    assert server.name == "loopline"
    assert "statistics" in server.extensions
    metadata = await client.call(
        "ModelMetadata",
        service_pb2.ModelMetadataRequest(name="colours"),
        service_pb2.ModelMetadataResponse,
    )
    assert list(metadata.versions) == ["1"]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("image", "UINT8", [-1, 8, 8, 3])
    ]
    assert [t.name for t in metadata.outputs] == ["probabilities", "class", "confidence"]
    config = await client.call(
        "ModelConfig",
        model_config_pb2.ModelConfigRequest(name="colours"),
        model_config_pb2.ModelConfigResponse,
    )
    assert config.config.max_batch_size == 16
    assert config.config.parameters["model_digest"].string_value == model.digest
    assert config.config.dynamic_batching.max_queue_delay_microseconds == 0
    index = await client.call(
        "RepositoryIndex",
        repository_pb2.RepositoryIndexRequest(ready=True),
        repository_pb2.RepositoryIndexResponse,
    )
    assert [(m.name, m.version, m.state) for m in index.models] == [("colours", "1", "READY")]


async def test_statistics_count_requests_images_and_failures(
    client: Client, model: ArtefactRef
) -> None:
    await client.infer(images_request(encoded("red"), encoded("blue")))
    await refusal(client, images_request(b"no image"))
    answer = await client.call(
        "ModelStatistics",
        statistics_pb2.ModelStatisticsRequest(name="colours"),
        statistics_pb2.ModelStatisticsResponse,
    )
    (figures,) = answer.model_stats
    assert (figures.inference_count, figures.execution_count) == (2, 1)
    assert figures.inference_stats.success.count == 1
    assert figures.inference_stats.fail.count == 1
    assert figures.inference_stats.success.ns > figures.inference_stats.compute_infer.ns > 0
    assert figures.last_inference > 0
    assert [batch.batch_size for batch in figures.batch_stats] == [2]
    with pytest.raises(grpc.RpcError) as caught:
        await client.call(
            "ModelStatistics",
            statistics_pb2.ModelStatisticsRequest(name="nothing"),
            statistics_pb2.ModelStatisticsResponse,
        )
    assert caught.value.code() == StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["TraceSetting", "CudaSharedMemoryRegister"])
@BOTH_FRONTS
async def test_what_is_not_served_is_unimplemented(client: Client, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await client.call(
            method,
            repository_pb2.RepositoryIndexRequest(),
            repository_pb2.RepositoryIndexResponse,
        )
    assert caught.value.code() == StatusCode.UNIMPLEMENTED


@BOTH_FRONTS
async def test_health_and_reflection_answer(service: Inference) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        answer = await asyncio.to_thread(health.Check, request, timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = await asyncio.to_thread(
            lambda: list(stub.ServerReflectionInfo(iter([ask]), timeout=10))
        )
        of = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="inference.GRPCInferenceService"
        )
        (found,) = await asyncio.to_thread(
            lambda: list(stub.ServerReflectionInfo(iter([of]), timeout=10))
        )
        files = map(
            descriptor_pb2.FileDescriptorProto.FromString,
            found.file_descriptor_response.file_descriptor_proto,
        )
        assert service_pb2.DESCRIPTOR.name in {file.name for file in files}
        names = {service.name for service in listed.list_services_response.service}
        assert "inference.GRPCInferenceService" in names
        assert "loopline.contracts.inference.v1.PredictService" in names


@pytest.mark.parametrize("front", ["grpc", "rest"])
@BOTH_FRONTS
async def test_a_port_that_is_taken_is_named(
    service: Inference, settings: InferenceSettings, front: str
) -> None:
    port = getattr(service.fronts, front).port
    taken = settings.model_copy(update={f"{front}_port": port})
    scheduler = Scheduler(service.repository, service._pool, Limits())
    with pytest.raises(LooplineError, match=str(port)):
        Fronts(
            taken,
            service.repository,
            scheduler,
            service.access,
            service.clock,
            service.pipelines,
        )
