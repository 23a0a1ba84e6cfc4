"""Recording requests: what goes where, and that it is bounded."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from loopline.contracts import catalog
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import service_pb2
from loopline.digests import sha256_hex
from loopline.store.objects import Area
from loopline.testing.memory import MemoryBus
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias, solid
from services.inference.adapters.sampling import WAITING_MAX, SamplingPolicy
from services.inference.domain.tensors import join_raw_bytes
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.conftest import Client


@pytest.fixture
def settings(settings: InferenceSettings) -> InferenceSettings:
    return settings.model_copy(update={"sample_share": 1.0, "sample_per_minute": 1_000})


def picture(number: int) -> bytes:
    image = np.zeros((12, 20, 3), np.uint8)
    image[..., 2], image[0, 0, 0] = 200, number
    return bytes(cv2.imencode(".png", image)[1])


def images(*files: bytes) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="colours")
    request.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
    request.raw_input_contents.append(join_raw_bytes(files))
    return request


async def deploy(service: Inference) -> str:
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    return model.ref.digest


async def test_recorded_requests_are_told_with_their_images(
    client: Client, service: Inference, bus: MemoryBus
) -> None:
    digest = await deploy(service)
    await client.infer(images(picture(1), picture(2)))
    await service.sampler.flush()
    (event,) = bus.sent(catalog.REQUESTS_SAMPLED)
    assert (event.model.digest, event.task) == (digest, "classification")
    assert list(event.classes) == ["red", "green", "blue"]
    one, other = event.images
    assert [one.asset, other.asset] == [sha256_hex(picture(1)), sha256_hex(picture(2))]
    assert (one.width_px, one.height_px, one.media_type) == (20, 12, "image/png")
    assert one.shapes[0].class_name == "red"
    assert sum(one.scores) == pytest.approx(1)
    assert await service.objects.get(Area.ASSETS, one.asset) == picture(1)


async def test_pixels_are_not_recorded(client: Client, service: Inference, bus: MemoryBus) -> None:
    await deploy(service)
    request = service_pb2.ModelInferRequest(model_name="colours")
    request.inputs.add(name="image", datatype="UINT8", shape=[1, 8, 8, 3])
    request.raw_input_contents.append(solid("red").tobytes())
    await client.infer(request)
    await service.sampler.flush()
    assert bus.sent(catalog.REQUESTS_SAMPLED) == []


async def test_what_asks_not_to_be_recorded_is_not(
    client: Client, service: Inference, bus: MemoryBus
) -> None:
    await deploy(service)
    for unrecorded in (True, False):
        asked = predict_pb2.PredictRequest(
            model="colours", images=[picture(unrecorded)], unrecorded=unrecorded
        )
        assert (await client.predict(asked)).predictions[0].class_name == "red"
    await service.sampler.flush()
    (event,) = bus.sent(catalog.REQUESTS_SAMPLED)
    assert [image.asset for image in event.images] == [sha256_hex(picture(False))]


async def test_what_is_too_much_is_dropped_and_counted(
    client: Client, service: Inference, bus: MemoryBus
) -> None:
    await deploy(service)
    for start in range(0, WAITING_MAX + 8, 8):
        await client.infer(images(*(picture(start + number) for number in range(8))))
    assert service.sampler.dropped == 8
    await service.sampler.flush()
    events = bus.sent(catalog.REQUESTS_SAMPLED)
    assert sum(len(event.images) for event in events) == WAITING_MAX
    assert events[-1].dropped == 8


async def test_a_store_that_is_away_drops_and_goes_on(
    client: Client, service: Inference, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(service)
    await client.infer(images(picture(1)))

    async def away(*_: object) -> list[str]:
        from loopline.errors import Transient

        raise Transient("storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(service.objects, "put_many", away)
        await service.sampler.flush()
    assert service.sampler.dropped == 1
    await client.infer(images(picture(2)))
    await service.sampler.flush()
    assert len(bus.sent(catalog.REQUESTS_SAMPLED)) == 1


async def test_a_share_of_the_requests_is_recorded(service: Inference) -> None:
    sampler = service.sampler
    sampler._policy = SamplingPolicy(share=0.2)
    sampler._random = random.Random(1)
    assert 150 < sum(sampler.wants() for _ in range(1_000)) < 250
