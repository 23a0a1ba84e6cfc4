"""Promotion "with 95% confidence": from what each model said of each image to a moved alias."""

from __future__ import annotations

import numpy as np

from loopline.contracts import ModelCommitted, catalog
from loopline.evaluation import outcomes
from loopline.evaluation.outcomes import ClassificationOutcomes
from loopline.store.commits import Committed
from loopline.store.objects import Area
from tests.unit.router.conftest import World

FLOW = """
flow: catalogue
datasets: [catalogue]
promote:
  - model: catalogue
    alias: champion
    when: "!has_champion || comparison.accuracy.low > 0.0"
"""
IMAGES = 1000


async def version(
    world: World, weights: str, right: int, images: int = IMAGES
) -> Committed[ModelCommitted]:
    """Commit a version that is right on the first `right` of the images."""
    said = (np.arange(images) >= right).astype(np.int64)
    assets = tuple(f"{i:064}" for i in range(images))
    kept = ClassificationOutcomes(assets, np.zeros(images, np.int64), said, said, 2)
    digest = await world.router.objects.put(Area.REPORTS, outcomes.to_bytes(kept))
    metrics = {"accuracy": right / images}
    return await world.wheel.model("catalogue", weights, metrics, outcomes_digest=digest)


async def champion(world: World) -> int:
    head = await world.router.log.head(catalog.ALIAS_MOVED, model="catalogue", alias="champion")
    return head.message.target.version if head else 0


async def test_a_version_that_is_surely_better_is_promoted(world: World) -> None:
    await world.wheel.flow(FLOW)
    await version(world, "first", 800)
    await world.settle()
    await version(world, "second", 830)
    await world.settle()
    assert await champion(world) == 2
    head = await world.router.log.head(catalog.ALIAS_MOVED, model="catalogue", alias="champion")
    assert head is not None
    assert "comparison.accuracy.low = 0.0" in head.message.reason


async def test_a_version_that_may_only_be_lucky_is_declined(world: World) -> None:
    """Two images more of a thousand: a bare comparison of the figures would promote it."""
    await world.wheel.flow(FLOW)
    await version(world, "first", 800)
    await world.settle()
    await version(world, "second", 802)
    await world.settle()
    assert await champion(world) == 1
    [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
    assert "comparison.accuracy.low = 0" in declined.reason


async def test_a_version_whose_outcomes_were_not_kept_is_declined_with_the_way_out(
    world: World,
) -> None:
    await world.wheel.flow(FLOW)
    await version(world, "first", 800)
    await world.settle()
    await world.wheel.model("catalogue", "second", {"accuracy": 0.99})
    await world.settle()
    assert await champion(world) == 1
    [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
    assert "loopline model evaluate catalogue@v1" in declined.reason


async def test_a_handful_of_images_proves_nothing(world: World) -> None:
    await world.wheel.flow(FLOW)
    await version(world, "first", 0, images=8)
    await world.settle()
    await version(world, "second", 8, images=8)
    await world.settle()
    assert await champion(world) == 1
    [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
    assert "8 images cannot tell how sure a difference is" in declined.reason
