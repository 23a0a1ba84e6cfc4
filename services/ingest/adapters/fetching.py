"""Objects of the customer's bucket become assets: read, checked, decoded, hashed and stored.

A batch of objects goes through three steps, each in threads: read from the bucket, check and
decode, store. A batch is bounded in objects and in bytes, so that memory is. Reading waits for the
network and takes many threads; decoding takes processors.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from loopline.errors import NotFound
from loopline.store.objects import Area, ObjectStore
from loopline.vision.headers import NotAnImage, Truncated, read_header
from loopline.vision.perceptual import perceptual_hashes, stack
from services.ingest.adapters.decoding import Look, look_at
from services.ingest.domain.checks import Rules, check_bytes, check_header
from services.ingest.domain.drops import Drop, Reason, Unfit, picture_of
from services.ingest.domain.plan import Arrival, Entry, Findings
from services.ingest.domain.ports import ImageSource

LARGE_PIXELS: Final = 16_000_000
"""Images above this are decoded one at a time: 100 megapixels per thread would be gigabytes."""
BATCH_OBJECTS: Final = 256

T = TypeVar("T")
R = TypeVar("R")


class Fetcher:
    """Fetches slices of a plan.

    Args:
        objects: Where assets are stored.
        threads: Objects being read or stored at once.
        decoders: Images being decoded at once; 0 for as many as there are processors.
        batch_bytes: Encoded bytes in work at once, per slice.
    """

    def __init__(
        self, objects: ObjectStore, *, threads: int, decoders: int = 0, batch_bytes: int
    ) -> None:
        self._objects = objects
        self._readers = _Pool("fetch", threads)
        # Decoding lets go of the interpreter for microseconds: many threads would only fight for
        # it.
        self._decoders = _Pool("decode", decoders or os.cpu_count() or 1)
        self._batch_bytes = batch_bytes
        self._large = threading.Lock()

    def close(self) -> None:
        """Let the threads go."""
        self._readers.close()
        self._decoders.close()

    async def fetch(self, entries: Sequence[Entry], source: ImageSource, rules: Rules) -> Findings:
        """Return what became of each entry.

        Raises:
            Rejected: The bucket refuses the key.
            Transient: The bucket or our own storage did not answer.
        """
        arrivals: list[Arrival] = []
        drops: list[Drop] = []
        for batch in _batches(entries, self._batch_bytes):
            seen, dropped = await self._batch(batch, source, rules)
            arrivals += seen
            drops += dropped
        return Findings(tuple(arrivals), tuple(drops))

    async def _batch(
        self, batch: Sequence[Entry], source: ImageSource, rules: Rules
    ) -> tuple[list[Arrival], list[Drop]]:
        drops: list[Drop] = []
        fetched = await self._readers.each(lambda entry: _read(entry, source, rules), batch)
        read = _without_drops(fetched, drops)
        looked = await self._decoders.each(lambda one: self._look(one, rules), read)
        seen = _without_drops(looked, drops)
        assets = await self._readers.each(lambda one: self._store(one.data), seen)
        hashes = perceptual_hashes(stack([one.look.thumbprint for one in seen]))
        arrivals = [
            Arrival(
                key=one.entry.listed.key,
                asset=asset,
                media_type=one.media_type,
                size_bytes=len(one.data),
                width_px=one.look.width_px,
                height_px=one.look.height_px,
                phash=phash,
                thumbprint=one.look.thumbprint,
                labels=one.entry.labels,
            )
            for one, asset, phash in zip(seen, assets, hashes.tolist(), strict=True)
        ]
        return arrivals, drops

    def _look(self, read: _Read, rules: Rules) -> _Seen | Drop:
        try:
            header = check_header(read.data, rules)
            if header.pixels > LARGE_PIXELS:
                with self._large:
                    look = look_at(read.data, header)
            else:
                look = look_at(read.data, header)
        except Unfit as unfit:
            picture = _picture(read.data) if unfit.reason is Reason.TOO_SMALL else ""
            return Drop(read.entry.listed.key, unfit.reason, unfit.message, picture=picture)
        return _Seen(read.entry, read.data, header.media_type, look)

    def _store(self, data: bytes) -> str:
        return self._objects.put_now(Area.ASSETS, data)


def _picture(data: bytes) -> str:
    """Return what people are shown of an image that is too small; "" if it is broken, too."""
    try:
        return picture_of(look_at(data, read_header(data)).thumbprint)
    except (Unfit, NotAnImage, Truncated):
        return ""


class _Read(NamedTuple):
    """An object that was read."""

    entry: Entry
    data: bytes


class _Seen(NamedTuple):
    """An image that was read and decoded."""

    entry: Entry
    data: bytes
    media_type: str
    look: Look


class _Pool:
    """Threads that share a batch: a few objects each, since a hand-over costs 50 us."""

    def __init__(self, name: str, threads: int) -> None:
        self._count = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def each(self, call: Callable[[T], R], values: Sequence[T]) -> list[R]:
        """Return what `call` makes of each value, in their order."""
        size = -(-len(values) // self._count) or 1
        shares = [values[start : start + size] for start in range(0, len(values), size)]

        def work(share: Sequence[T]) -> list[R]:
            return [call(value) for value in share]

        loop = asyncio.get_running_loop()
        done = await asyncio.gather(
            *(loop.run_in_executor(self._threads, work, share) for share in shares)
        )
        return [one for some in done for one in some]


def _read(entry: Entry, source: ImageSource, rules: Rules) -> _Read | Drop:
    listed = entry.listed
    try:
        check_bytes(listed.size_bytes, rules)
        data, etag = source.get_version(listed.key, limit_bytes=listed.size_bytes + 1)
    except Unfit as unfit:
        return Drop(listed.key, unfit.reason, unfit.message)
    except NotFound:
        return Drop(listed.key, Reason.DELETED, "it was there when the bucket was listed")
    if len(data) != listed.size_bytes or etag != listed.etag:
        return Drop(listed.key, Reason.CHANGED, "it is not what it was when it was listed")
    return _Read(entry, data)


def _without_drops(found: Iterable[T | Drop], drops: list[Drop]) -> list[T]:
    """Return what is no drop, and append the drops to `drops`."""
    kept: list[T] = []
    for one in found:
        if isinstance(one, Drop):
            drops.append(one)
        else:
            kept.append(one)
    return kept


def _batches(entries: Sequence[Entry], limit_bytes: int) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        full = len(batch) >= BATCH_OBJECTS or size_bytes + entry.listed.size_bytes > limit_bytes
        if batch and full:
            yield batch
            batch, size_bytes = [], 0
        batch.append(entry)
        size_bytes += entry.listed.size_bytes
    if batch:
        yield batch
