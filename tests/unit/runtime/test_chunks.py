"""Chunked work: once per chunk, joined when all are done."""

from __future__ import annotations

import pytest

from loopline.clock import SystemClock
from loopline.contracts import Agent, RouteChunk, catalog
from loopline.contracts.catalog import Stream
from loopline.errors import Transient
from loopline.runtime.bus import Bus
from loopline.runtime.chunks import MAX_CHUNKS, Chunks, chunk_size
from loopline.testing.memory import MemoryBus


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def chunks(bus: MemoryBus) -> Chunks:
    published = Bus(bus, "default", source="test", clock=SystemClock())
    return Chunks(published, bus.streams[str(Stream.EVENTS)], Agent(id="a"))


async def test_every_chunk_is_commanded_once_even_if_planned_twice(
    chunks: Chunks, bus: MemoryBus
) -> None:
    for _ in range(2):
        await chunks.dispatch(
            catalog.ROUTE_CHUNK, "r", 3, lambda i: RouteChunk(run_id="r", index=i)
        )
    assert [chunk.index for chunk in bus.sent(catalog.ROUTE_CHUNK)] == [0, 1, 2]


async def test_the_last_chunk_says_that_all_are_done(chunks: Chunks) -> None:
    assert [await chunks.complete("r", i, 3, f"{i}") for i in (2, 0, 1)] == [False, False, True]
    assert [chunk.result_digest for chunk in await chunks.results("r", 3)] == ["0", "1", "2"]


async def test_of_two_workers_on_one_chunk_the_first_result_stands(chunks: Chunks) -> None:
    await chunks.complete("r", 0, 1, "first")
    assert await chunks.complete("r", 0, 1, "second")
    found = await chunks.completed("r", 0)
    assert found is not None
    assert found.result_digest == "first"


async def test_joining_too_early_is_tried_again(chunks: Chunks) -> None:
    await chunks.complete("r", 0, 2, "x")
    with pytest.raises(Transient, match="1 of 2 chunks are not done yet"):
        await chunks.results("r", 2)


async def test_runs_do_not_see_each_others_chunks(chunks: Chunks) -> None:
    await chunks.complete("other", 0, 1, "x")
    assert await chunks.completed("r", 0) is None


@pytest.mark.parametrize(("count", "size"), [(10, 256), (256_000, 256), (1_000_000, 1000)])
def test_chunks_grow_so_that_a_run_has_a_bounded_number(count: int, size: int) -> None:
    assert chunk_size(count, 256) == size
    assert -(-count // size) <= MAX_CHUNKS
