"""`client.dataset`: versions of datasets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from loopline.client.folders import FolderReader, Imported, export_folder
from loopline.client.refs import parse_ref, show_ref
from loopline.client.session import Session
from loopline.contracts import ArtefactKind, ArtefactRef, DatasetCommitted, RunKind, catalog
from loopline.errors import NotFound, Rejected
from loopline.formats.registry import find_format
from loopline.names import validate_name
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.store.trees import Diff

if TYPE_CHECKING:  # a client that asks for none needs no numpy
    from loopline.vision.leaks import Leak

DatasetVersion = Committed[DatasetCommitted]
DatasetVersions = list[DatasetVersion]  # within the class, `list` is the method
Columns = list[str]
Leaks = list["Leak"]


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

    async def leaks(self, version: str) -> Leaks:
        """Return what two splits of a version have in common: copies, and what was made of them."""
        from loopline.vision.leaks import Sample, find_leaks  # numpy

        columns = ["asset", "split", "thumbprint", "parent"]
        samples = [
            Sample(item.asset, item.split, item.thumbprint, item.parent)
            async for item in self.items(version, columns)
        ]
        return await asyncio.to_thread(find_leaks, samples)

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

    async def export(self, version: str, folder: Path, *, format: str = "coco") -> int:
        """Write images, labels in a format and items.csv below `folder`; return how many images.

        Args:
            version: What to write.
            folder: New, or empty.
            format: One of `loopline.formats.registry.FORMATS`.

        Raises:
            Rejected: The folder exists and is not empty, or there is no such format.
        """
        made = find_format(format)
        committed = await self.get(version)
        await asyncio.to_thread(_prepare, folder)
        classes = list(committed.message.classes)
        objects, items = self._session.objects, self.items(version)
        return await export_folder(items, objects, folder, made, classes)

    async def import_folder(self, name: str, path: Path, *, format: str = "coco") -> Imported:
        """Commit the images and labels of a folder (or file) in a format to a dataset.

        An image is the item whose bytes it has; where there is only its name, the item that was
        imported from such a file. Images that the dataset does not have are added. Labels take the
        place of those that an item has.

        Raises:
            Rejected: A file cannot be; nothing is committed then.
        """
        made, session = find_format(format), self._session
        validate_name("dataset", name)
        head = await session.datasets.head(name)
        known = {item.asset: item async for item in self.items(name)} if head else {}
        run = await session.edit(RunKind.RUN_KIND_IMPORT, name, folder=path.name, format=format)
        reader = FolderReader(path, made, known, f"import:{run.id}")
        pages, changed, added = reader.pages(), list[Item](), 0
        while page := await asyncio.to_thread(next, pages, None):
            new = [data for _, data in page if data is not None]
            await session.objects.put_many(Area.ASSETS, new)
            changed += [item for item, _ in page]
            added += len(new)
        found = Imported(added, sum(i.labeled for i in changed), tuple(reader.missing[:100]))
        if changed:
            before = list(head.message.classes) if head else []
            used = dict.fromkeys(shape.class_name for i in changed for shape in i.shapes)
            await session.datasets.commit_changes(
                name,
                changed,
                run=run,
                summary=f"{found.labeled} items labeled, {added} added from {path.name} ({format})",
                classes=[*before, *(c for c in used if c not in before)],
                base=head,
            )
        return found

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


def _prepare(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise Rejected(f"{folder} is not empty", folder=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
