"""`client.dataset`: versions of datasets."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from pathlib import Path

from loopline.client.coco import coco_document
from loopline.client.refs import parse_ref, show_ref
from loopline.client.session import Session
from loopline.contracts import ArtefactKind, ArtefactRef, DatasetCommitted, RunKind, catalog
from loopline.digests import canonical_json
from loopline.errors import NotFound, Rejected
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.store.trees import Diff

EXPORT_PAGE = 256  # images read at a time
EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "image/gif": ".gif",
}

DatasetVersion = Committed[DatasetCommitted]
DatasetVersions = list[DatasetVersion]  # within the class, `list` is the method
Columns = list[str]


class DatasetVerbs:
    """What can be done with datasets. Versions are written `catalogue@v3` or `catalogue@<tag>`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> DatasetVersions:
        """Return the head of every dataset."""
        return await self._session.log.heads(catalog.DATASET_COMMITTED)

    async def log(self, name: str) -> DatasetVersions:
        """Return a dataset's versions, newest first; NotFound if there is no such dataset."""
        ref, _ = parse_ref(name, ArtefactKind.ARTEFACT_KIND_DATASET)
        history = await self._session.log.history(catalog.DATASET_COMMITTED, name=ref.name)
        if not history:
            raise NotFound(f"there is no dataset {name!r}", dataset=name)
        return history[::-1]

    async def get(self, version: str) -> DatasetVersion:
        """Return one version; NotFound if there is none of that name, number or tag."""
        return await self._session.datasets.version(await self._resolve(version))

    async def items(self, version: str, columns: Columns | None = None) -> AsyncIterator[Item]:
        """Yield a version's items, sorted by asset; only these columns are read if named."""
        tree = await self._session.datasets.tree(await self.get(version))
        async for item in tree.rows(columns):
            yield item

    async def diff(self, before: str, after: str) -> Diff[Item]:
        """Return what was added, removed and changed from one version to another."""
        datasets = self._session.datasets
        a, b = await self.get(before), await self.get(after)
        return await datasets.trees.diff(await datasets.tree(a), await datasets.tree(b))

    async def restore(self, version: str) -> DatasetVersion:
        """Commit a new version whose items are those of `version`."""
        target = await self.get(version)
        name = target.ref.name
        run = await self._session.edit(RunKind.RUN_KIND_RESTORE, name, _as_input(target.ref))
        return await self._session.datasets.restore(
            name, target.ref, run=run, summary=f"restored {show_ref(target.ref)}"
        )

    async def tag(self, version: str, tag: str) -> DatasetVersion:
        """Name a version; a tag can be moved."""
        target = await self.get(version)
        run = await self._session.edit(
            RunKind.RUN_KIND_EDIT, target.ref.name, _as_input(target.ref), tag=tag
        )
        return await self._session.datasets.tag(target.ref.name, tag, target.ref, run=run)

    async def export(self, version: str, folder: Path) -> int:
        """Write images/, coco.json and items.csv below `folder`; return how many images.

        Raises:
            Rejected: The folder exists and is not empty.
        """
        await asyncio.to_thread(_prepare, folder)
        committed = await self.get(version)
        images = folder / "images"
        items = [item async for item in self.items(version)]
        for start in range(0, len(items), EXPORT_PAGE):
            page = items[start : start + EXPORT_PAGE]
            blobs = await self._session.objects.get_many(Area.ASSETS, [i.asset for i in page])
            await asyncio.to_thread(_write_images, images, page, blobs)
        document = coco_document(items, list(committed.message.classes), file_name)
        await asyncio.to_thread((folder / "coco.json").write_bytes, canonical_json(document))
        await asyncio.to_thread(_write_csv, folder / "items.csv", items)
        return len(items)

    async def _resolve(self, version: str) -> ArtefactRef:
        ref, tag = parse_ref(version, ArtefactKind.ARTEFACT_KIND_DATASET)
        if tag:
            head = await self._session.datasets.head(ref.name)
            if head is None or tag not in head.message.tags:
                raise NotFound(f"the dataset {ref.name!r} has no tag {tag!r}", tag=tag)
            ref.version = head.message.tags[tag]
        return ref


def _as_input(ref: ArtefactRef) -> ArtefactRef:
    taken = ArtefactRef()
    taken.CopyFrom(ref)
    taken.role = "version"
    return taken


def file_name(item: Item) -> str:
    """Return the name an item's image is exported under."""
    return item.asset + EXTENSIONS.get(item.media_type, ".img")


def _prepare(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise Rejected(f"{folder} is not empty", folder=str(folder))
    (folder / "images").mkdir(parents=True, exist_ok=True)


def _write_images(folder: Path, items: list[Item], blobs: list[bytes]) -> None:
    for item, data in zip(items, blobs, strict=True):
        (folder / file_name(item)).write_bytes(data)


def _write_csv(path: Path, items: list[Item]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "split", "source"])
        for item in items:
            name = item.shapes[0].class_name if item.labeled and item.shapes else ""
            writer.writerow([file_name(item), name, item.split, item.source])
