"""Datasets: pages of items with filters, differences, restoring, drops."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from loopline.access import Role
from loopline.contracts import ArtefactKind, ArtefactRef, RunKind, catalog
from loopline.digests import canonical_json
from loopline.store import runs
from loopline.store.items import Item, Prediction, Shape
from loopline.store.objects import Area
from loopline.testing.flywheel import asset, item, prediction
from services.console.domain.disagreement import Said, disagreement
from tests.unit.console.desk import Desk

ITEMS = "/api/datasets/shoes/versions/{}/items"
Json = dict[str, Any]


def rows(count: int) -> list[Item]:
    """Return items: even ones are labeled coat, odd ones shirt; every third is tagged."""
    made = []
    for number in range(count):
        one = item(number, labeled=number % 5 != 0, split="test" if number % 4 == 0 else "train")
        tags = ("night",) if number % 3 == 0 else ()
        made.append(replace(one, tags=tags))
    return made


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """A console over a dataset of 40 items."""
    await desk.flywheel.dataset("shoes", rows(40))
    await desk.seen()
    return desk


async def page(client: httpx.AsyncClient, version: int = 1, **query: Any) -> Json:
    answer = await client.get(ITEMS.format(version), params=query)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def everything(client: httpx.AsyncClient, **query: Any) -> list[Json]:
    found: list[Json] = []
    cursor = ""
    while True:
        one = await page(client, limit=7, cursor=cursor, **query)
        found += one["items"]
        cursor = one["next_cursor"]
        if not cursor:
            return found


async def test_pages_hold_every_item_once_in_order(shop: Desk) -> None:
    client = await shop.signed_in(Role.VIEWER)
    found = [one["asset"] for one in await everything(client)]
    assert found == sorted(asset(number) for number in range(40))
    assert (await page(client))["total"] == 40


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        pytest.param({"class_name": "coat"}, lambda i: _has(i, "coat"), id="class"),
        pytest.param({"class_name": ["coat", "shirt"]}, lambda i: i.labeled, id="classes"),
        pytest.param({"split": "test"}, lambda i: i.split == "test", id="split"),
        pytest.param({"split": "none"}, lambda i: not i.split, id="no split"),
        pytest.param({"tag": "night"}, lambda i: "night" in i.tags, id="tag"),
        pytest.param({"source": "0007"}, lambda i: "0007" in i.source, id="source"),
        pytest.param({"labeled": "false"}, lambda i: not i.labeled, id="not labeled"),
        pytest.param(
            {"split": "train", "tag": "night", "class_name": "shirt"},
            lambda i: i.split == "train" and "night" in i.tags and _has(i, "shirt"),
            id="all of them",
        ),
        pytest.param({"class_name": "hat"}, lambda i: False, id="nothing"),
    ],
)
async def test_filters_keep_what_matches(shop: Desk, query: Json, keep: Any) -> None:
    found = {one["asset"] for one in await everything(await shop.signed_in(), **query)}
    assert found == {one.asset for one in rows(40) if keep(one)}


def _has(one: Item, name: str) -> bool:
    return name in {shape.class_name for shape in one.shapes}


async def test_a_search_that_looks_at_much_says_so_and_goes_on(shop: Desk) -> None:
    client = await shop.signed_in()
    shop.service.desks.datasets._scan_items_max = 1  # a shard is the least
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"n": 3})
    await shop.flywheel.datasets.commit_changes("shoes", rows(4_000), run=run, summary="many")
    await shop.seen()
    first = await page(client, version=2, source="3999.png")
    assert first["scanned"] < 4_000
    found, cursor = first["items"], first["next_cursor"]
    while cursor:
        more = await page(client, version=2, source="3999.png", cursor=cursor)
        found, cursor = found + more["items"], more["next_cursor"]
    assert [one["asset"] for one in found] == [asset(3999)]


async def test_predictions_lie_beside_labels_and_disagreement_is_a_filter(shop: Desk) -> None:
    model = await shop.flywheel.model("shoes", "w1", {"accuracy": 0.8})
    dataset = await shop.flywheel.datasets.head("shoes")
    assert dataset is not None
    told = [prediction(number, 0.5 + number / 100) for number in range(40)]  # all "shirt"
    await shop.flywheel.predictions(model, dataset, told)
    await shop.seen()
    client = await shop.signed_in()
    one = (await page(client, limit=1))["items"][0]
    assert one["predicted"][0]["class_name"] == "shirt"
    wrong = await everything(client, disagreement_min=0.01)
    expected = {i.asset for i in rows(40) if i.labeled and _has(i, "coat")}
    assert {i["asset"] for i in wrong} == expected
    sure = await everything(client, score_min=0.8)
    assert {i["asset"] for i in sure} == {asset(n) for n in range(30, 40)}
    unsure = await everything(client, score_max=0.55)
    assert {i["asset"] for i in unsure} == {asset(n) for n in range(6)}
    without = (await page(client, predictions="-", limit=1))["items"][0]
    assert without["predicted"] is None
    facets = (await client.get("/api/datasets/shoes/versions/1/facets")).json()
    assert facets["predictions"][0]["count"] == 40
    missing = await client.get(ITEMS.format(1), params={"predictions": "other"})
    assert missing.status_code == 404


async def test_facets_say_what_can_be_filtered_by(shop: Desk) -> None:
    client = await shop.signed_in()
    facets = (await client.get("/api/datasets/shoes/versions/1/facets")).json()
    assert facets["splits"] == {"test": 10, "train": 30}
    assert facets["tags"] == {"night": 14}
    assert facets["sources"] == {"s3://customer/photos/": 40}
    assert set(facets["classes"]) == {"coat", "shirt"}
    assert not facets["is_sampled"]


async def test_versions_are_a_log_with_what_changed(shop: Desk) -> None:
    await shop.flywheel.dataset("shoes", [item(100, labeled=True, split="train")])
    await shop.seen()
    client = await shop.signed_in()
    newest, oldest = (await client.get("/api/datasets/shoes/versions")).json()["versions"]
    assert (newest["version"], oldest["version"]) == (2, 1)
    changes = {kind: count for kind, count in newest["changes"].items() if count}
    assert changes == {"added": 1, "labels_changed": 1}
    assert newest["items"] == 41
    assert newest["histogram"]["coat"] == oldest["histogram"]["coat"] + 1
    [listed] = (await client.get("/api/datasets")).json()["datasets"]
    assert (listed["name"], listed["versions"], listed["head"]["version"]) == ("shoes", 2, 2)
    assert (await client.get("/api/datasets/hats/versions")).status_code == 404


async def test_differences_show_items_and_shapes(shop: Desk) -> None:
    before = item(1, labeled=True, split="train")
    drawn = Shape(id="2", class_name="coat", bbox_xyxy=(0, 0, 9, 9))
    moved = replace(before.shapes[0], class_name="coat")
    changed = replace(before, shapes=(moved, drawn), split="val", tags=())
    await shop.flywheel.datasets.commit_changes(
        "shoes", [changed, item(200)], [asset(2)],
        run=runs.new_run(RunKind.RUN_KIND_EDIT, parameters={"n": 1}), summary="by hand",
    )  # fmt: skip
    await shop.seen()
    client = await shop.signed_in()
    found = (await client.get("/api/datasets/shoes/diff?a=1&b=2")).json()
    assert found["counts"] == {"added": 1, "changed": 1, "removed": 1}
    assert [one["asset"] for one in found["added"]] == [asset(200)]
    assert [one["asset"] for one in found["removed"]] == [asset(2)]
    [one] = found["changed"]
    assert (one["added_shapes"], one["changed_shapes"]) == (["2"], ["1"])
    assert set(one["changed_fields"]) == {"split", "shapes"}
    first = (await client.get("/api/datasets/shoes/diff?a=1&b=2&limit=1")).json()
    ids = sorted([asset(1), asset(2), asset(200)])
    assert first["next_cursor"] == ids[0]
    rest = await client.get(f"/api/datasets/shoes/diff?a=1&b=2&cursor={ids[0]}")
    shown = rest.json()
    left = [*shown["added"], *shown["removed"], *(c["after"] for c in shown["changed"])]
    assert sorted(one["asset"] for one in left) == ids[1:]


async def test_restoring_is_a_new_version_in_the_persons_name(shop: Desk) -> None:
    await shop.flywheel.dataset("shoes", [item(100)])
    await shop.seen()
    client = await shop.signed_in(Role.OPERATOR)
    made = (await client.post("/api/datasets/shoes/restore", json={"version": 1})).json()
    assert (made["version"], made["restored_from"], made["items"]) == (3, 1, 40)
    assert made["actor"] == {"kind": "user", "name": "operator"}
    head = await shop.service.log.head(catalog.DATASET_COMMITTED, name="shoes")
    assert head is not None
    assert head.commit.run.actor.name == "operator"
    missing = await client.post("/api/datasets/shoes/restore", json={"version": 9})
    assert missing.status_code == 404


async def test_a_tag_names_a_version(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    body = {"tag": "golden", "version": 1}
    tagged = (await client.post("/api/datasets/shoes/tags", json=body)).json()
    assert tagged["tags"] == ["golden"]
    [listed] = (await client.get("/api/datasets")).json()["datasets"]
    assert listed["tags"] == {"golden": 1}


async def test_drops_say_why_and_show_what_a_duplicate_repeats(shop: Desk) -> None:
    source = "s3://customer/photos/"
    report = {
        "run": "r1", "dataset": "shoes", "source": source, "counts": {},
        "drops": [
            {"key": "a.txt", "reason": "not_an_image", "detail": "not an image", "repeats": ""},
            {"key": "b.png", "reason": "near_duplicate", "detail": "", "repeats": asset(3),
             "picture": b64encode(bytes(range(28)) * 28).decode()},
            {"key": "c.png", "reason": "exact_duplicate", "detail": "", "repeats": "0007.png"},
        ],
        "labels": [{}],
    }  # fmt: skip
    digest = await shop.service.objects.put(Area.REPORTS, canonical_json(report))
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"n": 2})
    kind = ArtefactKind.ARTEFACT_KIND_REPORT
    run.outputs.append(ArtefactRef(kind=kind, digest=digest, role="drop_report"))
    rows_ = [replace(one, source=one.source.replace("photos/", "photos/")) for one in rows(41)]
    await shop.flywheel.datasets.commit_changes("shoes", rows_, run=run, summary="imported")
    await shop.seen()
    client = await shop.signed_in()
    found = (await client.get("/api/datasets/shoes/versions/2/drops?limit=2")).json()
    assert found["counts"] == {"not_an_image": 1, "near_duplicate": 1, "exact_duplicate": 1}
    assert [drop["asset"] for drop in found["drops"]] == ["", asset(3)]
    none, picture = (drop["picture"] for drop in found["drops"])
    assert none == ""
    png = b64decode(picture.removeprefix("data:image/png;base64,"))
    shown = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert (shown == np.tile(np.arange(28, dtype=np.uint8), (28, 1))).all()
    assert found["rejected_labels"] == 1
    next_ = await client.get(
        "/api/datasets/shoes/versions/2/drops", params={"cursor": found["next_cursor"]}
    )
    [last] = next_.json()["drops"]
    one = await client.get("/api/datasets/shoes/versions/2/drops?reason=near_duplicate")
    assert len(one.json()["drops"]) == 1
    assert last["uri"] == "s3://customer/photos/c.png"
    assert (await client.get("/api/datasets/shoes/versions/1/drops")).status_code == 404


async def test_pictures_of_a_version_are_of_several_classes(shop: Desk) -> None:
    client = await shop.signed_in()
    committed = shop.service.view.commits["dataset:shoes@1"]
    shown = await shop.service.desks.workflow.pictures(committed)
    assert len(shown) == 4
    assert (await client.get("/api/datasets/shoes/versions/1/items/" + shown[0])).status_code == 200


@pytest.mark.parametrize(
    ("labels", "predictions", "apart"),
    [
        pytest.param([Said("a")], [Said("a", None, 0.9)], 0.0, id="right"),
        pytest.param([Said("a")], [Said("b", None, 0.9)], 0.9, id="surely wrong"),
        pytest.param([], [], 0.0, id="nothing"),
        pytest.param(
            [Said("a", (0, 0, 10, 10))], [Said("a", (1, 0, 10, 10), 0.9)], 0.0, id="box found"
        ),
        pytest.param(
            [Said("a", (0, 0, 10, 10))], [Said("b", (0, 0, 10, 10), 0.9)], 1.0, id="other class"
        ),
        pytest.param([Said("a", (0, 0, 10, 10))], [], 1.0, id="box missed"),
        pytest.param(
            [Said("a", (0, 0, 10, 10))],
            [Said("a", (0, 0, 10, 10), 0.9), Said("a", (20, 0, 30, 10), 0.8)],
            1 - 2 / 3,
            id="one too many",
        ),
        pytest.param([], [Said("a", (0, 0, 9, 9), 0.1)], 0.0, id="unsure box is no word"),
    ],
)
def test_disagreement(labels: list[Said], predictions: list[Said], apart: float) -> None:
    assert disagreement(labels, predictions) == pytest.approx(apart)


def test_prediction_of_nothing_has_no_score() -> None:
    from services.console.adapters.items import score_of

    assert score_of(Prediction(asset(1), (), ())) is None
