"""Canary and shadow: who answers, who is asked besides, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from loopline.contracts import ArtefactRef, Rollout, catalog
from loopline.contracts.oip.v2 import service_pb2
from loopline.errors import Transient
from loopline.testing.memory import MemoryBus
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias, solid
from services.inference.adapters.models.rollouts import report
from services.inference.adapters.models.servable import Servable
from services.inference.domain.model import ModelVersion, VersionKey
from services.inference.domain.rollout import agrees, place_of
from services.inference.service import Inference
from tests.unit.inference.conftest import Client

V2 = VersionKey("colours", 2)
CLASSES = ("red", "green", "blue")
SWAPPED = ("green", "red", "blue")


async def two_versions(
    service: Inference, canary: float = 0.0, shadow: float = 0.0, classes: tuple[str, ...] = SWAPPED
) -> tuple[ArtefactRef, ArtefactRef]:
    """Return a champion, and a second version beside it."""
    first = await commit_model(service.log, service.objects, colour_classifier())
    onnx = colour_classifier(sharpness=-0.1 if classes == SWAPPED else 0.2)
    second = await commit_model(service.log, service.objects, onnx, classes=classes)
    await move_alias(service.log, first.ref)
    rollout = Rollout(candidate=second.ref, canary=canary, shadow=shadow)
    await move_alias(service.log, first.ref, rollout=rollout)
    await service.aliases.catch_up()
    return first.ref, second.ref


def request(key: str = "", version: str = "") -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="colours", model_version=version)
    message.inputs.add(name="image", datatype="UINT8", shape=[1, 8, 8, 3])
    message.raw_input_contents.append(solid("red").tobytes())
    if key:
        message.parameters["sticky_key"].string_param = key
    return message


async def versions(client: Client, requests: list[service_pb2.ModelInferRequest]) -> list[str]:
    answers = await asyncio.gather(*map(client.infer, requests))
    return [answer.model_version for answer in answers]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_share_of_the_keys_goes_to_the_canary_and_stays_there(
    client: Client, service: Inference
) -> None:
    await two_versions(service, canary=0.25)
    keys = [f"customer-{number}" for number in range(120)]
    answered = await versions(client, [request(key) for key in keys])
    assert 12 <= answered.count("2") <= 50
    assert await versions(client, [request(key) for key in keys]) == answered
    (followed,) = service.rollouts.active()
    assert followed.tally.figures()["canary"] == 2 * answered.count("2")


async def test_requests_without_a_key_are_drawn(client: Client, service: Inference) -> None:
    await two_versions(service, canary=0.5)
    answered = await versions(client, [request() for _ in range(60)])
    assert 10 <= answered.count("2") <= 50


async def test_who_names_a_version_gets_it(client: Client, service: Inference) -> None:
    await two_versions(service, canary=1.0)
    assert await versions(client, [request(version="1"), request(version="champion")]) == ["1", "2"]


async def test_the_alias_moved_back_ends_the_canary(client: Client, service: Inference) -> None:
    first, _ = await two_versions(service, canary=1.0)
    assert await versions(client, [request()]) == ["2"]
    await move_alias(service.log, first)
    await service.aliases.catch_up()
    assert await versions(client, [request()]) == ["1"]
    assert list(service.rollouts.active()) == []


async def test_a_canary_that_cannot_be_loaded_gets_nothing(
    client: Client, service: Inference
) -> None:
    first = await commit_model(service.log, service.objects, colour_classifier())
    broken = await commit_model(service.log, service.objects, b"no ONNX")
    await move_alias(service.log, first.ref, rollout=Rollout(candidate=broken.ref, canary=1.0))
    await service.aliases.catch_up()
    assert await versions(client, [request()]) == ["1"]


async def test_a_canary_that_made_room_comes_back_and_keeps_nobody_waiting(
    client: Client, service: Inference
) -> None:
    """The budget of these tests is two models."""
    await two_versions(service, canary=1.0)
    await commit_model(service.log, service.objects, colour_classifier(), name="others")
    assert await versions(client, [request(version="1")]) == ["1"]
    other = request(version="1")
    other.model_name = "others"
    await client.infer(other)
    assert [s.model.key.model for s in service.repository.loaded()] == ["colours", "others"]
    assert await versions(client, [request()]) == ["1"]
    (followed,) = service.rollouts.active()
    assert followed.tally.figures() == {"canary_missed": 1}
    await until(lambda: V2 in {s.model.key for s in service.repository.loaded()})
    assert await versions(client, [request()]) == ["2"]


@pytest.mark.parametrize(
    ("canary", "shadow"), [pytest.param(1, 0, id="canary"), pytest.param(0, 1, id="shadow")]
)
async def test_a_second_version_that_could_not_be_read_is_read_later(
    client: Client,
    service: Inference,
    monkeypatch: pytest.MonkeyPatch,
    canary: float,
    shadow: float,
) -> None:
    onnx = service.repository._source.onnx
    with monkeypatch.context() as patch:

        async def away(model: ModelVersion) -> bytes:
            if model.key == V2:
                raise Transient("the storage does not answer")
            return await onnx(model)

        patch.setattr(service.repository._source, "onnx", away)
        await two_versions(service, canary, shadow)
    assert V2 not in {s.model.key for s in service.repository.loaded()}
    assert await versions(client, [request()]) == ["1"]
    await until(lambda: V2 in {s.model.key for s in service.repository.loaded()})


async def test_a_second_version_that_is_missed_is_asked_for_once_in_a_while(
    client: Client, service: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await commit_model(service.log, service.objects, colour_classifier())
    broken = await commit_model(service.log, service.objects, b"no ONNX")
    await move_alias(service.log, first.ref, rollout=Rollout(candidate=broken.ref, canary=1.0))
    await service.aliases.catch_up()
    loads: list[VersionKey] = []
    load = service.repository.load

    async def counted(key: VersionKey, digest: str = "") -> Servable:
        loads.append(key)
        return await load(key, digest)

    monkeypatch.setattr(service.repository, "load", counted)
    assert await versions(client, [request() for _ in range(20)]) == ["1"] * 20
    await until(lambda: bool(loads))
    assert loads == [V2]


@pytest.mark.parametrize(
    ("classes", "agreed"),
    [pytest.param(CLASSES, 10, id="same"), pytest.param(SWAPPED, 0, id="not")],
)
async def test_a_shadow_is_compared_and_never_returned(
    client: Client, service: Inference, classes: tuple[str, ...], agreed: int
) -> None:
    await two_versions(service, shadow=1.0, classes=classes)
    for _ in range(10):
        assert await versions(client, [request()]) == ["1"]
    (followed,) = service.rollouts.active()
    await until(lambda: followed.tally.figures().get("shadow_compared") == 10)
    assert followed.tally.figures().get("shadow_agreed", 0) == agreed


async def test_a_shadow_with_enough_to_do_is_left_alone(client: Client, service: Inference) -> None:
    _, second = await two_versions(service, shadow=1.0)
    (shadow,) = [s for s in service.repository.loaded() if s.model.version == second.version]
    shadow.admission.enter(shadow.admission.capacity_images)
    assert await versions(client, [request()]) == ["1"]
    (followed,) = service.rollouts.active()
    assert followed.tally.figures() == {"shadow_dropped": 1}
    shadow.admission.leave(shadow.admission.capacity_images)


async def test_what_came_of_it_is_reported(
    client: Client, service: Inference, bus: MemoryBus
) -> None:
    first, second = await two_versions(service, shadow=1.0)
    await versions(client, [request()])
    (followed,) = service.rollouts.active()
    await until(lambda: followed.tally.figures().get("shadow_compared") == 1)
    await report(followed, service.bus, service.agent)
    (told,) = bus.sent(catalog.ROLLOUT_REPORTED)
    assert (told.model, told.alias) == ("colours", "champion")
    assert (told.target.digest, told.rollout.candidate.digest) == (first.digest, second.digest)
    assert told.counts["shadow_compared"] == 1


def test_a_share_that_grows_keeps_its_keys() -> None:
    places = [place_of(str(number), "m") for number in range(2_000)]
    assert all(0 <= place < 1 for place in places)
    assert 0.22 < sum(place < 0.25 for place in places) / 2_000 < 0.28


def test_detectors_agree_where_they_find_as_many_of_each_class() -> None:
    def outputs(scores: list[float], labels: list[int]) -> dict[str, np.ndarray]:
        return {"scores": np.array([scores]), "labels": np.array([labels])}

    ours = outputs([0.9, 0.8, 0.1], [0, 1, 1])
    assert agrees("detection", ours, outputs([0.5, 0.4, 0.2], [1, 0, 0]))
    assert not agrees("detection", ours, outputs([0.9, 0.2, 0.1], [0, 1, 1]))
