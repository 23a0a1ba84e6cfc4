"""`client.dataset`: versions of datasets.

Generated from `loopline.client.datasets` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loopline.client import datasets as _datasets
from loopline.client.datasets import Columns, DatasetVersion, DatasetVersions, Leaks
from loopline.client.folders import Imported
from loopline.client.portal import Portal
from loopline.store.items import Item
from loopline.store.trees import Diff


class DatasetVerbs:
    """What can be done with datasets. Versions are written `catalogue@v3` or `catalogue@<tag>`."""

    def __init__(self, portal: Portal, client: _datasets.DatasetVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> DatasetVersions:
        """Return the head of every dataset."""
        return self._portal.call(self._client.list())

    def log(self, name: str) -> DatasetVersions:
        """Return a dataset's versions, newest first; NotFound if there is no such dataset."""
        return self._portal.call(self._client.log(name))

    def get(self, version: str) -> DatasetVersion:
        """Return one version; NotFound if there is none of that name, number or tag."""
        return self._portal.call(self._client.get(version))

    def items(self, version: str, columns: Columns | None = None) -> Iterator[Item]:
        """Yield a version's items, sorted by asset; only these columns are read if named."""
        return self._portal.iterate(self._client.items(version, columns))

    def diff(self, before: str, after: str) -> Diff[Item]:
        """Return what was added, removed and changed from one version to another."""
        return self._portal.call(self._client.diff(before, after))

    def leaks(self, version: str) -> Leaks:
        """Return what two splits of a version have in common: copies, and what was made of them."""
        return self._portal.call(self._client.leaks(version))

    def restore(self, version: str) -> DatasetVersion:
        """Commit a new version whose items are those of `version`."""
        return self._portal.call(self._client.restore(version))

    def tag(self, version: str, tag: str) -> DatasetVersion:
        """Name a version; a tag can be moved."""
        return self._portal.call(self._client.tag(version, tag))

    def export(self, version: str, folder: Path, *, format: str = "coco") -> int:
        """Write images, labels in a format and items.csv below `folder`; return how many images.

        Args:
            version: What to write.
            folder: New, or empty.
            format: One of `loopline.formats.registry.FORMATS`.

        Raises:
            Rejected: The folder exists and is not empty, or there is no such format.
        """
        return self._portal.call(self._client.export(version, folder, format=format))

    def import_folder(self, name: str, path: Path, *, format: str = "coco") -> Imported:
        """Commit the images and labels of a folder (or file) in a format to a dataset.

        An image is the item whose bytes it has; where there is only its name, the item that was
        imported from such a file. Images that the dataset does not have are added. Labels take the
        place of those that an item has.

        Raises:
            Rejected: A file cannot be; nothing is committed then.
        """
        return self._portal.call(self._client.import_folder(name, path, format=format))
