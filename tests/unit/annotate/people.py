"""What people do at the desk: take items, label and review them, and look where they stand."""

from __future__ import annotations

from typing import Any

import httpx

from loopline.testing.flywheel import asset
from tests.unit.annotate.desk import JOB, Desk

Json = dict[str, Any]


async def take(desk: Desk, who: str, count: int = 1, path: str = "next", **body: Any) -> Json:
    """Take items as somebody."""
    answer = await desk.client.post(
        f"/v1/jobs/{JOB}/{path}", json={"labeler": who, "count": count, **body}
    )
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def numbers(found: Json) -> list[int]:
    """Return which test images were handed out."""
    by_asset = {asset(n): n for n in range(100)}
    return [by_asset[row["item"]["asset"]] for row in found["items"]]


async def label(desk: Desk, number: int, who: str = "ada", **fields: Any) -> httpx.Response:
    """Submit one label as somebody."""
    return await desk.label(number, fields.pop("class_name", "coat"), labeler=who, **fields)


async def review(desk: Desk, number: int, verdict: str, **fields: Any) -> httpx.Response:
    """Say what a reviewer thinks."""
    body = {"verdict": verdict, "reviewer": "rita", "labels_version": 1, **fields}
    return await desk.client.post(f"/v1/jobs/{JOB}/items/{asset(number)}/review", json=body)


async def state_of(desk: Desk, number: int) -> str:
    """Return where an item stands."""
    answer = await desk.client.get(f"/v1/jobs/{JOB}/items/{asset(number)}")
    return str(answer.json()["state"])


async def job_state(desk: Desk) -> str:
    """Return the job's state once every message so far was handled."""
    await desk.handle_submissions()
    return str((await desk.client.get(f"/v1/jobs/{JOB}")).json()["state"])
