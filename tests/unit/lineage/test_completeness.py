"""Whether the graph holds every commit can be asked, and what is not in it is named."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from loopline.contracts.catalog import Stream
from loopline.lineage.completeness import compare
from loopline.store.commits import Committed
from loopline.testing.memory import MemoryBus
from services.lineage.adapters import tables
from services.lineage.adapters.http import CommitsOut
from services.lineage.service import Lineage

TIMEOUT_S = 20.0


@pytest.fixture
async def caught_up(turn: list[Committed[Any]], service: Lineage, bus: MemoryBus) -> Lineage:
    last = await bus.streams[Stream.COMMITS].last_sequence()
    await service.projector.wait_applied(last, TIMEOUT_S)
    return service


async def pages(http: httpx.AsyncClient, limit: int) -> list[CommitsOut]:
    found, after = [], 0
    while True:
        answer = await http.get("/v1/commits", params={"after": after, "limit": limit})
        page = CommitsOut.model_validate_json(answer.content, strict=True)
        found.append(page)
        if page.next is None:
            return found
        after = page.next


@pytest.mark.parametrize("limit", [3, 10_000])
async def test_the_graph_holds_every_commit(
    turn: list[Committed[Any]], caught_up: Lineage, http: httpx.AsyncClient, limit: int
) -> None:
    found = await pages(http, limit)
    graphed = [sequence for page in found for sequence in page.sequences]
    checked = compare(turn, graphed, found[0].applied_sequence)
    assert checked.ok
    assert (checked.commits, checked.through) == (len(turn), caught_up.projector.applied)


async def test_what_is_in_one_of_them_alone_is_named(
    turn: list[Committed[Any]], caught_up: Lineage, http: httpx.AsyncClient
) -> None:
    with caught_up._engine.begin() as connection:
        connection.execute(delete(tables.commits).where(tables.commits.c.sequence == 5))
    [page] = await pages(http, 100)
    logged = [one for one in turn if one.sequence != 12]
    checked = compare(logged, page.sequences, page.applied_sequence)
    [lost] = [one for one in turn if one.sequence == 5]
    assert not checked.ok
    assert checked.absent == (f"{lost.subject} at 5",)
    assert checked.surplus == (12,)


def test_what_came_after_the_graph_was_asked_is_not_absent(turn: list[Committed[Any]]) -> None:
    assert compare(turn, [1, 2, 3], 3).ok
