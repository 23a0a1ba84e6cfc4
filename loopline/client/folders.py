"""Datasets to and from folders of other tools' formats, a page of images at a time."""

from __future__ import annotations

import asyncio
import csv
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loopline.digests import is_digest, sha256_hex
from loopline.errors import Rejected
from loopline.formats.labeled import LabeledImage, image_file, labeled_image
from loopline.formats.registry import Format
from loopline.store.items import Item, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.vision.headers import read_header

if TYPE_CHECKING:
    from loopline.vision.perceptual import Hashes

PAGE = 128  # images read or written at a time
WAITING_MAX = 4 * PAGE  # labels between the reader and the writer
TRAINING_SPLIT = "train"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of importing a folder.

    Attributes:
        added: Images that the dataset did not have.
        labeled: Items that got labels, those that were added among them.
        missing: Files that are neither in the folder nor in the dataset, the first hundred.
    """

    added: int
    labeled: int
    missing: tuple[str, ...]


class _Labels:
    """Hands labels from an event loop to a writer in a thread; holds few."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[LabeledImage | None] = queue.Queue(WAITING_MAX)
        self._broken = threading.Event()

    def __iter__(self) -> Iterator[LabeledImage]:
        while (image := self._waiting.get()) is not None:
            yield image

    def put(self, image: LabeledImage | None) -> None:
        """Wait for room; gives up once nobody reads."""
        while not self._broken.is_set():
            try:
                self._waiting.put(image, timeout=0.1)
            except queue.Full:
                continue
            return

    @contextmanager
    def reading(self) -> Iterator[_Labels]:
        """Yield itself to the one who reads."""
        try:
            yield self
        finally:
            self._broken.set()


async def export_folder(
    items: AsyncIterator[Item],
    objects: ObjectStore,
    folder: Path,
    made: Format,
    classes: Sequence[str],
) -> int:
    """Write images, their labels in a format and `items.csv`; return how many images.

    Args:
        items: What to write.
        objects: Where the images are.
        folder: There, and empty.
        made: The format.
        classes: Class names in the order of their numbers.
    """
    labels = _Labels()

    def write() -> None:
        with labels.reading() as images:
            made.write(images, folder, classes)

    writing = asyncio.create_task(asyncio.to_thread(write))
    count = 0
    try:
        with (folder / "items.csv").open("w", newline="") as table:
            rows = csv.writer(table)
            rows.writerow(["file", "class", "split", "source"])
            async for page in _pages(items):
                blobs = await objects.get_many(Area.ASSETS, [item.asset for item in page])
                await asyncio.to_thread(_write_images, folder, made, page, blobs)
                rows.writerows(_row(item) for item in page)
                for item in page:
                    await asyncio.to_thread(labels.put, labeled_image(item))
                count += len(page)
    finally:
        await asyncio.to_thread(labels.put, None)
        await writing
    return count


async def _pages(items: AsyncIterator[Item]) -> AsyncIterator[list[Item]]:
    page: list[Item] = []
    async for item in items:
        page.append(item)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _row(item: Item) -> list[str]:
    name = item.shapes[0].class_name if item.labeled and item.shapes else ""
    return [image_file(item), name, item.split, item.source]


