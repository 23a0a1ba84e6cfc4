"""Applying a model to a dataset: only what is new is inferred, and it does not show how."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import orjson
import pytest

from loopline.contracts import (
    Actor,
    ApplyModel,
    ArtefactKind,
    ArtefactRef,
    CancelRun,
    DatasetCommitted,
    PredictionsCommitted,
    RunKind,
    RunState,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.errors import Cancelled, Corrupt, NotFound, Rejected
from loopline.store import runs
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction
from loopline.store.objects import Area
from loopline.store.trees import TreeStore
from loopline.testing.memory import MemoryBus, delivery, memory_service, pump
from loopline.testing.onnx_models import COLOURS, colour_classifier, commit_model
from services.inference.adapters.applications import ChunkResult
from services.inference.domain.application import ApplicationPlan
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

EVENT = catalog.PREDICTIONS_COMMITTED


def picture(number: int) -> bytes:
    """Return a PNG that differs from all others and is mostly of one colour."""
    image = np.zeros((12, 12, 3), np.uint8)
    image[..., 2 - number % 3] = 200
    image[0, :, :] = np.frombuffer(number.to_bytes(4, "big") * 9, np.uint8).reshape(12, 3)
    return bytes(cv2.imencode(".png", image)[1])


class World:
    """A dataset of pictures, a model, and a service to apply it."""

    def __init__(self, service: Inference, bus: MemoryBus) -> None:
        self.service = service
        self.bus = bus
        self.datasets = Datasets(service.log, service.objects)
        self.trees: TreeStore[Prediction] = TreeStore(service.objects, PREDICTIONS)

    async def add(self, numbers: Iterable[int], labeled: bool = False) -> ArtefactRef:
        files = {number: picture(number) for number in numbers}
        await self.service.objects.put_many(Area.ASSETS, list(files.values()))
        items = [
            Item(sha256_hex(data), "image/png", len(data), 12, 12, labeled=labeled)
            for data in files.values()
        ]
        return (await self.commit(items)).ref

    async def commit(self, items: Iterable[Item]) -> Committed[DatasetCommitted]:
        items = list(items)
        run = runs.new_run(
            RunKind.RUN_KIND_IMPORT, parameters={"assets": [item.asset for item in items]}
        )
        return await self.datasets.commit_changes("pictures", items, run=run, summary="added")

    async def model(self, sharpness: float = 0.1) -> ArtefactRef:
        onnx = colour_classifier(sharpness=sharpness)
        return (await commit_model(self.service.log, self.service.objects, onnx)).ref

    def command(self, model: ArtefactRef, dataset: ArtefactRef, where: str = "") -> ApplyModel:
        flow = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_FLOW, name="pictures", version=1, digest="f" * 64
        )
        actor = Actor(kind="flow", name="pictures")
        return ApplyModel(model=model, dataset=dataset, where=where, flow=flow, actor=actor)

    async def apply(
        self, model: ArtefactRef, dataset: ArtefactRef, where: str = ""
    ) -> Committed[PredictionsCommitted]:
        await self.service.bus.send(catalog.APPLY_MODEL, self.command(model, dataset, where))
        await pump(self.bus, self.service)
        (head,) = await self.service.log.heads(EVENT)
        return head

    async def rows(self, committed: Committed[PredictionsCommitted]) -> dict[str, Prediction]:
        tree = await self.trees.open(committed.message.tree.root_object)
        return {row.asset: row async for row in tree.rows()}


@pytest.fixture
def world(service: Inference, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("services.inference.adapters.applications.CHUNK_ITEMS", 8)
    return World(service, bus)


async def test_every_selected_item_is_predicted_once_and_committed_with_its_provenance(
    world: World,
) -> None:
    model, dataset = await world.model(), await world.add(range(30))
    committed = await world.apply(model, dataset)
    message = committed.message
    assert committed.ref.name == f"colours-{model.digest[:16]}"
    assert committed.ref.version == 1
    assert committed.ref.digest == message.tree.digest
    assert (message.selected, message.inferred, message.tree.count) == (30, 30, 30)
    assert (message.model.digest, message.dataset.digest) == (model.digest, dataset.digest)
    assert message.flow.name == "pictures"
    run = committed.commit.run
    assert {ref.role: ref.name for ref in run.inputs} == {
        "model": "colours",
        "dataset": "pictures",
        "flow": "pictures",
    }
    assert run.actor.name == "pictures"
    assert run.finished_at.ToDatetime() >= run.started_at.ToDatetime()
    assert run.figures["inferred"] == 30

    rows = await world.rows(committed)
    for number in range(30):
        row = rows[sha256_hex(picture(number))]
        assert row.shapes[0].class_name == COLOURS[number % 3]
        assert row.shapes[0].source == f"model:{model.digest}"
        assert row.shapes[0].confidence == max(row.scores)
        assert sum(row.scores) == pytest.approx(1)
    selection = await world.service.objects.get(Area.PLANS, message.selection_digest)
    assert orjson.loads(selection) == sorted(rows)


async def test_only_what_an_older_version_had_not_is_selected(world: World) -> None:
    model, older = await world.model(), await world.add(range(5))
    dataset = await world.add(range(5, 8))
    command = world.command(model, dataset)
    command.since.CopyFrom(older)
    await world.service.bus.send(catalog.APPLY_MODEL, command)
    await pump(world.bus, world.service)
    (head,) = await world.service.log.heads(EVENT)
    assert (head.message.selected, head.message.inferred) == (3, 3)
    assert set(await world.rows(head)) == {sha256_hex(picture(number)) for number in range(5, 8)}


async def test_a_cancelled_application_stops_and_says_so(world: World) -> None:
    model, dataset = await world.model(), await world.add(range(30))
    command = world.command(model, dataset)
    run_id = (await world.service.applications.resolve(command)).run_id
    cancel = CancelRun(run_id=run_id, reason="the wrong model")
    await world.service.bus.send(catalog.APPLY_MODEL, command)
    chunk = world.service.applications.predict

    async def cancelled_meanwhile(plan: ApplicationPlan, index: int) -> ChunkResult:
        if index == 1:
            await world.service.bus.send(catalog.CANCEL_RUN, cancel, run_id=run_id)
        return await chunk(plan, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.service.applications, "predict", cancelled_meanwhile)
        with pytest.raises(Cancelled, match="the wrong model"):
            await pump(world.bus, world.service)
    assert await world.service.log.heads(EVENT) == []
    last = world.bus.sent(catalog.RUN_CHANGED)[-1]
    assert (last.run_id, last.state) == (run_id, RunState.RUN_STATE_CANCELLED)


async def test_one_more_image_infers_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are in the head's tree are not inferred again."""
    model, dataset = await world.model(), await world.add(range(30))
    await world.apply(model, dataset)
    inferred: list[int] = []
    predict = world.service.applications._bulk.predict

    async def counting(servable: object, assets: list[str]) -> object:
        inferred.append(len(assets))
        return await predict(servable, assets)  # type: ignore[arg-type]

    monkeypatch.setattr(world.service.applications._bulk, "predict", counting)
    committed = await world.apply(model, await world.add([30]))
    assert inferred == [1]
    message = committed.message
    assert (message.selected, message.inferred, message.tree.count) == (31, 1, 31)


