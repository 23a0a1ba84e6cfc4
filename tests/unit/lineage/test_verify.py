"""Every broken link of a delivered object's chain is found, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from loopline.contracts import DatasetCommitted, RunKind
from loopline.contracts.catalog import Stream
from loopline.digests import canonical_json, sha256_hex
from loopline.lineage.delivered import Delivered
from loopline.store.items import Prediction, Shape
from loopline.store.logstore import Record
from loopline.store.objects import Area
from services.router.domain.documents import delivered_object
from services.router.domain.plan import RoutingPlan, Version
from tests.unit.lineage.world import CLASSES, PLACE, World, asset

DELIVERED = 12  # images 8..19 after both deliveries: 8 and 9 by the first model


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.turn()
    return world


def change(world: World, number: int, path: str, value: Any) -> None:
    """Change one field of a delivered object."""
    document = orjson.loads(world.bucket.get(world.key(number)))
    *parents, last = path.split(".")
    inner = document
    for name in parents:
        inner = inner[int(name)] if name.isdigit() else inner[name]
    inner[last] = value
    world.bucket.put(world.key(number), canonical_json(document))


def forget(world: World, *subjects: str) -> None:
    """Take commits out of the log, as if they had never been made."""
    log = world.bus.streams[Stream.COMMITS]
    kept = [r for r in log.records if not any(word in r.subject for word in subjects)]
    log.records[:] = [Record(r.subject, n, r.data, r.headers) for n, r in enumerate(kept, 1)]


async def problems(world: World) -> list[tuple[str, str]]:
    """Return the link and the reason of every problem."""
    report = await world.verify()
    assert report.problems_count == len(report.problems)
    assert report.ok == (not report.problems)
    return [(p.link, f"{p.subject}: {p.reason}") for p in report.problems]


async def test_an_untouched_bucket_is_proven_link_by_link(world: World) -> None:
    report = await world.verify()
    assert report.problems == ()
    assert (report.objects, report.manifests) == (DELIVERED, 1)
    assert report.location == "s3://customer/results/catalogue/"
    assert report.links == {
        **dict.fromkeys(
            ("asset", "bytes", "dataset", "import", "origin", "predictions"), DELIVERED
        ),
        "manifest": 1,
    }


async def test_both_models_have_objects_there(world: World) -> None:
    data = [world.bucket.get(world.key(n)) for n in (8, 12)]
    versions = [Delivered.parse(one).origin.model_version for one in data]
    assert versions == [1, 2]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("confidence", 0.99, id="confidence"),
        pytest.param("coco.annotations.0.category_id", 2, id="class"),
        pytest.param("loopline.model_version", 9, id="model"),
    ],
)
async def test_a_changed_object_is_not_what_was_delivered(
    world: World, path: str, value: Any
) -> None:
    change(world, 12, path, value)
    assert await problems(world) == [
        ("bytes", f"{world.key(12)}: it is not what catalogue delivered")
    ]


async def test_an_object_that_nobody_delivered_is_named(world: World) -> None:
    world.bucket.put(f"{PLACE.prefix}readme.txt", b"hello")
    world.bucket.put("elsewhere/readme.txt", b"not in this place")
    assert await problems(world) == [
        ("delivery", "catalogue/readme.txt: no flow's last delivery names it")
    ]


async def test_an_object_that_is_gone_is_named(world: World) -> None:
    world.bucket.delete(world.key(9))
    found = await problems(world)
    assert found == [
        ("object", f"{world.key(9)}: the flow catalogue delivered it, and it is not there")
    ]


async def test_an_image_that_is_gone_or_corrupt_breaks_its_own_chain_alone(world: World) -> None:
    world.blobs.delete(world.objects.key(Area.ASSETS, asset(10)))
    world.blobs.put(world.objects.key(Area.ASSETS, asset(11)), b"another image")
    found = {
        subject.partition(":")[0]: (link, subject.partition(": ")[2])
        for link, subject in await problems(world)
    }
    assert set(found) == {world.key(10), world.key(11)}
    assert found[world.key(10)][0] == found[world.key(11)][0] == "asset"
    assert "does not hash to its name" in found[world.key(11)][1]


@pytest.mark.parametrize(
    ("subject", "link", "said"),
    [
        pytest.param(".flow.", "flow", "catalogue@v1: no such version with digest", id="flow"),
        pytest.param(".model.", "model", "catalogue@v2: no such version with digest", id="model"),
        pytest.param(".predictions.", "predictions", "no such predictions", id="predictions"),
        pytest.param(".labels.", "labels", "anna never submitted it", id="labels"),
        pytest.param(".dataset.", "training", "was never committed", id="training"),
        pytest.param(".dataset.", "dataset", "catalogue@v2: no such version", id="dataset"),
        pytest.param(".dataset.", "import", "no version of catalogue", id="import"),
        pytest.param(".delivery.", "delivery", "no flow's last delivery names it", id="delivery"),
    ],
)
async def test_a_commit_that_is_not_in_the_log_is_missed(
    world: World, subject: str, link: str, said: str
) -> None:
    forget(world, subject)
    assert any(found == link and said in reason for found, reason in await problems(world))


async def test_what_many_objects_share_is_told_once(world: World) -> None:
    forget(world, ".flow.")
    assert len(await problems(world)) == 1


async def test_a_model_file_that_is_gone_is_named(world: World) -> None:
    world.blobs.delete(world.objects.key(Area.MODELS, sha256_hex(b"second")))
    ((link, said),) = await problems(world)
    assert link == "model"
    assert said.startswith("model catalogue@v2 model.onnx: ")


async def test_an_image_that_no_import_brought_is_named(world: World) -> None:
    log = world.bus.streams[Stream.COMMITS]
    first = next(r for r in log.records if ".dataset." in r.subject)
    message = DatasetCommitted.FromString(first.data)
    message.commit.run.kind = RunKind.RUN_KIND_EDIT
    position = log.records.index(first)
    log.records[position] = Record(
        first.subject, first.sequence, message.SerializeToString(), first.headers
    )
    found_problems = await problems(world)
    assert {link for link, _ in found_problems} == {"import"}
    assert len(found_problems) == DELIVERED
    assert "which no import made" in found_problems[0][1]


async def test_an_old_manifest_is_not_the_last_deliverys(world: World) -> None:
    key = f"{PLACE.prefix}manifest.json"
    document = orjson.loads(world.bucket.get(key))
    document["loopline"]["delivery_digest"] = "0" * 64
    world.bucket.put(key, canonical_json(document))
    assert await problems(world) == [
        ("manifest", f"{key}: it is not that of catalogue's last delivery")
    ]
    world.bucket.put(key, b"[]")
    ((link, said),) = await problems(world)
    assert (link, "cannot be read" in said) == ("manifest", True)


async def test_an_empty_bucket_with_nothing_delivered_is_fine(tmp_path: Path) -> None:
    report = await World(tmp_path).verify()
    assert (report.ok, report.objects) == (True, 0)


async def test_a_message_that_is_no_commit_is_kept_apart(world: World) -> None:
    world.bus.streams[Stream.COMMITS].add("loopline.default.dataset.x.committed", b"\xff", {})
    journal = await world.journal()
    assert len(journal.undecodable) == 1
    assert (await world.verify()).ok


BOX = Shape("1", "coat", bbox_xyxy=(1.5, 2.0, 11.25, 22.5), confidence=0.7)
POLYGON = Shape("2", "coat", polygon=(0.0, 0.0, 4.0, 0.0, 4.0, 3.0), confidence=0.9)
MASK = Shape("3", "shirt", mask_rle="abc", confidence=0.8)
PLAN = RoutingPlan(
    workspace="default", run_id="r", flow=Version("f", 1, "d"), document="", recipe="", task="",
    predictions=Version("p", 1, "d"), predictions_root="", predictions_sequence=1,
    model=Version("m", 1, "d"), classes=CLASSES, dataset=Version("d", 1, "d"), dataset_root="",
    selection_digest="", selected=1, chunks=(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        pytest.param("", {}, id="untouched"),
        pytest.param("0", {"bbox": [1.5, 2.0, 9.75, 20.6]}, id="box"),
        pytest.param("0", {"category_id": 2}, id="class"),
        pytest.param("0", {"score": 0.71}, id="score"),
        pytest.param("1", {"segmentation": [[0, 0, 1, 1]]}, id="polygon"),
        pytest.param("2", {"segmentation": {"counts": "x"}}, id="mask"),
        pytest.param("less", {}, id="one less"),
        pytest.param("", {"confidence": 0.1}, id="confidence"),
    ],
)
def test_an_object_is_compared_with_the_prediction_shape_by_shape(
    place: str, changed: dict[str, Any]
) -> None:
    item = World._item(None, 3, "")  # type: ignore[arg-type]  # needs nothing of the world
    prediction = Prediction(asset(3), (BOX, POLYGON, MASK), ())
    document = orjson.loads(delivered_object(PLAN, item, prediction))
    annotations = document["coco"]["annotations"]
    (annotations[int(place)] if place.isdigit() else document).update(changed)
    if place == "less":
        annotations.pop()
    said = Delivered.parse(orjson.dumps(document)).differs_from(prediction, CLASSES)
    assert bool(said) == bool(place or changed)


@pytest.mark.parametrize(
    ("threshold", "count"),
    [
        pytest.param(0.3, 3, id="all of them"),
        pytest.param(0.85, 1, id="the surest"),
        pytest.param(0.95, 0, id="none"),
    ],
)
def test_what_is_below_the_flows_threshold_is_neither_delivered_nor_missed(
    threshold: float, count: int
) -> None:
    item = World._item(None, 3, "")  # type: ignore[arg-type]  # needs nothing of the world
    prediction = Prediction(asset(3), (BOX, POLYGON, MASK), ())
    delivered = Delivered.parse(delivered_object(PLAN, item, prediction, threshold))
    assert len(delivered.found) == count
    assert delivered.differs_from(prediction, CLASSES, threshold) == ""
    assert delivered.differs_from(prediction, CLASSES, 0.75 if count != 3 else 0.99)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"loopline": {}}', b"\xff"])
def test_what_is_no_delivered_object_is_refused(data: bytes) -> None:
    with pytest.raises(Exception, match="it is not a delivered object"):
        Delivered.parse(data)