def _write_images(
    folder: Path, made: Format, items: Sequence[Item], blobs: Sequence[bytes]
) -> None:
    for item, data in zip(items, blobs, strict=True):
        path = folder / made.image_path(labeled_image(item))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class FolderReader:
    """Makes items of a folder's images and labels.

    Args:
        folder: The folder, or a file of labels in it.
        made: The format.
        known: Items of the dataset, by asset.
        source: Of the shapes: "import:<run id>".
    """

    def __init__(self, folder: Path, made: Format, known: dict[str, Item], source: str) -> None:
        self._path = folder
        self._folder = folder if folder.is_dir() else folder.parent
        self._made = made
        self._known = known
        self._source = source
        self._by_name = _by_name(known.values())
        self.missing: list[str] = []

    def pages(self) -> Iterator[list[tuple[Item, bytes | None]]]:
        """Yield items with the bytes of those that are new, a page at a time.

        Raises:
            Rejected: A file of labels or an image cannot be.
        """
        images = self._made.read(self._path)
        while page := list(islice(images, PAGE)):
            yield _with_hashes([found for image in page if (found := self._item(image))])

    def _item(self, image: LabeledImage) -> tuple[Item, bytes | None] | None:
        data = self._bytes(image)
        asset = sha256_hex(data) if data is not None else self._asset_named(image.file_name)
        if asset in self._known:
            return self._labeled(self._known[asset], image), None
        if data is None:
            self.missing.append(image.file_name)
            return None
        return self._labeled(_new_item(asset, data, self._folder / image.file_name), image), data

    def _labeled(self, item: Item, image: LabeledImage) -> Item:
        if (item.width_px, item.height_px) != (image.width_px, image.height_px):
            raise Rejected(
                f"{image.file_name} has {item.width_px} x {item.height_px} pixels, its labels say "
                f"{image.width_px} x {image.height_px}"
            )
        if not image.labeled:
            return replace(item, split=item.split or image.split)
        shapes = tuple(self._own(shape) for shape in image.shapes)
        split = item.split or image.split or TRAINING_SPLIT
        tags = tuple(dict.fromkeys((*item.tags, *image.tags)))
        return replace(item, shapes=shapes, labeled=True, split=split, tags=tags)

    def _own(self, shape: Shape) -> Shape:
        return replace(shape, source=self._source, review="", edited_from="")

    def _bytes(self, image: LabeledImage) -> bytes | None:
        places = (self._made.image_path(image), image.file_name, f"images/{image.file_name}")
        for place in places:
            path = (self._folder / place).resolve()
            if path.is_relative_to(self._folder.resolve()) and path.is_file():
                return path.read_bytes()
        return None

    def _asset_named(self, name: str) -> str:
        stem = Path(name).stem
        return stem if is_digest(stem) else self._by_name.get(Path(name).name, "")


def _by_name(items: Iterable[Item]) -> dict[str, str]:
    """Return assets by the name of the file they were imported from, where only one has it."""
    found: dict[str, str] = {}
    for item in items:
        name = item.source.rpartition("/")[2]
        found[name] = "" if name in found else item.asset
    return {name: asset for name, asset in found.items() if name and asset}


def _new_item(asset: str, data: bytes, path: Path) -> Item:
    from loopline.vision.images import decode

    header = read_header(data)
    height, width = decode(data, 1).shape[:2]  # upright
    source = path.absolute().as_uri()
    return Item(asset, header.media_type, len(data), width, height, source=source)


def _with_hashes(
    page: list[tuple[Item, bytes | None]],
) -> list[tuple[Item, bytes | None]]:
    """Return a page whose new items have what look-alikes are found by."""
    new = [data for _, data in page if data is not None]
    if not new:
        return page
    from loopline.vision.perceptual import perceptual_hashes, stack

    prints = [_thumbprint(data) for data in new]
    hashes: Hashes = perceptual_hashes(stack(prints))
    found = iter(zip(prints, hashes, strict=True))
    made: list[tuple[Item, bytes | None]] = []
    for item, data in page:
        if data is None:
            made.append((item, None))
            continue
        thumbprint, value = next(found)
        made.append((replace(item, thumbprint=thumbprint, phash=int(value)), data))
    return made


def _thumbprint(data: bytes) -> bytes:
    import cv2

    from loopline.vision.images import decode
    from loopline.vision.perceptual import THUMBPRINT_SIDE_PX

    grey = decode(data, 1)[:, :, 0]
    side = (THUMBPRINT_SIDE_PX, THUMBPRINT_SIDE_PX)
    shrinks = min(grey.shape) >= THUMBPRINT_SIDE_PX
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return bytes(cv2.resize(grey, side, interpolation=how).tobytes())
