"""Models come and go: by aliases, by need, within a budget, and never to a request's harm."""

from __future__ import annotations

import asyncio
import threading

import pytest

from loopline.clock import SystemClock
from loopline.contracts import ModelCommitted
from loopline.errors import Corrupt, NotFound, Rejected, Transient
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.objects import Area
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.servable import Servable
from services.inference.domain.admission import Retired
from services.inference.domain.model import AliasTarget, ModelVersion, VersionKey
from services.inference.domain.residency import Budget
from services.inference.service import Inference

V1, V2, V3 = (VersionKey("colours", version) for version in (1, 2, 3))


async def commit(service: Inference, version: int) -> Committed[ModelCommitted]:
    onnx = colour_classifier(sharpness=0.1 * version)
    return await commit_model(service.log, service.objects, onnx)


async def promote(service: Inference, model: Committed[ModelCommitted]) -> None:
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()


async def find(service: Inference, version: str = "") -> Servable:
    return await asyncio.to_thread(service.repository.find, "colours", version)


async def test_a_moved_alias_switches_what_answers_without_a_version(service: Inference) -> None:
    first, second = await commit(service, 1), await commit(service, 2)
    await promote(service, first)
    assert (await find(service)).model.digest == first.ref.digest
    await promote(service, second)
    assert (await find(service)).model.key == V2
    assert (await find(service, "1")).model.key == V1
    await promote(service, first)
    assert (await find(service)).model.key == V1


async def test_a_version_is_asked_for_by_any_alias(service: Inference) -> None:
    first, second = await commit(service, 1), await commit(service, 2)
    await promote(service, first)
    await move_alias(service.log, second.ref, "challenger")
    await service.aliases.catch_up()
    assert (await find(service, "challenger")).model.key == V2
    assert (await find(service, "champion")).model.key == V1


async def test_an_older_move_changes_nothing(service: Inference) -> None:
    first, second = await commit(service, 1), await commit(service, 2)
    repository = service.repository
    await repository.follow(AliasTarget("colours", "champion", V2, second.ref.digest, 20))
    await repository.follow(AliasTarget("colours", "champion", V1, first.ref.digest, 10))
    assert (await find(service)).model.key == V2


async def test_a_version_without_an_alias_loads_when_it_is_asked_for(service: Inference) -> None:
    await commit(service, 1)
    assert service.repository.loaded() == []
    assert (await find(service, "1")).model.key == V1
    with pytest.raises(NotFound, match="alias 'champion'"):
        await find(service)
    with pytest.raises(NotFound):
        await find(service, "2")


async def test_the_least_recently_used_version_makes_room(service: Inference) -> None:
    """The budget of these tests is two models."""
    first = await commit(service, 1)
    await commit(service, 2)
    await commit(service, 3)
    await promote(service, first)
    second = await find(service, "2")
    await find(service, "3")
    assert [s.model.key for s in service.repository.loaded()] == [V1, V3]
    with pytest.raises(Retired):
        second.admission.enter(1)
    assert (await find(service, "2")).model.key == V2


async def test_concurrent_requests_for_a_version_load_it_once(service: Inference) -> None:
    await commit(service, 1)
    found = await asyncio.gather(*(find(service, "1") for _ in range(8)))
    assert len({id(servable) for servable in found}) == 1


async def test_a_corrupt_file_is_not_served_and_the_old_version_stays(
    service: Inference, blobs: MemoryBlobs
) -> None:
    first, second = await commit(service, 1), await commit(service, 2)
    await promote(service, first)
    spoil(service, blobs, second)
    await promote(service, second)
    assert (await find(service)).model.key == V1
    with pytest.raises(
        Transient, match=r"colours@v2 cannot be served: .* does not hash to its name"
    ):
        await find(service, "2")
    with pytest.raises(Corrupt):
        await service.repository.load(V2)
    states = {entry.key: entry for entry in service.repository.index()}
    assert states[V1].state == "READY"
    assert states[V2].state == "UNAVAILABLE"
    assert "does not hash" in states[V2].reason


async def test_a_first_version_that_cannot_load_says_why(
    service: Inference, blobs: MemoryBlobs
) -> None:
    model = await commit(service, 1)
    spoil(service, blobs, model)
    await promote(service, model)
    with pytest.raises(Transient, match="the champion of colours, cannot be loaded"):
        await find(service)


async def test_a_version_of_another_digest_is_refused(service: Inference) -> None:
    await commit(service, 1)
    with pytest.raises(Rejected, match="has the digest"):
        await service.repository.load(V1, "0" * 64)


class FlakySource:
    """A source whose storage is away for the first reads; it keeps versions by number."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.reads = 0

    async def find(self, name: str, version: int = 0, digest: str = "") -> ModelVersion:
        classes = ("red", "green", "blue")
        return ModelVersion(name, version, "d" * 64, classes, 8, 8, 3, "area", "e" * 64, 10)

    async def onnx(self, model: ModelVersion) -> bytes:
        self.reads += 1
        if self.reads <= self.failures:
            raise Transient("the storage does not answer")
        return b""


async def test_an_alias_is_followed_once_the_storage_is_back(
    service: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.inference.adapters.models.repository.RETRY_S", (0.0,))
    source = FlakySource(failures=3)

    def build(model: ModelVersion, _: bytes) -> Servable:
        return service._servable(model, colour_classifier())

    repository = ModelRepository(source, build, Budget(), SystemClock())
    await repository.follow(AliasTarget("colours", "champion", V1, "d" * 64, 1))
    assert source.reads == 4
    assert repository.resolve("colours") == V1
    repository.close()


async def test_a_newer_move_overtakes_one_that_still_loads(service: Inference) -> None:
    entered, gate = threading.Event(), threading.Event()

    def build(model: ModelVersion, _: bytes) -> Servable:
        if model.key == V1:
            entered.set()
            assert gate.wait(20)
        return service._servable(model, colour_classifier())

    repository = ModelRepository(FlakySource(0), build, Budget(), SystemClock())
    slow = asyncio.create_task(
        repository.follow(AliasTarget("colours", "champion", V1, "d" * 64, 1))
    )
    assert await asyncio.to_thread(entered.wait, 20)
    with pytest.raises(Transient, match="colours@v1, the champion of colours, is being loaded"):
        repository.resolve("colours")
    assert [entry.state for entry in repository.index()] == ["LOADING"]
    await repository.follow(AliasTarget("colours", "champion", V2, "d" * 64, 2))
    gate.set()
    await slow
    assert repository.resolve("colours") == V2
    repository.close()


def spoil(service: Inference, blobs: MemoryBlobs, model: Committed[ModelCommitted]) -> None:
    """Flip a byte of a model's file."""
    key = service.objects.key(Area.MODELS, model.message.files[0].digest)
    data = bytearray(blobs.get(key))
    data[len(data) // 2] ^= 1
    blobs.put(key, bytes(data))
