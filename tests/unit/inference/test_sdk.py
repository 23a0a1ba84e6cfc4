"""The SDK's `predict` against a server with TLS and tokens, and one without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from pydantic import SecretStr

from loopline.client import inference
from loopline.client.settings import ClientSettings
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import Forbidden, NotFound, Rejected, Transient, Unauthenticated
from loopline.testing.onnx_models import solid
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.certificates import Authority
from tests.unit.inference.test_safety import Issuer, serving

PNG = bytes(cv2.imencode(".png", solid("green", 8))[1])


def asking(model: str = "colours") -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(model=model, images=[PNG])


def told(service: Inference, token: str = "", **given: Any) -> ClientSettings:
    return ClientSettings(
        inference_grpc=f"127.0.0.1:{service.fronts.grpc.port}",
        api_token=SecretStr(token),
        **given,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def guarded(
    settings: InferenceSettings, authority: Authority, issuer: Issuer
) -> AsyncIterator[Inference]:
    files = authority.issue("server")
    changed = {
        "tls_certificate": files.certificate,
        "tls_key": files.key,
        "tls_client_ca": authority.file,
        "access_keys": issuer.jwks,
        "client_tokens": "always",
    }
    async with serving(settings.model_copy(update=changed)) as service:
        yield service


async def test_it_asks_over_mutual_tls_with_a_token(
    guarded: Inference, authority: Authority, issuer: Issuer
) -> None:
    files = authority.issue("program")
    tls: dict[str, Any] = {
        "inference_tls": True,
        "inference_ca": authority.file,
        "inference_certificate": files.certificate,
        "inference_key": files.key,
    }
    good = told(guarded, issuer.token("predict:colours"), **tls)
    answer = await inference.predict(good, asking())
    assert answer.predictions[0].class_name == "green"
    with pytest.raises(Forbidden, match="predict:others"):
        await inference.predict(good, asking("others"))
    with pytest.raises(Unauthenticated, match="token"):
        await inference.predict(told(guarded, **tls), asking())
    without_certificate = {**tls, "inference_certificate": None, "inference_key": None}
    with pytest.raises(Transient):
        await inference.predict(told(guarded, **without_certificate), asking())


async def test_it_asks_without_tls_where_there_is_none(settings: InferenceSettings) -> None:
    async with serving(settings) as service:
        answer = await inference.predict(told(service, "the machine's own key"), asking())
        assert answer.predictions[0].class_name == "green"
        with pytest.raises(NotFound, match="nothing"):
            await inference.predict(told(service), asking("nothing"))


@pytest.mark.parametrize("host", ["models.example", "192.0.2.7", "[2001:db8::7]"])
async def test_a_token_does_not_go_over_the_network_in_plain_text(host: str) -> None:
    settings = ClientSettings(inference_grpc=f"{host}:8001", api_token=SecretStr("x"))
    with pytest.raises(Rejected, match="plain text"):
        await inference.predict(settings, asking())


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    settings = ClientSettings(
        inference_grpc="127.0.0.1:1", inference_tls=True, inference_ca=missing
    )
    with pytest.raises(Rejected, match=r"ca\.pem"):
        await inference.predict(settings, asking())
