"""Content-addressed objects: bytes live under the sha256 of their content.

Writing makes nothing visible; a commit does. Reading checks the hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TypeVar

from loopline import tracing
from loopline.digests import is_digest, sha256_hex
from loopline.errors import Corrupt
from loopline.failpoints import failpoint
from loopline.store.blobs import BlobInfo, BlobStore

LIST_PAGE = 1000  # objects handed over from the listing thread at a time
S = TypeVar("S")
T = TypeVar("T")
Results = list[T]  # within the class, `list` is the method


class Area(StrEnum):
    """Where an object lives below the workspace: what an identity may be granted."""

    ASSETS = "assets"
    TREES = "trees"
    MODELS = "models"
    REPORTS = "reports"
    CHECKPOINTS = "checkpoints"
    PLANS = "plans"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    digest: str
    size_bytes: int
    modified_at: datetime


class ObjectStore:
    """Objects of one workspace.

    Args:
        blobs: Where the bytes go.
        workspace: First part of every key.
        concurrency: Threads, and so requests in flight at once.
    """

    def __init__(self, blobs: BlobStore, workspace: str, *, concurrency: int = 16) -> None:
        self.blobs = blobs
        self.workspace = workspace
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="objects")

    def key(self, area: Area, digest: str) -> str:
        """Return the blob key of an object."""
        return f"{self.workspace}/{area}/{digest[:2]}/{digest}"

    async def put(self, area: Area, data: bytes) -> str:
        """Store `data` and return its digest; storing it again changes nothing."""
        failpoint("before_write")
        with tracing.storage("put", area):
            return await self._run(lambda: self._put(area, data))

    async def put_many(self, area: Area, blobs: Sequence[bytes]) -> list[str]:
        """Store each of `blobs`, many at once; return their digests in the same order."""
        failpoint("before_write")
        with tracing.storage("put", area, len(blobs)):
            return await self._each(lambda data: self._put(area, data), blobs)

    def put_now(self, area: Area, data: bytes) -> str:
        """Store `data` as `put` does, blocking: for work that has threads of its own."""
        failpoint("before_write")
        return self._put(area, data)

    async def get(self, area: Area, digest: str) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFound: There is no such object.
            Corrupt: The bytes do not hash to the digest.
        """
        with tracing.storage("get", area):
            return await self._run(lambda: self._get(area, digest))

    async def get_many(self, area: Area, digests: Sequence[str]) -> list[bytes]:
        """Return the bytes of each object, read many at once, in the same order."""
        with tracing.storage("get", area, len(digests)):
            return await self._each(lambda digest: self._get(area, digest), digests)

    async def exists(self, area: Area, digest: str) -> bool:
        """Tell whether the object is there, without reading it."""
        return await self._run(lambda: self.blobs.stat(self.key(area, digest))) is not None

    async def list(self, area: Area) -> AsyncIterator[ObjectInfo]:
        """Yield every object of an area, sorted by digest."""
        found = iter(self.blobs.list(f"{self.workspace}/{area}/"))
        while page := await self._run(lambda: _page(found)):
            for info in page:
                digest = info.key.rpartition("/")[2]
                if is_digest(digest):
                    yield ObjectInfo(digest, info.size_bytes, info.modified_at)

    async def delete(self, area: Area, digest: str) -> None:
        """Remove an object; only garbage collection does."""
        await self._run(lambda: self.blobs.delete(self.key(area, digest)))

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _put(self, area: Area, data: bytes) -> str:
        digest = sha256_hex(data)
        self.blobs.put(self.key(area, digest), data)
        return digest

    def _get(self, area: Area, digest: str) -> bytes:
        data = self.blobs.get(self.key(area, digest))
        if sha256_hex(data) != digest:
            raise Corrupt(f"the object {area}/{digest} does not hash to its name", digest=digest)
        return data

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _each(self, call: Callable[[S], T], values: Sequence[S]) -> Results[T]:
        return list(await asyncio.gather(*(self._run(partial(call, v)) for v in values)))


def _page(found: Iterator[BlobInfo]) -> list[BlobInfo]:
    return list(islice(found, LIST_PAGE))
