"""Routing through the service: what is written where, whatever is repeated or killed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from loopline.contracts import (
    ArtefactKind,
    PredictionsCommitted,
    RouteChunk,
    RunState,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.errors import Rejected, Transient
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.objects import Area
from loopline.testing import flywheel
from loopline.testing.memory import MemoryBus, MemoryLog, delivery
from services.router.domain import plan as plan_module

if TYPE_CHECKING:
    from tests.unit.router.conftest import World

FLOW = """
flow: catalogue
datasets: [catalogue]
route:
  - name: confident
    when: "prediction.confidence >= 0.9"
    deliver: {connection: customer, bucket: results, prefix: out/}
  - name: uncertain
    when: "prediction.confidence >= 0.5"
    relabel: {job: relabel, limit: 2, instructions: Look, webhook_url: "http://127.0.0.1:9/"}
"""
CONFIDENCES = (0.95, 0.4, 0.6, 0.99, 0.55, 0.7, 0.91)


async def _predict(
    world: World, weights: str = "a", confidences: Sequence[float] = CONFIDENCES, flow: str = FLOW
) -> Committed[PredictionsCommitted]:
    """Commit a flow, a dataset, a model and its predictions."""
    committed = await world.wheel.flow(flow)
    items = [flywheel.item(i) for i in range(len(confidences))]
    dataset = await world.wheel.dataset("catalogue", items)
    model = await world.wheel.model("catalogue", weights, {})
    rows = [flywheel.prediction(i, c) for i, c in enumerate(confidences)]
    return await world.wheel.predictions(model, dataset, rows, flow=committed.ref)


def _assets(*numbers: int) -> set[str]:
    return {flywheel.asset(number) for number in numbers}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.adapters.planning.CHUNK_ITEMS", 3)
    assert plan_module.CHUNK_ITEMS == 256


async def test_confident_results_are_delivered_and_uncertain_ones_labeled(world: World) -> None:
    world.settings.make_bucket("results")
    predictions = await _predict(world)
    await world.settle()
    delivered = await world.delivered("catalogue")
    assert set(delivered) == _assets(0, 3, 6)
    await world.check_bucket("catalogue")
    head = await world.delivery("catalogue")
    counts = (head.message.delivered, head.message.relabeled, head.message.unrouted)
    assert counts == (3, 2, 2)
    assert head.commit.summary.startswith(
        "3 delivered, 2 to label, 2 unrouted (1 over a job's limit)"
    )
    assert (head.message.destination.bucket, head.message.destination.prefix) == ("results", "out/")
    model = predictions.message.model.digest
    assert {(row.model, row.predictions) for row in delivered.values()} == {
        (model, predictions.message.tree.digest)
    }


async def test_delivered_object_names_its_whole_origin(world: World) -> None:
    world.settings.make_bucket("results")
    predictions = await _predict(world)
    await world.settle()
    document = json.loads(world.bucket()[f"out/{flywheel.asset(3)}.json"])
    head = await world.delivery("catalogue")
    found = document["loopline"]
    assert found["run"] == head.commit.run.id
    assert found["asset"] == flywheel.asset(3)
    assert found["model_digest"] == predictions.message.model.digest
    assert found["dataset_digest"] == predictions.message.dataset.digest
    assert found["predictions"] == predictions.message.tree.digest
    assert found["flow_version"] == 1
    assert document["image"]["uri"] == "s3://customer/photos/0003.png"
    assert document["confidence"] == 0.99


async def test_manifest_lists_every_object_with_its_digest(world: World) -> None:
    world.settings.make_bucket("results")
    await _predict(world)
    await world.settle()
    bucket = world.bucket()
    manifest = json.loads(bucket.pop("out/manifest.json"))
    assert {entry["key"]: entry["sha256"] for entry in manifest["objects"]} == {
        key: sha256_hex(data) for key, data in bucket.items()
    }
    head = await world.delivery("catalogue")
    assert manifest["loopline"]["delivery_digest"] == head.message.tree.digest


async def test_labeling_job_has_the_least_confident_in_order(world: World) -> None:
    world.settings.make_bucket("results")
    predictions = await _predict(world)
    await world.settle()
    [command] = world.bus.sent(catalog.OPEN_LABELING_JOB)
    head = await world.delivery("catalogue")
    assert command.job == f"relabel-{head.commit.run.id[:8]}"
    items = json.loads(await world.router.objects.get(Area.PLANS, command.items_digest))
    assert items == [flywheel.asset(4), flywheel.asset(2)]
    assert command.items_count == 2
    assert command.dataset == predictions.message.dataset
    assert command.predictions == predictions.ref
    assert command.predictions_tree == predictions.message.tree
    assert (command.instructions, command.webhook_url) == ("Look", "http://127.0.0.1:9/")
    assert list(command.classes) == list(flywheel.CLASSES)
    assert command.flow == predictions.message.flow


async def test_run_names_everything_it_read_and_its_report(world: World) -> None:
    world.settings.make_bucket("results")
    await _predict(world)
    await world.settle()
    run = (await world.delivery("catalogue")).commit.run
    assert {ref.role for ref in run.inputs} == {"predictions", "model", "dataset", "flow"}
    assert (run.actor.kind, run.actor.name) == ("flow", "catalogue")
    [output] = run.outputs
    assert output.kind == ArtefactKind.ARTEFACT_KIND_REPORT
    report = json.loads(await world.router.objects.get(Area.REPORTS, output.digest))
    assert report["unrouted_reasons"] == {"no rule holds": 1}
    assert run.figures["selected"] == 7


async def test_progress_is_told(world: World) -> None:
    world.settings.make_bucket("results")
    await _predict(world)
    await world.settle()
    reports = world.bus.sent(catalog.RUN_CHANGED)
    assert [r.state for r in reports] == [
        RunState.RUN_STATE_QUEUED,
        *[RunState.RUN_STATE_RUNNING] * 3,
        RunState.RUN_STATE_COMPLETED,
    ]
    assert (reports[-1].done, reports[-1].total, reports[-1].unit) == (7, 7, "predictions")
    assert reports[-1].artefact == (await world.delivery("catalogue")).ref


async def test_only_the_selection_is_routed(world: World) -> None:
    world.settings.make_bucket("results")
    flow = await world.wheel.flow(FLOW)
    dataset = await world.wheel.dataset("catalogue", [flywheel.item(i) for i in range(3)])
    model = await world.wheel.model("catalogue", "a", {})
    rows = [flywheel.prediction(i, 0.99) for i in range(3)]
    await world.wheel.predictions(
        model, dataset, rows, flow=flow.ref, selection=[flywheel.asset(1)]
    )
    await world.settle()
    assert set(await world.delivered("catalogue")) == _assets(1)


async def test_predictions_that_no_flow_asked_for_are_not_routed(world: World) -> None:
    dataset = await world.wheel.dataset("catalogue", [flywheel.item(1)])
    model = await world.wheel.model("catalogue", "a", {})
    await world.wheel.flow(FLOW)
    await world.wheel.predictions(model, dataset, [flywheel.prediction(1, 0.99)])
    await world.settle()
    assert world.bus.sent(catalog.ROUTE_CHUNK) == []


async def test_empty_selection_is_committed_too(world: World) -> None:
    """So that the run is on record, and not planned again."""
    world.settings.make_bucket("results")
    await _predict(world, confidences=())
    await world.settle()
    head = await world.delivery("catalogue")
    assert (head.message.delivered, head.message.tree.count) == (0, 0)
    assert world.bus.sent(catalog.OPEN_LABELING_JOB) == []


async def test_flow_that_only_relabels_needs_no_bucket(world: World) -> None:
    deliver = "deliver: {connection: customer, bucket: results, prefix: out/}"
    await _predict(world, flow=FLOW.replace(deliver, "relabel: {job: check}"))
    await world.settle()
    head = await world.delivery("catalogue")
    assert not head.message.HasField("destination")
    assert (head.message.delivered, head.message.relabeled) == (0, 5)
    assert len(world.bus.sent(catalog.OPEN_LABELING_JOB)) == 2


async def test_second_model_replaces_what_it_delivers_and_keeps_the_rest(world: World) -> None:
    world.settings.make_bucket("results")
    await _predict(world, "a", (0.95, 0.95, 0.2))
    await world.settle()
    before = await world.delivered("catalogue")
    await _predict(world, "b", (0.99, 0.2, 0.97))
    await world.settle()
    after = await world.delivered("catalogue")
    assert set(after) == _assets(0, 1, 2)
    assert after[flywheel.asset(1)] == before[flywheel.asset(1)]
    assert after[flywheel.asset(0)] != before[flywheel.asset(0)]
    await world.check_bucket("catalogue")
    assert (await world.delivery("catalogue")).ref.version == 2


async def test_another_destination_begins_an_empty_delivery(world: World) -> None:
    for bucket in ("results", "elsewhere"):
        world.settings.make_bucket(bucket)
    await _predict(world, "a", (0.95, 0.95))
    await world.settle()
    await _predict(world, "b", (0.2, 0.95), FLOW.replace("bucket: results", "bucket: elsewhere"))
    await world.settle()
    assert set(await world.delivered("catalogue")) == _assets(1)
    await world.check_bucket("catalogue", "elsewhere")


async def test_two_flows_do_not_deliver_to_one_place(world: World) -> None:
    world.settings.make_bucket("results")
    await _predict(world)
    await world.settle()
    other = await _predict(world, "b", flow=FLOW.replace("flow: catalogue", "flow: other"))
    with pytest.raises(Rejected, match="the flow 'catalogue' delivers to results/out/ already"):
        await world.router.on_predictions_committed(other.message, delivery(other.sequence))


class TestRepetition:
    async def test_every_message_twice_changes_nothing(self, world: World) -> None:
        world.settings.make_bucket("results")
        await _predict(world)
        await world.settle()
        before = await _state(world)
        await world.settle()
        assert await _state(world) == before

    async def test_join_that_comes_late_leaves_the_newer_manifest(self, world: World) -> None:
        world.settings.make_bucket("results")
        await _predict(world, "a", (0.95, 0.2))
        await world.settle()
        [join] = world.bus.sent(catalog.JOIN_ROUTING)
        await _predict(world, "b", (0.2, 0.95))
        await world.settle()
        before = await _state(world)
        await world.router.on_join_routing(join, delivery(attempt=2))
        assert await _state(world) == before

    async def test_router_killed_at_any_write_ends_in_the_same_state(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every write, of objects, messages and commits, is the last one once."""
        world.settings.make_bucket("results")
        await _predict(world)
        await world.settle()
        expected = await _state(world)
        for step in range(1, 200):
            other = type(world)(world.tmp_path)
            await other.router.start()
            other.settings.make_bucket("results")
            await _predict(other)
            killed = await _killed_at(other, step, monkeypatch)
            await other.settle()
            assert await _state(other) == expected, f"killed at write {step}"
            await other.router.stop()
            other.router.objects.close()
            if not killed:
                break
        assert 10 < step < 199

    async def test_chunk_that_is_done_is_not_routed_again(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.settings.make_bucket("results")
        await _predict(world)
        await world.settle()
        chunk = world.bus.sent(catalog.ROUTE_CHUNK)[0]
        monkeypatch.setattr(world.router.runs, "route", None)  # calling it would raise
        await world.router.on_route_chunk(chunk, delivery(attempt=2))


class TestOverlap:
    async def test_runs_that_overlap_leave_the_bucket_as_the_tree_says(self, world: World) -> None:
        """Both wrote the same keys before either committed."""
        world.settings.make_bucket("results")
        await _predict(world, "a", (0.95, 0.95, 0.2))
        await _predict(world, "b", (0.96, 0.2, 0.96))
        await _plan(world)
        chunks = world.bus.sent(catalog.ROUTE_CHUNK)
        assert len({chunk.run_id for chunk in chunks}) == 2
        for chunk in chunks:
            await world.router.on_route_chunk(chunk, delivery())
        for join in world.bus.sent(catalog.JOIN_ROUTING):
            await world.router.on_join_routing(join, delivery())
            overlapped = await world.delivered("catalogue")
        await world.check_bucket("catalogue")
        assert len({row.model for row in overlapped.values()}) == 2

    @pytest.mark.parametrize("first", [0, 1])
    async def test_the_last_to_commit_has_written_last(self, world: World, first: int) -> None:
        world.settings.make_bucket("results")
        await _predict(world, "a", (0.95,))
        await _predict(world, "b", (0.96,))
        await _plan(world)
        chunks = world.bus.sent(catalog.ROUTE_CHUNK)
        await world.router.on_route_chunk(chunks[1 - first], delivery())
        await world.router.on_route_chunk(chunks[first], delivery())
        joins = {join.run_id: join for join in world.bus.sent(catalog.JOIN_ROUTING)}
        await world.router.on_join_routing(joins[chunks[first].run_id], delivery())
        await world.router.on_join_routing(joins[chunks[1 - first].run_id], delivery())
        await world.check_bucket("catalogue")
        last = (await world.delivery("catalogue")).commit.run.id
        [key] = [key for key in world.bucket() if "manifest" not in key]
        assert json.loads(world.bucket()[key])["loopline"]["run"] == last
        assert json.loads(world.bucket()["out/manifest.json"])["loopline"]["run"] == last


class TestCustomersBucket:
    async def test_missing_bucket_is_told_and_tried_again(self, world: World) -> None:
        await _predict(world)
        await _plan(world)
        chunks = world.bus.sent(catalog.ROUTE_CHUNK)
        reason = "cannot deliver to 'results' through the connection 'customer': there is no bucket"
        with pytest.raises(Transient, match=reason):
            await world.router.on_route_chunk(chunks[0], delivery(attempt=1))
        report = world.bus.sent(catalog.RUN_CHANGED)[-1]
        assert report.state == RunState.RUN_STATE_RUNNING
        assert reason in report.message
        world.settings.make_bucket("results")
        await world.settle()
        await world.check_bucket("catalogue")

    async def test_chunks_that_deliver_nothing_go_on(self, world: World) -> None:
        await _predict(world, confidences=(0.1,) * 9)
        await _plan(world)
        for chunk in world.bus.sent(catalog.ROUTE_CHUNK):
            await world.router.on_route_chunk(chunk, delivery())

    async def test_last_attempt_says_that_the_run_failed(self, world: World) -> None:
        await _predict(world, confidences=(0.99,))
        await _plan(world)
        [chunk] = world.bus.sent(catalog.ROUTE_CHUNK)
        with pytest.raises(Transient):
            await world.router.on_route_chunk(chunk, delivery(attempt=8))
        assert world.bus.sent(catalog.RUN_CHANGED)[-1].state == RunState.RUN_STATE_FAILED

    async def test_plan_that_is_not_there_is_rejected(self, world: World) -> None:
        with pytest.raises(Rejected, match="there is no object"):
            await world.router.on_route_chunk(RouteChunk(plan_digest="1" * 64), delivery())


async def _plan(world: World) -> None:
    """Hand the predictions to the router, and nothing of what follows."""
    for found in await world.router.log.heads(catalog.PREDICTIONS_COMMITTED):
        await world.router.on_predictions_committed(found.message, delivery(found.sequence))


async def _state(world: World) -> dict[str, object]:
    """Return everything that a customer, a labeler or the log can see."""
    history = await world.router.log.history(catalog.DELIVERY_COMMITTED, name="catalogue")
    return {
        "bucket": world.bucket(),
        "deliveries": [(found.ref.digest, found.commit.run.id) for found in history],
        "jobs": [job.SerializeToString() for job in world.bus.sent(catalog.OPEN_LABELING_JOB)],
        "chunks": sorted(done.result_digest for done in world.bus.sent(catalog.CHUNK_COMPLETED)),
    }


class Killed(BaseException):
    """The process ends here."""


async def _killed_at(world: World, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the router until its write number `step`, which is done but not answered."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    def counted(write: Callable[..., None]) -> Callable[..., None]:
        def put(*args: object) -> None:
            write(*args)
            count()

        return put

    def awaited(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def put(*args: object) -> Any:
            result = await write(*args)
            count()
            return result

        return put

    with monkeypatch.context() as patch:
        patch.setattr(MemoryBus, "publish", awaited(MemoryBus.publish))
        patch.setattr(MemoryLog, "append", awaited(MemoryLog.append))
        patch.setattr(MemoryBlobs, "put", counted(MemoryBlobs.put))
        try:
            await world.settle()
        except Killed:
            return True
    return False
