"""Who comes in, how, and how much they may ask: TLS, tokens with scopes, quotas; on both fronts."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest

from loopline.access import Role, SigningKey, TokenIssuer
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import (
    repository_pb2,
    service_pb2,
    shared_memory_pb2,
    statistics_pb2,
)
from loopline.errors import Rejected
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.certificates import Authority
from tests.unit.inference.conftest import BOTH_FRONTS, Client

StatusCode = grpc.StatusCode
PIXELS = np.zeros((1, 8, 8, 3), np.uint8)
Serve = Callable[..., Any]


def request(model: str = "colours") -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    message.raw_input_contents.append(PIXELS.tobytes())
    return message


def json_request() -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape)}
    return {"inputs": [{**tensor, "data": PIXELS.ravel().tolist()}]}


async def infer_over_rest(client: httpx.AsyncClient, model: str = "colours") -> httpx.Response:
    return await client.post(f"/v2/models/{model}/infer", json=json_request())


async def code_of(call: Any) -> StatusCode:
    try:
        await call
    except grpc.RpcError as error:
        code: StatusCode = error.code()
        return code
    return StatusCode.OK


@pytest.fixture
async def serve(settings: InferenceSettings) -> AsyncIterator[Serve]:
    """Start services with other settings, two models in each."""
    async with AsyncExitStack() as stack:

        async def start(**changed: Any) -> Inference:
            return await stack.enter_async_context(
                serving(settings.model_copy(update={"models_max": 4, **changed}))
            )

        yield start


@asynccontextmanager
async def serving(settings: InferenceSettings) -> AsyncIterator[Inference]:
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    await service.access.start()
    await service.start()
    try:
        for name in ("colours", "others"):
            model = await commit_model(service.log, service.objects, colour_classifier(), name=name)
            await move_alias(service.log, model.ref)
        await service.aliases.catch_up()
        yield service
    finally:
        await service.stop()
        await service.access.stop()
        service.objects.close()


@asynccontextmanager
async def grpc_client(service: Inference, *args: Any, **given: Any) -> AsyncIterator[Client]:
    client = Client(service.fronts.grpc.port, *args, **given)
    try:
        yield client
    finally:
        client.close()


def rest_client(
    service: Inference, verify: ssl.SSLContext | bool = True, token: str = ""
) -> httpx.AsyncClient:
    scheme = "http" if verify is True else "https"
    return httpx.AsyncClient(
        base_url=f"{scheme}://127.0.0.1:{service.fronts.rest.port}",
        verify=verify,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=20,
    )


# --- TLS


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


@BOTH_FRONTS
async def test_tls_keeps_plain_and_distrustful_clients_out(serve: Serve, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another")
    issued = authority.issue("server")
    service = await serve(tls_certificate=issued.certificate, tls_key=issued.key)
    good = grpc.ssl_channel_credentials(authority.file.read_bytes())
    bad = grpc.ssl_channel_credentials(other.file.read_bytes())
    async with grpc_client(service, good) as client:
        assert (await client.infer(request())).model_name == "colours"
    for credentials in (bad, None):
        async with grpc_client(service, credentials) as client:
            assert await code_of(client.infer(request())) == StatusCode.UNAVAILABLE
    async with rest_client(service, trusting(authority)) as client:
        assert (await infer_over_rest(client)).status_code == 200
    for verify in (trusting(other), True):
        async with rest_client(service, verify) as client:
            with pytest.raises((httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError)):
                await infer_over_rest(client)


@BOTH_FRONTS
async def test_mutual_tls_takes_only_clients_of_its_authority(serve: Serve, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another")
    server, client_files, stranger = (
        authority.issue("server"),
        authority.issue("camera-7"),
        other.issue("stranger"),
    )
    service = await serve(
        tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=authority.file
    )
    ca = authority.file.read_bytes()
    known = grpc.ssl_channel_credentials(
        ca, client_files.key.read_bytes(), client_files.certificate.read_bytes()
    )
    strange = grpc.ssl_channel_credentials(
        ca, stranger.key.read_bytes(), stranger.certificate.read_bytes()
    )
    async with grpc_client(service, known) as client:
        assert (await client.infer(request())).model_name == "colours"
    for credentials in (strange, grpc.ssl_channel_credentials(ca)):
        async with grpc_client(service, credentials) as client:
            assert await code_of(client.infer(request())) == StatusCode.UNAVAILABLE
    context = trusting(authority)
    context.load_cert_chain(client_files.certificate, client_files.key)
    async with rest_client(service, context) as client:
        assert (await infer_over_rest(client)).status_code == 200
    async with rest_client(service, trusting(authority)) as client:
        with pytest.raises((httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError)):
            await infer_over_rest(client)


@BOTH_FRONTS
async def test_a_certificates_name_is_whose_quota_counts(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, one, two = (authority.issue(name) for name in ("server", "one", "two"))
    service = await serve(
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=authority.file,
        client_requests_per_s=0.001,
        client_burst=1,
    )
    for files in (one, two):
        credentials = grpc.ssl_channel_credentials(
            authority.file.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
        )
        async with grpc_client(service, credentials) as client:
            assert await code_of(client.infer(request())) == StatusCode.OK
            assert await code_of(client.infer(request())) == StatusCode.RESOURCE_EXHAUSTED
        context = trusting(authority)
        context.load_cert_chain(files.certificate, files.key)
        async with rest_client(service, context) as rest:
            assert (await infer_over_rest(rest)).status_code == 429


# --- tokens


class Issuer:
    """Gives tokens, as the console does."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self._issuer = TokenIssuer(self.key, "default")

    @property
    def jwks(self) -> str:
        """What services check tokens with."""
        return json.dumps({"keys": [self.key.public_jwk()]})

    def token(self, *scopes: str, name: str = "program", token_id: str = "") -> str:
        return self._issuer.issue(
            name, role=Role.ADMIN, lifetime_s=60, scopes=scopes, token_id=token_id
        )


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def guarded(serve: Serve, issuer: Issuer) -> Inference:
    service: Inference = await serve(access_keys=issuer.jwks, client_tokens="always")
    return service


