"""Images are fetched while a training goes on, in the order it needs them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from loopline.errors import NotFound, Transient
from services.trainer.adapters.process import TrainingProcess, beside
from services.trainer.domain.examples import TEST, TRAIN, VALIDATION, Example, Selection
from services.trainer.domain.supply import LOOKED_AT, arrival_order
from services.trainer.training.pixels import arrived


class Warehouse:
    """A cache whose fetch ends when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []
        self.cancelled = False

    async def fetch(self, assets: list[str]) -> int:
        self.asked = assets
        try:
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return len(assets)


class Process:
    """A training that can be killed."""

    def __init__(self) -> None:
        self.killed = asyncio.Event()

    def kill(self) -> None:
        self.killed.set()


def supply(warehouse: Warehouse, process: Process) -> AbstractAsyncContextManager[None]:
    return beside(cast("TrainingProcess", process), warehouse.fetch(["a", "b"]), "image supply")


def selection(count: int) -> Selection:
    def some(split: str, count: int) -> tuple[Example, ...]:
        return tuple(Example(f"{split}-{number:04d}", split, ()) for number in range(count))

    return Selection(some(TRAIN, count), some(VALIDATION, 3), some(TEST, 2), False)


def test_what_is_looked_at_first_comes_first_and_what_is_judged_last() -> None:
    chosen = selection(1000)
    order = arrival_order(chosen, seed=0)
    assert sorted(order) == sorted(example.asset for example in chosen)
    looked_at = [example.asset for example in chosen.train][:: 1000 // LOOKED_AT]
    assert order[: len(looked_at)] == looked_at
    assert [asset.partition("-")[0] for asset in order[-5:]] == [VALIDATION] * 3 + [TEST] * 2
    assert order != arrival_order(chosen, seed=1)


async def test_what_cannot_be_fetched_ends_the_training_and_is_what_is_raised() -> None:
    process = Process()

    async def train() -> None:
        async with supply(Warehouse(NotFound("the image is lost")), process):
            await process.killed.wait()
            raise Transient("training was killed")

    with pytest.raises(NotFound, match="lost"):
        await train()


async def test_a_training_that_ends_before_all_images_came_ends_the_fetching() -> None:
    warehouse, process = Warehouse(), Process()
    async with supply(warehouse, process):
        await asyncio.sleep(0.01)
    assert warehouse.asked == ["a", "b"]
    assert warehouse.cancelled
    assert not process.killed.is_set()


async def test_what_cannot_be_fetched_any_more_does_not_undo_a_training_that_has_ended() -> None:
    process = Process()
    async with supply(Warehouse(NotFound("the image is lost")), process):
        await process.killed.wait()


def test_an_image_on_its_way_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "image"
    timer: Any = threading.Timer(0.05, path.touch)
    timer.start()
    arrived([path])
    assert path.exists()
