"""Images on this machine's disk under their digest, fetched once, least recently used out first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from loopline.errors import Rejected, Transient
from loopline.store.objects import Area, ObjectStore
from services.trainer.adapters.files import write_whole

FETCHED_AT_ONCE: Final = 64  # images in memory between storage and disk


class AssetCache:
    """A folder of at most so many bytes.

    Args:
        objects: Where images come from.
        folder: Where they are kept.
        limit_bytes: How much is kept once nobody needs it.
    """

    def __init__(self, objects: ObjectStore, folder: Path, limit_bytes: int) -> None:
        self._objects = objects
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._pinned: dict[str, int] = {}

    def path(self, asset: str) -> Path:
        """Return where an image is, once it has been fetched."""
        return self._folder / asset[:2] / asset

    @contextlib.contextmanager
    def pinned(self, sizes_bytes: Mapping[str, int]) -> Iterator[None]:
        """Keep these assets from being thrown out within the block, and make room after it.

        Args:
            sizes_bytes: Encoded size by asset.

        Raises:
            Rejected: They are more than the cache may hold.
        """
        wanted = sum(sizes_bytes.values())
        if wanted > self._limit_bytes:
            raise Rejected(
                f"the images to train on are {wanted:,} bytes, and the cache holds "
                f"{self._limit_bytes:,} (LOOPLINE_ASSET_CACHE_BYTES)"
            )
        for asset in sizes_bytes:
            self._pinned[asset] = self._pinned.get(asset, 0) + 1
        try:
            yield
        finally:
            for asset in sizes_bytes:
                self._pinned[asset] -= 1
                if not self._pinned[asset]:
                    del self._pinned[asset]
            self.evict()

    async def fetch(self, assets: Sequence[str]) -> int:
        """Bring assets to disk; return how many had to be fetched.

        Raises:
            Rejected: An asset is missing or damaged in storage.
            Transient: The disk is full.
        """
        missing = await asyncio.to_thread(self._missing, assets)
        keeping: asyncio.Future[None] | None = None
        for start in range(0, len(missing), FETCHED_AT_ONCE):
            some = missing[start : start + FETCHED_AT_ONCE]
            blobs = await self._objects.get_many(Area.ASSETS, some)
            if keeping is not None:  # the disk is written while storage answers
                await keeping
            pairs = zip(some, blobs, strict=True)
            keeping = asyncio.ensure_future(asyncio.to_thread(self._keep, pairs))
        if keeping is not None:
            await keeping
        return len(missing)

    def evict(self) -> int:
        """Throw out what was used longest ago until the rest fits; return the bytes thrown out."""
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime_ns)
        excess = sum(stat.st_size for _, stat in entries) - self._limit_bytes
        freed = 0
        for path, stat in entries:
            if freed >= excess:
                break
            if path.name not in self._pinned:
                path.unlink(missing_ok=True)
                freed += stat.st_size
        return freed

    def _missing(self, assets: Sequence[str]) -> list[str]:
        missing = []
        for asset in assets:
            try:
                os.utime(self.path(asset))  # used now
            except FileNotFoundError:
                missing.append(asset)
        return missing

    def _keep(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        try:
            for asset, data in blobs:
                write_whole(self.path(asset), data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Transient(f"the disk of the image cache is full ({self._folder})") from error
            raise

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                yield path, path.stat()