@BOTH_FRONTS
async def test_without_a_good_token_nobody_asks_a_model(guarded: Inference, issuer: Issuer) -> None:
    forged = Issuer().token("predict:*")
    for token in ("", "nonsense", forged):
        async with (
            grpc_client(guarded, token=token) as client,
            rest_client(guarded, token=token) as rest,
        ):
            assert await code_of(client.infer(request())) == StatusCode.UNAUTHENTICATED
            assert await code_of(client.stream([request()])) == StatusCode.UNAUTHENTICATED
            asked = predict_pb2.PredictRequest(model="colours", images=[b"x"])
            assert await code_of(client.predict(asked)) == StatusCode.UNAUTHENTICATED
            answer = await infer_over_rest(rest)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_asks_the_models_of_its_scopes_and_no_others(
    guarded: Inference, issuer: Issuer
) -> None:
    token = issuer.token("predict:colours")
    async with (
        grpc_client(guarded, token=token) as client,
        rest_client(guarded, token=token) as rest,
    ):
        assert await code_of(client.infer(request("colours"))) == StatusCode.OK
        assert await code_of(client.infer(request("others"))) == StatusCode.PERMISSION_DENIED
        asked = predict_pb2.PredictRequest(model="others", images=[b"x"])
        assert await code_of(client.predict(asked)) == StatusCode.PERMISSION_DENIED
        first, second = await client.stream([request("colours"), request("others")])
        assert first.infer_response.model_name == "colours"
        assert "predict:others" in second.error_message
        assert (await infer_over_rest(rest, "colours")).status_code == 200
        assert (await infer_over_rest(rest, "others")).status_code == 403
        assert (await rest.get("/v2/models/others")).status_code == 403


async def test_a_token_sees_the_models_it_may_ask_and_operates_none(
    guarded: Inference, issuer: Issuer
) -> None:
    async with grpc_client(guarded, token=issuer.token("predict:colours")) as client:
        index = await client.call(
            "RepositoryIndex",
            repository_pb2.RepositoryIndexRequest(),
            repository_pb2.RepositoryIndexResponse,
        )
        assert [model.name for model in index.models] == ["colours"]
        statistics = await client.call(
            "ModelStatistics",
            statistics_pb2.ModelStatisticsRequest(),
            statistics_pb2.ModelStatisticsResponse,
        )
        assert [model.name for model in statistics.model_stats] == ["colours"]
        unload = repository_pb2.RepositoryModelUnloadRequest(model_name="colours")
        answer = repository_pb2.RepositoryModelUnloadResponse
        refused = client.call("RepositoryModelUnload", unload, answer)
        assert await code_of(refused) == StatusCode.PERMISSION_DENIED
    async with grpc_client(guarded, token=issuer.token("operate")) as client:
        assert await code_of(client.call("RepositoryModelUnload", unload, answer)) == StatusCode.OK


async def test_liveness_and_metadata_of_the_server_need_no_token(guarded: Inference) -> None:
    async with grpc_client(guarded) as client, rest_client(guarded) as rest:
        live = await client.call(
            "ServerLive", service_pb2.ServerLiveRequest(), service_pb2.ServerLiveResponse
        )
        assert live.live
        for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
            assert (await rest.get(path)).status_code == 200
        assert (await rest.post("/v2/repository/index")).status_code == 401


async def test_a_revoked_token_is_good_for_seconds_at_most(
    guarded: Inference, issuer: Issuer
) -> None:
    token_id = "0b7c2f8e-3d0c-4a57-9a44-3c62f3d2b111"
    token = issuer.token("predict:*", token_id=token_id)
    async with grpc_client(guarded, token=token) as client:
        assert await code_of(client.infer(request())) == StatusCode.OK
        await guarded.access.revocations.revoke(token_id, owner="ann", by="bob")
        async with asyncio.timeout(10):
            while await code_of(client.infer(request())) != StatusCode.UNAUTHENTICATED:
                await asyncio.sleep(0.05)


