"""Many people on one job, over a real bus: nobody gets what another one holds, nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loopline.contracts import catalog
from loopline.testing.flywheel import asset
from loopline.testing.servers import PlatformServers
from tests.integration.test_annotate_service import (
    JOB,
    Platform,
    Process,
    completed,
    job_state,
    send_job,
    until,
)

PEOPLE = 50
ITEMS = 150
NEXT_P95_MAX_S = 0.15


@pytest.fixture
def platform(platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path) -> Platform:
    return Platform(platform_servers, s3_bucket, tmp_path)


async def opened(process: Process, count: int) -> None:
    await send_job(process, count)
    await until(lambda: job_state(process))


async def work(process: Process, who: str, held: Counter[str]) -> None:
    """Label until there is nothing left; note every item that was handed out."""
    path = f"/v1/jobs/{JOB}"
    given = (await process.client.post(f"{path}/next", json={"labeler": who})).json()
    while given["items"]:
        [leased] = given["items"]
        digest = leased["item"]["asset"]
        held[digest] += 1
        body = {"labeler": who, "shapes": [{"class_name": "coat"}], "next": 1}
        answer = await process.client.post(f"{path}/items/{digest}/labels", json=body)
        assert answer.status_code == 200, answer.text
        given = answer.json()["next"] or {"items": []}


async def test_fifty_people_at_once_label_every_item_once(platform: Platform) -> None:
    async with platform.annotate() as process:
        await opened(process, ITEMS)
        held: Counter[str] = Counter()
        await asyncio.gather(*(work(process, f"p{n}", held) for n in range(PEOPLE)))
        assert held == Counter({asset(n): 1 for n in range(ITEMS)})
        job = await until(lambda: completed(process))
        assert job["counts"]["done"] == ITEMS
        log = process.service.log
        said = await log.heads(catalog.LABELS_SUBMITTED, job=JOB)
        assert {one.ref.version for one in said} == {1}


async def test_the_next_item_is_there_while_one_blinks(platform: Platform) -> None:
    async with platform.annotate() as process:
        await opened(process, 60)
        path, waits = f"/v1/jobs/{JOB}", list[float]()
        body: dict[str, Any] = {"labeler": "ada", "count": 2}
        given = (await process.client.post(f"{path}/next", json=body)).json()
        queue = [row["item"]["asset"] for row in given["items"]]
        while queue:
            digest = queue.pop(0)
            said = {"labeler": "ada", "shapes": [{"class_name": "coat"}], "next": 2}
            began = time.perf_counter()
            answer = await process.client.post(
                f"{path}/items/{digest}/labels", json=said | {"holding": queue}
            )
            waits.append(time.perf_counter() - began)
            following = answer.json()["next"] or {"items": []}
            queue += [row["item"]["asset"] for row in following["items"]]
        assert len(waits) == 60
        waits.sort()
        assert waits[int(0.95 * len(waits))] < NEXT_P95_MAX_S, waits