async def test_a_new_selection_is_committed_even_if_all_of_it_was_predicted(world: World) -> None:
    model, dataset = await world.model(), await world.add(range(6))
    first = await world.apply(model, dataset)
    second = await world.apply(model, dataset, "item.width_px == 12")
    assert second.ref.version == 2
    assert second.ref.digest == first.ref.digest
    assert (second.message.selected, second.message.inferred) == (6, 0)


async def test_the_same_command_again_changes_nothing(world: World) -> None:
    model, dataset = await world.model(), await world.add(range(6))
    first = await world.apply(model, dataset)
    chunks = len(world.bus.sent(catalog.PREDICT_CHUNK))
    again = await world.apply(model, dataset)
    assert again.sequence == first.sequence
    assert len(world.bus.sent(catalog.PREDICT_CHUNK)) == chunks
    last = world.bus.sent(catalog.RUN_CHANGED)[-1]
    assert last.state == RunState.RUN_STATE_COMPLETED
    assert last.artefact.digest == first.ref.digest


async def test_only_what_is_selected_is_predicted(world: World) -> None:
    model = await world.model()
    await world.add(range(5), labeled=True)
    dataset = await world.add(range(5, 12))
    committed = await world.apply(model, dataset, "!item.labeled")
    assert set(await world.rows(committed)) == {sha256_hex(picture(n)) for n in range(5, 12)}


async def test_nothing_selected_is_a_commit_of_nothing(world: World) -> None:
    model, dataset = await world.model(), await world.add(range(3), labeled=True)
    committed = await world.apply(model, dataset, "!item.labeled")
    assert (committed.message.selected, committed.message.tree.count) == (0, 0)


