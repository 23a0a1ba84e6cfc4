"""Augmented copies: items of a dataset of their own that point to what they were made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loopline.contracts import ArtefactRef, AugmentDataset, DatasetCommitted, RunKind, catalog
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.testing.memory import delivery
from loopline.vision import masks
from loopline.vision.images import decode
from services.ingest.adapters import augmenting
from tests.unit.ingest.shop import DATASET, Shop, png
from tests.unit.ingest.test_coco import NUCLEI

COPIES = "augmented"
TURNS = {
    "flip_horizontal": True,
    "quarter_turns": True,
    "rotate_degrees": 0,
    "translate": 0,
    "scale": 0,
    "brightness": 0,
    "contrast": 0,
}


@pytest.fixture
async def nuclei(shop: Shop) -> Shop:
    for name in ("train/000-000.png", "train/000-064.png", "test/000-384.png"):
        shop.bucket.put(f"nuclei/{name}", (NUCLEI / name).read_bytes())
    shop.bucket.put("labels.json", (NUCLEI / "labels.json").read_bytes())
    await shop.run(prefix="nuclei/", labels_key="labels.json")
    return shop


def command(parameters: dict[str, Any] | None = None, **fields: Any) -> AugmentDataset:
    message = AugmentDataset(
        **{"dataset": COPIES, "source": ArtefactRef(name=DATASET), "copies": 2, **fields}
    )
    message.parameters.update(parameters or {})
    return message


async def augmented(shop: Shop, message: AugmentDataset) -> Committed[DatasetCommitted]:
    await shop.service.on_augment_dataset(message, delivery(99, source="tests"))
    head = await shop.service.datasets.head(COPIES)
    assert head is not None
    return head


async def items_of(shop: Shop, version: Committed[DatasetCommitted]) -> list[Item]:
    tree = await shop.service.datasets.tree(version)
    return [item async for item in tree.rows()]


async def test_copies_join_the_items_they_were_made_of_and_point_to_them(nuclei: Shop) -> None:
    source = await nuclei.head()
    assert source is not None
    head = await augmented(nuclei, command())
    items = await items_of(nuclei, head)
    before = {item.asset: item for item in await items_of(nuclei, source)}
    copies = [item for item in items if item.parent]
    assert len(items) == 3 + 4
    assert {item.parent for item in copies} == {a for a, i in before.items() if i.split == "train"}
    assert all(item.split == "train" and "augmented" in item.tags for item in copies)
    assert head.message.test_split_digest == source.message.test_split_digest
    run = head.commit.run
    assert run.kind == RunKind.RUN_KIND_AUGMENT
    assert [(ref.name, ref.digest, ref.role) for ref in run.inputs] == [
        (DATASET, source.ref.digest, "source")
    ]


async def test_the_pixels_and_masks_of_a_copy_are_the_parents_turned(nuclei: Shop) -> None:
    head = await augmented(nuclei, command(TURNS, seed=4))
    items = {item.asset: item for item in await items_of(nuclei, head)}
    for copy in [item for item in items.values() if item.parent]:
        parent = items[copy.parent]
        ours, theirs = [await pixels_of(nuclei, item) for item in (copy, parent)]
        drawn, whole = (
            np.array([masks.decode(s.mask_rle or "", 128, 128) for s in item.shapes]).sum(axis=0)
            for item in (copy, parent)
        )
        ways = [(k, flip) for k in range(4) for flip in (False, True)]
        turned = [turn(theirs, *way) for way in ways]
        [way] = [w for w, pixels in zip(ways, turned, strict=True) if (pixels == ours).all()]
        assert (drawn == turn(whole, *way)).all()


async def pixels_of(shop: Shop, item: Item) -> np.ndarray:
    return decode(await shop.service.objects.get(Area.ASSETS, item.asset), 1)[..., 0]


def turn(pixels: np.ndarray, quarters: int, flipped: bool) -> np.ndarray:
    return np.rot90(pixels[:, ::-1] if flipped else pixels, quarters)


async def test_the_same_command_is_done_once_and_another_seed_again(nuclei: Shop) -> None:
    first = await augmented(nuclei, command())
    assert (await augmented(nuclei, command())).ref.version == first.ref.version
    other = await augmented(nuclei, command(seed=1))
    assert other.ref.version == first.ref.version + 1
    assert other.ref.digest != first.ref.digest
    assert other.message.statistics["items"] == first.message.statistics["items"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(command({"twirl": 1}), "'twirl'", id="unknown change"),
        pytest.param(command({"mosaic": 0.5}), "one parent", id="mosaic"),
        pytest.param(command(dataset=DATASET), "another dataset", id="itself"),
        pytest.param(command(copies=101), "at most 100", id="copies"),
        pytest.param(command(split="val"), "no labeled items in split 'val'", id="empty split"),
        pytest.param(command(source=ArtefactRef(name="no")), "no", id="no such dataset"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    nuclei: Shop, message: AugmentDataset, words: str
) -> None:
    with pytest.raises(Rejected, match=words):
        await nuclei.service.on_augment_dataset(message, delivery(99))
    assert nuclei.bus.sent(catalog.RUN_CHANGED)[-1].message


async def test_more_copies_than_one_run_may_make_are_refused(
    nuclei: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmenting, "RUN_COPIES_MAX", 3)
    with pytest.raises(Rejected, match="2 labeled items of split 'train' times 2 are more than"):
        await nuclei.service.on_augment_dataset(command(copies=2), delivery(99))


async def test_a_class_of_the_whole_image_stays(shop: Shop) -> None:
    shop.bucket.put("000.png", png(0))
    shop.bucket.put("labels.csv", b"file,class,split\n000.png,bag,train\n")
    await shop.run(labels_key="labels.csv")
    head = await augmented(shop, command())
    copies = [item for item in await items_of(shop, head) if item.parent]
    assert [[shape.class_name for shape in item.shapes] for item in copies] == [["bag"], ["bag"]]
    assert all(item.asset != sha256_hex(png(0)) for item in copies)
