"""Recorded requests become items: what a rule wants, within its limits, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loopline.contracts import DatasetCommitted, RequestsSampled, SampledImage, catalog
from loopline.contracts.dataset.v1.annotation_pb2 import Shape
from loopline.flows import Flow
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item, Prediction
from loopline.testing import flywheel
from loopline.testing.memory import delivery
from services.router.domain.sampling import Added, room, wanted

if TYPE_CHECKING:
    from tests.unit.router.conftest import World

FLOW = """
flow: catalogue
datasets: [catalogue]
sample:
  - {name: doubtful, model: catalogue, dataset: catalogue, when: "prediction.confidence < 0.6", per_hour: 3, per_day: 5}
"""  # noqa: E501
CLASSES = ["coat", "shirt"]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def sampled(*confidences: float, first: int = 0) -> RequestsSampled:
    """Return an event with an image of each confidence, numbered from `first`."""
    event = RequestsSampled(task="classification", classes=CLASSES)
    event.model.name, event.model.version, event.model.digest = "catalogue", 2, "d" * 64
    for number, confidence in enumerate(confidences, first):
        event.images.append(
            SampledImage(
                asset=flywheel.asset(number),
                media_type="image/jpeg",
                size_bytes=1000,
                width_px=64,
                height_px=48,
                scores=[confidence, 1 - confidence],
                shapes=[Shape(id="0", class_name="coat", confidence=confidence)],
            )
        )
    return event


async def head(world: World) -> Committed[DatasetCommitted] | None:
    return await world.router.log.head(catalog.DATASET_COMMITTED, name="catalogue")


async def items(world: World) -> dict[str, Item]:
    committed = await head(world)
    if committed is None:
        return {}
    tree = await Datasets(world.router.log, world.router.objects).tree(committed)
    return {row.asset: row async for row in tree.rows()}


async def test_images_that_a_rule_wants_become_items(world: World) -> None:
    flow = await world.wheel.flow(FLOW)
    await world.router.on_requests_sampled(sampled(0.55, 0.95, 0.51), delivery(1))
    found = await items(world)
    assert set(found) == {flywheel.asset(0), flywheel.asset(2)}
    one = found[flywheel.asset(0)]
    assert (one.tags, one.source, one.labeled) == (("sampled",), "request:catalogue@v2", False)
    assert (one.width_px, one.height_px, one.media_type) == (64, 48, "image/jpeg")
    committed = await head(world)
    assert committed is not None
    run = committed.commit.run
    assert {ref.role for ref in run.inputs} == {"model", "flow"}
    assert run.actor.name == flow.ref.name


async def test_an_event_that_comes_again_adds_nothing(world: World) -> None:
    await world.wheel.flow(FLOW)
    for attempt in (1, 2):
        await world.router.on_requests_sampled(sampled(0.55), delivery(1, attempt=attempt))
    committed = await head(world)
    assert committed is not None
    assert committed.ref.version == 1


async def test_images_that_are_there_already_are_left_as_they_are(world: World) -> None:
    await world.wheel.flow(FLOW)
    await world.wheel.dataset("catalogue", [flywheel.item(0, labeled=True)])
    await world.router.on_requests_sampled(sampled(0.55), delivery(7))
    assert (await items(world))[flywheel.asset(0)].labeled


async def test_limits_hold_across_processes_and_hours(world: World) -> None:
    """The least sure come first; what a rule added before is read from the log."""
    await world.wheel.flow(FLOW)
    await world.router.on_requests_sampled(sampled(0.59, 0.51, 0.58, 0.52), delivery(1))
    assert set(await items(world)) == {flywheel.asset(number) for number in (1, 3, 2)}
    other = world.start_router()
    await other.start()
    await other.on_requests_sampled(sampled(0.5, first=10), delivery(2))
    assert len(await items(world)) == 3  # per_hour
    world.clock.advance(3_700)
    await other.on_requests_sampled(sampled(0.5, 0.5, 0.5, first=20), delivery(3))
    assert len(await items(world)) == 5  # per_day
    world.clock.advance(3_700)
    await other.on_requests_sampled(sampled(0.5, first=30), delivery(4))
    assert len(await items(world)) == 5
    await other.stop()
    other.objects.close()


async def test_rules_of_other_models_want_nothing(world: World) -> None:
    await world.wheel.flow(FLOW.replace("model: catalogue", "model: other"))
    await world.router.on_requests_sampled(sampled(0.55), delivery(1))
    assert await head(world) is None


def test_a_share_is_drawn_by_image_and_always_the_same() -> None:
    text = FLOW.replace("per_hour: 3", "share: 0.25, per_hour: 3")
    (rule,) = Flow.parse(text).sample
    rows = [Prediction(flywheel.asset(number), (), (0.5, 0.5)) for number in range(400)]
    found = wanted(rule, {}, rows, CLASSES, 0.3)
    assert 60 < len(found) < 140
    assert wanted(rule, {}, rows[::-1], CLASSES, 0.3) == found


@pytest.mark.parametrize(
    ("before", "left"),
    [
        pytest.param([], 3, id="nothing yet"),
        pytest.param([(0.5, 2)], 1, id="within the hour"),
        pytest.param([(2, 3)], 2, id="within the day"),
        pytest.param([(25, 5)], 3, id="the day before"),
        pytest.param([(0.1, 3)], 0, id="the hour is full"),
    ],
)
def test_room(before: list[tuple[float, int]], left: int) -> None:
    (rule,) = Flow.parse(FLOW).sample
    added = [Added(NOON - timedelta(hours=hours), images) for hours, images in before]
    assert room(rule, added, NOON) == left
