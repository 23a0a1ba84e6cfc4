"""A new test split: the champion is measured on it, and then the rule decides."""

from __future__ import annotations

import pytest

from loopline.contracts import ArtefactKind, ArtefactRef, ModelCommitted, catalog
from loopline.store.commits import Committed
from tests.unit.router.conftest import World

FLOW = """
flow: catalogue
datasets: [catalogue]
promote:
  - model: catalogue
    alias: champion
    when: "!has_champion || candidate.metrics.accuracy > champion.metrics.accuracy"
"""
OLD, NEW = "5" * 64, "6" * 64
DATASET = ArtefactRef(
    kind=ArtefactKind.ARTEFACT_KIND_DATASET, name="catalogue", version=2, digest="d" * 64
)


async def champion(world: World) -> int:
    head = await world.router.log.head(catalog.ALIAS_MOVED, model="catalogue", alias="champion")
    return head.message.target.version if head else 0


@pytest.fixture
async def first(world: World) -> Committed[ModelCommitted]:
    """The champion, measured on the old split, and a candidate, measured on the new one."""
    await world.wheel.flow(FLOW)
    first = await world.wheel.model("catalogue", "first", {"accuracy": 0.8}, split_digest=OLD)
    await world.settle()
    await world.wheel.model(
        "catalogue", "second", {"accuracy": 0.7}, split_digest=NEW, trained_on=DATASET
    )
    await world.settle()
    return first


async def test_the_champion_is_measured_on_the_candidates_split(
    world: World, first: Committed[ModelCommitted]
) -> None:
    assert await champion(world) == 1
    [command] = world.bus.sent(catalog.EVALUATE_MODEL)
    assert command.model == first.ref
    assert (command.dataset.name, command.dataset.version) == ("catalogue", 2)
    assert (command.split, command.actor.name) == ("test", "catalogue")
    [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
    assert "their figures do not compare" in declined.reason


@pytest.mark.parametrize(("measured", "expected"), [(0.65, 2), (0.75, 1)])
async def test_then_the_rule_decides_on_figures_that_compare(
    world: World, first: Committed[ModelCommitted], measured: float, expected: int
) -> None:
    """The new split is harder: the champion's .8 on the old one says nothing."""
    await world.wheel.evaluation(first, DATASET, {"accuracy": measured}, split_digest=NEW)
    await world.settle()
    assert await champion(world) == expected
    assert len(world.bus.sent(catalog.EVALUATE_MODEL)) == 1
    if expected == 1:
        last = world.bus.sent(catalog.PROMOTION_DECLINED)[-1]
        assert "champion.metrics.accuracy = 0.75" in last.reason


async def test_an_evaluation_on_some_other_split_changes_nothing(
    world: World, first: Committed[ModelCommitted]
) -> None:
    await world.wheel.evaluation(first, DATASET, {"accuracy": 0.1}, split_digest="7" * 64)
    await world.settle()
    assert await champion(world) == 1
    assert len(world.bus.sent(catalog.PROMOTION_DECLINED)) == 1


async def test_versions_of_one_split_need_no_measuring(world: World) -> None:
    await world.wheel.flow(FLOW)
    await world.wheel.model("catalogue", "first", {"accuracy": 0.8}, trained_on=DATASET)
    await world.settle()
    await world.wheel.model("catalogue", "second", {"accuracy": 0.7}, trained_on=DATASET)
    await world.settle()
    assert world.bus.sent(catalog.EVALUATE_MODEL) == []
