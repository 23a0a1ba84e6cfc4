"""Files of TLS: what cannot work is refused at the start, what changes is taken while it runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog.testing

from loopline.errors import Rejected
from services.inference.adapters.fronts import tls
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.certificates import Authority, Issued
from tests.unit.inference.conftest import BOTH_FRONTS
from tests.unit.inference.test_safety import (
    Serve,
    code_of,
    grpc_client,
    infer_over_rest,
    request,
    rest_client,
    serving,
    trusting,
)

StatusCode = grpc.StatusCode


@pytest.fixture
async def serve(settings: InferenceSettings) -> AsyncIterator[Serve]:
    """Start services with other settings."""
    async with AsyncExitStack() as stack:

        async def start(**changed: Any) -> Inference:
            return await stack.enter_async_context(serving(settings.model_copy(update=changed)))

        yield start


@BOTH_FRONTS
async def test_a_new_certificate_is_taken_without_a_restart(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.02)
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    first, second = old.issue("first"), new.issue("second")
    service = await serve(tls_certificate=first.certificate, tls_key=first.key)
    for source, target in ((second.certificate, first.certificate), (second.key, first.key)):
        shutil.copyfile(source, target)
        os.utime(target, (1, 1))
    credentials = grpc.ssl_channel_credentials(new.file.read_bytes())
    async with asyncio.timeout(10):
        while not await is_trusted(service, trusting(new)):
            await asyncio.sleep(0.02)
        while await answered(service, credentials) is not StatusCode.OK:
            await asyncio.sleep(0.02)
    assert not await is_trusted(service, trusting(old))


async def answered(service: Inference, credentials: grpc.ChannelCredentials) -> StatusCode:
    async with grpc_client(service, credentials) as client:
        return await code_of(client.infer(request()))


async def test_a_new_certificate_without_its_key_leaves_the_old_one(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.02)
    authority = Authority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    service = await serve(tls_certificate=first.certificate, tls_key=first.key)
    with structlog.testing.capture_logs() as logs:
        shutil.copyfile(second.certificate, first.certificate)
        async with asyncio.timeout(10):
            while not any(log["event"] == "certificate_unreadable" for log in logs):
                await asyncio.sleep(0.02)
    assert await is_trusted(service, trusting(authority))


@BOTH_FRONTS
async def test_a_new_authority_of_clients_is_taken_and_the_old_one_forgotten(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.02)
    authority, old, new = (Authority(tmp_path, name) for name in ("own", "old", "new"))
    server, first, second = authority.issue("server"), old.issue("first"), new.issue("second")
    service = await serve(
        tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=old.file
    )

    async def taken(client_files: Issued) -> tuple[bool, bool]:
        ca = authority.file.read_bytes()
        credentials = grpc.ssl_channel_credentials(
            ca, client_files.key.read_bytes(), client_files.certificate.read_bytes()
        )
        async with grpc_client(service, credentials) as client:
            over_grpc = await code_of(client.infer(request())) == StatusCode.OK
        context = trusting(authority)
        context.load_cert_chain(client_files.certificate, client_files.key)
        async with rest_client(service, context) as client:
            try:
                return over_grpc, (await infer_over_rest(client)).status_code == 200
            except httpx.TransportError:
                return over_grpc, False

    assert (await taken(first), await taken(second)) == ((True, True), (False, False))
    old.file.write_bytes(new.file.read_bytes())
    async with asyncio.timeout(20):
        while await taken(second) != (True, True):
            await asyncio.sleep(0.02)
    assert await taken(first) == (False, False)


async def is_trusted(service: Inference, verify: ssl.SSLContext) -> bool:
    """Tell whether a client with these authorities gets an answer over HTTP."""
    async with rest_client(service, verify) as client:
        try:
            return (await infer_over_rest(client)).status_code == 200
        except httpx.ConnectError:
            return False


async def test_tls_that_cannot_work_is_refused_at_the_start(
    settings: InferenceSettings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    one, two = authority.issue("one"), authority.issue("two")
    for changed in (
        {"tls_certificate": one.certificate},
        {"tls_certificate": one.certificate, "tls_key": two.key},
        {"tls_certificate": one.certificate, "tls_key": tmp_path / "nothing"},
        {"tls_client_ca": authority.file},
    ):
        with pytest.raises(Rejected, match="TLS"):
            async with serving(settings.model_copy(update=changed)):
                pass
