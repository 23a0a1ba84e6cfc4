"""Datasets to folders of other tools' formats, and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from loopline.client.folders import FolderReader, export_folder
from loopline.errors import Rejected
from loopline.formats.registry import FORMATS, find_format
from loopline.store.blobs import MemoryBlobs
from loopline.store.items import Item, Shape
from loopline.store.objects import Area, ObjectStore

COUNT = 300  # more than two pages


def png(number: int) -> bytes:
    image = np.random.default_rng(number).integers(0, 255, (20, 30), np.uint8)
    return bytes(cv2.imencode(".png", image)[1])


async def dataset(objects: ObjectStore, count: int = COUNT) -> list[Item]:
    """Return items whose images are stored, each with a box."""
    items = []
    for number in range(count):
        asset = await objects.put(Area.ASSETS, png(number))
        shape = Shape("1", "ab"[number % 2], bbox_xyxy=(1.5, 2.0, 9.25, 11.0))
        source = f"s3://customer/photos/{number}.png"
        items.append(
            Item(asset, "image/png", 1, 30, 20, "val", (), source, labeled=True, shapes=(shape,))
        )
    return items


async def each(items: list[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore(MemoryBlobs(), "test")


@pytest.mark.parametrize("name", FORMATS)
async def test_a_dataset_goes_out_and_comes_back_as_it_was(
    name: str, objects: ObjectStore, tmp_path: Path
) -> None:
    items, made = await dataset(objects), find_format(name)
    assert await export_folder(each(items), objects, tmp_path, made, ["a", "b"]) == COUNT
    reader = FolderReader(tmp_path, made, {}, "import:run")
    pages = list(reader.pages())
    assert [len(page) for page in pages] == [128, 128, 44]
    found = {item.asset: (item, data) for page in pages for item, data in page}
    for number, item in enumerate(items):
        again, data = found[item.asset]
        assert data == png(number)
        assert (again.width_px, again.height_px, again.split) == (30, 20, "val")
        assert again.shapes[0].class_name == item.shapes[0].class_name
        assert again.shapes[0].bbox_xyxy == pytest.approx(item.shapes[0].bbox_xyxy, abs=1e-6)
        assert again.shapes[0].source == "import:run"
        assert len(again.thumbprint) == 784
        assert again.phash != 0
    assert (tmp_path / "items.csv").read_text().count("\n") == COUNT + 1
    objects.close()


async def test_labels_alone_find_their_items_by_digest_or_by_the_file_they_came_from(
    objects: ObjectStore, tmp_path: Path
) -> None:
    items = await dataset(objects, 3)
    known = {item.asset: item for item in items}
    names = [f"{items[0].asset}.png", "1.png", "nobody.png"]
    (tmp_path / "labels.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": at, "file_name": name, "width": 30, "height": 20}
                    for at, name in enumerate(names)
                ],
                "annotations": [
                    {"id": at, "image_id": at, "category_id": 1, "bbox": [0, 0, 5, 5]}
                    for at in range(3)
                ],
                "categories": [{"id": 1, "name": "new"}],
            }
        )
    )
    reader = FolderReader(tmp_path / "labels.json", find_format("coco"), known, "import:run")
    [page] = reader.pages()
    assert [(item.asset, data) for item, data in page] == [
        (items[0].asset, None), (items[1].asset, None),
    ]  # fmt: skip
    assert page[0][0].shapes[0].class_name == "new"
    assert page[0][0].source == items[0].source
    assert reader.missing == ["nobody.png"]
    objects.close()


async def test_labels_of_another_size_and_files_outside_the_folder_are_refused(
    objects: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    folder = tmp_path / "given"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "x.png").write_bytes(png(2))
    (folder / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    for name, width, reason in (("x.png", 31, "31 x 20"), ("link.png", 30, "")):
        image = {"id": 1, "file_name": name, "width": width, "height": 20}
        (folder / "coco.json").write_text(
            json.dumps({"images": [image], "annotations": [], "categories": []})
        )
        reader = FolderReader(folder, find_format("coco"), {}, "import:run")
        if reason:
            with pytest.raises(Rejected, match=reason):
                list(reader.pages())
        else:
            assert list(reader.pages()) == [[]]
            assert reader.missing == [name]
    objects.close()
