"""The labeling API: what it shows, what it takes, what it refuses and how it says so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from loopline.contracts import catalog
from loopline.errors import Transient
from loopline.store.objects import Area
from loopline.testing.flywheel import asset
from tests.unit.annotate.desk import JOB, Desk

PNG = b"\x89PNG\r\n\x1a\n" + b"rest of an image"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs"),
        ("GET", f"/v1/jobs/{JOB}"),
        ("GET", f"/v1/jobs/{JOB}/items"),
        ("GET", f"/v1/assets/{'a' * 64}"),
        ("POST", f"/v1/jobs/{JOB}/labels"),
        ("POST", f"/v1/jobs/{JOB}/items/{'a' * 64}/labels"),
        ("POST", f"/v1/jobs/{JOB}/stop"),
    ],
)
async def test_nothing_answers_without_the_token(desk: Desk, method: str, path: str) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}):
        answer = await desk.client.request(method, path, headers=headers, json={})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_health_answers_without_the_token(desk: Desk) -> None:
    answer = await desk.client.get("/healthz", headers={"authorization": ""})
    assert answer.status_code == 200


async def test_jobs_are_listed_with_their_progress(desk: Desk) -> None:
    await desk.open(await desk.command(3, instructions="look twice"))
    await desk.label(0)
    [job] = (await desk.client.get("/v1/jobs")).json()["jobs"]
    assert job == (await desk.client.get(f"/v1/jobs/{JOB}")).json()
    shown = {key: job[key] for key in ("job", "state", "items", "submitted", "instructions")}
    assert shown == {
        "job": JOB, "state": "in_progress", "items": 3, "submitted": 1,
        "instructions": "look twice",
    }  # fmt: skip
    assert job["classes"] == ["coat", "shirt"]
    assert job["dataset"]["version"] == 1


async def test_items_come_in_pages_in_the_order_to_label(desk: Desk) -> None:
    await desk.open(await desk.command(7))
    seen: list[str] = []
    cursor = ""
    while True:
        query = {"limit": "2", "cursor": cursor}
        page = (await desk.client.get(f"/v1/jobs/{JOB}/items", params=query)).json()
        seen += [row["asset"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == [asset(number) for number in range(7)]


async def test_items_show_prediction_and_labels_side_by_side(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await desk.label(1, "coat")
    page = (await desk.client.get(f"/v1/jobs/{JOB}/items")).json()
    todo, done = page["items"]
    assert (todo["width_px"], todo["height_px"], todo["media_type"]) == (28, 28, "image/png")
    assert todo["predicted"][0]["class_name"] == "shirt"
    assert todo["predicted"][0]["confidence"] == pytest.approx(0.4)
    assert todo["labels"] is None
    assert done["labels"]["labeler"] == "ada"
    assert done["labels"]["shapes"][0]["class_name"] == "coat"
    assert done["labels"]["shapes"][0]["edited_from"] == done["predicted"][0]["id"]


@pytest.mark.parametrize(("state", "numbers"), [("todo", [0, 2]), ("submitted", [1])])
async def test_items_are_filtered_by_state(desk: Desk, state: str, numbers: list[int]) -> None:
    await desk.open(await desk.command(3))
    await desk.label(1)
    page = (await desk.client.get(f"/v1/jobs/{JOB}/items", params={"state": state})).json()
    assert [row["asset"] for row in page["items"]] == [asset(number) for number in numbers]


async def test_a_page_has_an_upper_limit_and_cursors_are_ours(desk: Desk) -> None:
    await desk.open(await desk.command(5))
    path = f"/v1/jobs/{JOB}/items"
    page = (await desk.client.get(path, params={"limit": 1000})).json()
    assert len(page["items"]) == desk.service.settings.page_items_max
    assert (await desk.client.get(path, params={"cursor": "???"})).status_code == 422
    assert (await desk.client.get(path, params={"state": "lost"})).status_code == 422


async def test_image_comes_with_its_type_and_may_be_kept_for_ever(desk: Desk) -> None:
    digest = await desk.service.objects.put(Area.ASSETS, PNG)
    answer = await desk.client.get(f"/v1/assets/{digest}")
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await desk.client.get(f"/v1/assets/{'0' * 64}")).status_code == 404
    assert (await desk.client.get("/v1/assets/etc")).status_code == 422


async def test_the_same_submission_twice_is_one_version(desk: Desk) -> None:
    await desk.open(await desk.command())
    first = (await desk.label(0)).json()
    second = (await desk.label(0)).json()
    assert (first["version"], first["unchanged"]) == (1, False)
    assert (second["version"], second["unchanged"]) == (1, True)
    assert first["digest"] == second["digest"]


async def test_labeler_may_change_her_mind_and_back(desk: Desk) -> None:
    await desk.open(await desk.command())
    for class_name in ("coat", "shirt", "coat"):
        last = (await desk.label(0, class_name)).json()
    assert last["version"] == 3
    page = (await desk.client.get(f"/v1/jobs/{JOB}/items", params={"limit": 1})).json()
    assert page["items"][0]["labels"]["shapes"][0]["class_name"] == "coat"
    assert (await desk.client.get(f"/v1/jobs/{JOB}")).json()["submitted"] == 1


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        pytest.param(
            {"shapes": [{"class_name": "sock"}]}, 422, "class 'sock' is not one of", id="class"
        ),
        pytest.param(
            {"shapes": [{"class_name": "coat", "bbox_xyxy": [0, 0, 29, 5]}]},
            422,
            "outside the 28 x 28 image",
            id="outside",
        ),
        pytest.param({"labeler": " ada"}, 422, "labeler", id="padded"),
        pytest.param({"shapes": [{"klass": "coat"}]}, 422, "klass", id="unknown-field"),
        pytest.param({"spent_s": -1}, 422, "spent_s", id="negative-time"),
    ],
)
async def test_labels_that_cannot_be_are_refused_with_the_reason(
    desk: Desk, fields: dict[str, Any], status: int, reason: str
) -> None:
    await desk.open(await desk.command())
    body = {"labeler": "ada", "shapes": [], **fields}
    answer = await desk.client.post(f"/v1/jobs/{JOB}/items/{asset(0)}/labels", json=body)
    assert answer.status_code == status
    assert reason in answer.text


async def test_unknown_job_and_asset_are_named(desk: Desk) -> None:
    await desk.open(await desk.command())
    body = {"labeler": "ada", "shapes": []}
    for answer, reason in (
        (await desk.client.get("/v1/jobs/hats"), "there is no labeling job hats"),
        (await desk.client.get("/v1/jobs/hats/items"), "there is no labeling job hats"),
        (
            await desk.client.post(f"/v1/jobs/hats/items/{asset(0)}/labels", json=body),
            "there is no labeling job hats",
        ),
        (
            await desk.client.post(f"/v1/jobs/{JOB}/items/{asset(99)}/labels", json=body),
            f"asset {asset(99)} is not in labeling job relabel",
        ),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"] == reason


async def test_completed_job_takes_no_labels(desk: Desk) -> None:
    await desk.open(await desk.command(1))
    await desk.label(0)
    await desk.handle_submissions()
    answer = await desk.label(0, "shirt")
    assert answer.status_code == 422
    assert answer.json()["error"] == "labeling job relabel is completed: it takes no labels"


async def bulk(desk: Desk, labels: list[dict[str, Any]]) -> httpx.Response:
    """Submit many labels."""
    return await desk.client.post(f"/v1/jobs/{JOB}/labels", json={"labels": labels})


async def test_bulk_keeps_the_good_beside_the_bad(desk: Desk) -> None:
    await desk.open(await desk.command(4))
    answer = await bulk(
        desk,
        [
            {"asset": asset(0), "labeler": "ada", "shapes": [{"class_name": "coat"}]},
            {"asset": asset(1), "labeler": "ada", "shapes": [{"class_name": "sock"}]},
            {"asset": asset(99), "labeler": "ada", "shapes": []},
            {"asset": asset(2), "labeler": "bob", "shapes": []},
        ],
    )
    assert answer.status_code == 200
    said = answer.json()
    assert [row["asset"] for row in said["accepted"]] == [asset(0), asset(2)]
    assert [row["asset"] for row in said["refused"]] == [asset(1), asset(99)]
    assert "class 'sock'" in said["refused"][0]["error"]
    assert (await desk.client.get(f"/v1/jobs/{JOB}")).json()["submitted"] == 2


async def test_bulk_is_not_refused_but_asked_for_again_where_the_bus_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open(await desk.command(3))
    labels = [{"asset": asset(n), "labeler": "ada", "shapes": []} for n in range(3)]
    append, silent = desk.service.log.store.append, asset(1)

    async def lossy(subject: str, *args: Any) -> int:
        if silent in subject:
            raise Transient("the bus did not confirm")
        return await append(subject, *args)

    monkeypatch.setattr(desk.service.log.store, "append", lossy)
    assert (await bulk(desk, labels)).status_code == 503
    monkeypatch.undo()
    said = (await bulk(desk, labels)).json()
    assert not said["refused"]
    assert [row["unchanged"] for row in said["accepted"]] == [True, False, True]


async def test_bulk_names_its_labeler_once_or_per_item(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    labels = [
        {"asset": asset(0), "shapes": []},
        {"asset": asset(1), "labeler": "bob", "shapes": []},
    ]
    path = f"/v1/jobs/{JOB}/labels"
    nobody = await desk.client.post(path, json={"labeler": "a\n", "labels": labels[:1]})
    assert "labeler's name" in nobody.json()["error"]
    answer = await desk.client.post(path, json={"labeler": "ada", "labels": labels})
    assert len(answer.json()["accepted"]) == 2
    page = (await desk.client.get(f"/v1/jobs/{JOB}/items")).json()
    assert [row["labels"]["labeler"] for row in page["items"]] == ["ada", "bob"]


async def test_job_is_stopped_without_a_body_too(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    answer = await desk.client.post(f"/v1/jobs/{JOB}/stop")
    assert (answer.status_code, answer.json()["state"]) == (200, "stopped")


async def test_bulk_is_bounded_and_names_each_asset_once(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    labels: dict[str, Any] = {"labeler": "ada", "shapes": []}
    many = [{"asset": asset(n), **labels} for n in range(51)]
    assert "one request may hold 50" in (await bulk(desk, many)).json()["error"]
    twice = [{"asset": asset(0), **labels}] * 2
    assert "twice" in (await bulk(desk, twice)).json()["error"]
    assert desk.bus.sent(catalog.LABELS_SUBMITTED) == []


async def test_body_that_is_too_large_is_refused_announced_or_not(desk: Desk) -> None:
    size = desk.service.settings.body_size_max_bytes
    path = f"/v1/jobs/{JOB}/labels"
    announced = await desk.client.post(path, content=b"x" * (size + 1))
    assert announced.status_code == 413

    async def parts() -> Any:
        for _ in range(size // 1_000_000 + 2):
            yield b"x" * 1_000_000

    dripped = await desk.client.post(path, content=parts())
    assert dripped.status_code == 413


async def test_service_is_not_ready_when_its_database_is_not_kept(desk: Desk) -> None:
    assert desk.service.ready() == ""