async def test_how_the_work_was_cut_up_does_not_show_in_the_predictions(
    world: World, bus: MemoryBus, settings: InferenceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dataset = await world.model(0.01), await world.add(range(19))
    together = await world.apply(model, dataset)

    apart_bus = MemoryBus()
    other = memory_service(Inference, settings, apart_bus, MemoryBlobs())
    await other.start()
    apart = World(other, apart_bus)
    monkeypatch.setattr("services.inference.adapters.applications.CHUNK_ITEMS", 3)
    same_model = await apart.model(0.01)
    for numbers in (range(7), range(7, 8), range(8, 19)):
        last = await apart.apply(same_model, await apart.add(numbers))
    assert last.message.tree.digest == together.message.tree.digest
    await other.stop()
    other.objects.close()


async def test_a_chunk_that_is_delivered_twice_is_inferred_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dataset = await world.model(), await world.add(range(3))
    await world.apply(model, dataset)
    (chunk,) = world.bus.sent(catalog.PREDICT_CHUNK)

    async def never(*_: object) -> None:
        raise AssertionError("inferred again")

    monkeypatch.setattr(world.service.applications, "predict", never)
    await world.service.on_predict_chunk(chunk, delivery(attempt=2))
    await pump(world.bus, world.service)
    assert len(await world.service.log.history(EVENT)) == 1


async def test_a_command_planned_again_after_another_commit_does_not_mix_its_chunks(
    world: World,
) -> None:
    """The second plan lists fewer images; the first one's chunks must not be taken for its own."""
    model, dataset = await world.model(), await world.add(range(20))
    command = world.command(model, dataset)
    await world.service.on_apply_model(command, delivery())
    await world.apply(model, dataset, "item.asset < '8'")
    await world.service.on_apply_model(command, delivery(attempt=2))
    await pump(world.bus, world.service)
    history = await world.service.log.history(EVENT)
    assert history[-1].message.tree.count == 20
    assert len({one.commit.run.id for one in history}) == len(history) == 2


async def test_images_that_cannot_be_predicted_are_reported_and_the_others_go_on(
    world: World, blobs: MemoryBlobs
) -> None:
    model, objects = await world.model(), world.service.objects
    dataset = await world.add(range(6))
    gone, broken = sha256_hex(picture(1)), sha256_hex(picture(2))
    await objects.delete(Area.ASSETS, gone)
    blobs.put(objects.key(Area.ASSETS, broken), b"not what it was")
    committed = await world.apply(model, dataset)
    assert (committed.message.inferred, committed.message.tree.count) == (4, 4)
    (report,) = committed.commit.run.outputs
    assert report.role == "drop_report"
    dropped = orjson.loads(await objects.get(Area.REPORTS, report.digest))
    assert {entry["asset"] for entry in dropped} == {gone, broken}
    assert all(entry["reason"] for entry in dropped)


async def test_an_application_names_exactly_one_model_version(world: World) -> None:
    first = await world.model(0.1)
    second = await world.model(0.2)
    dataset = await world.add(range(3))
    await world.apply(first, dataset)
    heads = {h.ref.name for h in await world.service.log.heads(EVENT)}
    assert heads == {f"colours-{first.digest[:16]}"}
    await world.service.on_apply_model(world.command(second, dataset), delivery(2))
    await pump(world.bus, world.service)
    heads = {h.ref.name for h in await world.service.log.heads(EVENT)}
    assert heads == {f"colours-{digest[:16]}" for digest in (first.digest, second.digest)}


async def test_a_corrupt_model_fails_the_run_and_says_so(world: World, blobs: MemoryBlobs) -> None:
    model, dataset = await world.model(), await world.add(range(3))
    (committed,) = await world.service.log.heads(catalog.MODEL_COMMITTED)
    key = world.service.objects.key(Area.MODELS, committed.message.files[0].digest)
    blobs.put(key, b"other bytes")
    await world.service.on_apply_model(world.command(model, dataset), delivery())
    (chunk,) = world.bus.sent(catalog.PREDICT_CHUNK)
    with pytest.raises(Corrupt):
        await world.service.on_predict_chunk(chunk, delivery())
    last = world.bus.sent(catalog.RUN_CHANGED)[-1]
    assert last.state == RunState.RUN_STATE_FAILED
    assert "does not hash" in last.message


@pytest.mark.parametrize("where", ["item.colour == 'red'", "item.labeled ==", "item.width_px"])
async def test_a_rule_that_cannot_be_evaluated_is_rejected(world: World, where: str) -> None:
    model, dataset = await world.model(), await world.add(range(2))
    with pytest.raises(Rejected):
        await world.service.on_apply_model(world.command(model, dataset, where), delivery())
    assert not world.bus.sent(catalog.PREDICT_CHUNK)


async def test_what_is_not_there_is_rejected_by_name(world: World) -> None:
    model, dataset = await world.model(), await world.add(range(1))
    with pytest.raises(NotFound, match="nothing"):
        await world.service.on_apply_model(
            world.command(ArtefactRef(name="nothing"), dataset), delivery()
        )
    with pytest.raises(NotFound, match="nowhere"):
        await world.service.on_apply_model(
            world.command(model, ArtefactRef(name="nowhere")), delivery()
        )


async def test_progress_ends_at_the_number_of_images(world: World) -> None:
    await world.apply(await world.model(), await world.add(range(20)))
    reports = world.bus.sent(catalog.RUN_CHANGED)
    assert [(r.done, r.total) for r in reports] == [(0, 20), (8, 20), (16, 20), (20, 20), (20, 20)]
    assert len({report.run_id for report in reports}) == 1