async def test_shared_memory_is_of_who_registered_it(guarded: Inference, issuer: Issuer) -> None:
    block = shared_memory.SharedMemory(create=True, size=1024)
    register = shared_memory_pb2.SystemSharedMemoryRegisterRequest(
        name="mine", key=block.name, byte_size=1024
    )
    registered = shared_memory_pb2.SystemSharedMemoryRegisterResponse
    asked = service_pb2.ModelInferRequest(model_name="colours")
    tensor = asked.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    tensor.parameters["shared_memory_region"].string_param = "mine"
    tensor.parameters["shared_memory_byte_size"].int64_param = PIXELS.nbytes
    ann, bob = (issuer.token("predict:*", name=name) for name in ("ann", "bob"))
    reader = issuer.token("read")
    method = "SystemSharedMemoryRegister"
    try:
        async with (
            grpc_client(guarded, token=ann) as first,
            grpc_client(guarded, token=bob) as second,
            grpc_client(guarded, token=reader) as third,
        ):
            await first.call(method, register, registered)
            assert await code_of(first.infer(asked)) == StatusCode.OK
            assert await code_of(second.infer(asked)) == StatusCode.NOT_FOUND
            refused = third.call(method, register, registered)
            assert await code_of(refused) == StatusCode.PERMISSION_DENIED
    finally:
        block.close()
        block.unlink()


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        pytest.param({}, False, id="loopback"),
        pytest.param({"grpc_host": "0.0.0.0"}, True, id="all addresses"),
        pytest.param({"rest_host": "0.0.0.0"}, True, id="REST on all addresses"),
        pytest.param({"grpc_host": "0.0.0.0", "client_tokens": "never"}, False, id="never"),
        pytest.param({"client_tokens": "always"}, True, id="always"),
    ],
)
async def test_tokens_are_asked_for_where_others_can_call(
    serve: Serve, issuer: Issuer, changed: dict[str, Any], asked: bool
) -> None:
    service = await serve(access_keys=issuer.jwks, **changed)
    async with grpc_client(service) as client, rest_client(service) as rest:
        expected = StatusCode.UNAUTHENTICATED if asked else StatusCode.OK
        assert await code_of(client.infer(request())) == expected
        assert (await infer_over_rest(rest)).status_code == (401 if asked else 200)


async def test_tokens_without_keys_to_check_them_are_refused_at_the_start(
    settings: InferenceSettings,
) -> None:
    with pytest.raises(Rejected, match="ACCESS_KEYS"):
        async with serving(settings.model_copy(update={"client_tokens": "always"})):
            pass


# --- quotas


@BOTH_FRONTS
async def test_a_client_over_its_rate_is_told_when_to_ask_again(serve: Serve) -> None:
    service = await serve(client_requests_per_s=0.5, client_burst=2)
    async with grpc_client(service) as client, rest_client(service) as rest:
        await client.infer(request())
        assert (await infer_over_rest(rest)).status_code == 200
        with pytest.raises(grpc.RpcError) as caught:
            await client.infer(request())
        assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(cast("Iterable[tuple[str, str]]", caught.value.trailing_metadata()))
        assert 0 < int(trailing["grpc-retry-pushback-ms"]) <= 2000
        answer = await infer_over_rest(rest)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) in (1, 2)


@BOTH_FRONTS
async def test_each_request_of_a_stream_counts(serve: Serve) -> None:
    service = await serve(client_requests_per_s=0.001, client_burst=3)
    async with grpc_client(service) as client:
        answers = await client.stream([request() for _ in range(4)])
    refused = [answer.error_message for answer in answers if answer.error_message]
    assert len(answers) == 4
    assert len(refused) == 2  # the stream itself was one of the three
    assert all("times a second" in reason for reason in refused)


async def test_one_clients_haste_leaves_another_alone(serve: Serve, issuer: Issuer) -> None:
    service = await serve(
        access_keys=issuer.jwks,
        client_tokens="always",
        client_requests_per_s=0.001,
        client_burst=1,
    )
    for name in ("ann", "bob"):
        async with grpc_client(service, token=issuer.token("predict:*", name=name)) as client:
            assert await code_of(client.infer(request())) == StatusCode.OK
            assert await code_of(client.infer(request())) == StatusCode.RESOURCE_EXHAUSTED


# --- messages


@BOTH_FRONTS
async def test_a_message_that_explodes_when_decompressed_is_refused(serve: Serve) -> None:
    """Whichever front decompresses it: up to the limit, no further."""
    service = await serve(message_max_bytes=1024**2)
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    address = f"127.0.0.1:{service.fronts.grpc.port}"
    with grpc.insecure_channel(address, options, grpc.Compression.Gzip) as channel:
        ask = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        with pytest.raises(grpc.RpcError) as caught:  # 64 KB on the way, 64 MB there
            await asyncio.to_thread(ask, bytes(64 * 1024**2), timeout=20)
    assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
    assert "decompressed" in (caught.value.details() or "").lower()
    async with grpc_client(service) as client:
        assert (await client.infer(request())).model_name == "colours"
