"""Fetching a slice: what is bad is dropped with a reason, what is good goes on, within bounds."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loopline.digests import sha256_hex
from loopline.errors import NotFound, Rejected
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from services.ingest.adapters import fetching
from services.ingest.adapters.decoding import look_at
from services.ingest.adapters.fetching import Fetcher
from services.ingest.domain.checks import Rules
from services.ingest.domain.drops import Reason
from services.ingest.domain.plan import Entry, Findings, Listed
from tests.unit.ingest.shop import ShopBucket, encoded, png
from tests.unit.vision.test_headers import bomb

RULES = Rules(
    min_side_px=16,
    max_megapixels=100,
    max_object_bytes=1_000_000,
    drop_near_duplicates=True,
    near_duplicate_bits=6,
)


def entries(bucket: ShopBucket) -> list[Entry]:
    return [Entry(Listed(info.key, info.etag, info.size_bytes)) for info in bucket.list("")]


@asynccontextmanager
async def fetcher(objects: ObjectStore, **fields: Any) -> AsyncIterator[Fetcher]:
    one = Fetcher(objects, **{"threads": 4, "batch_bytes": 10**6, **fields})
    yield one
    one.close()
    objects.close()


async def fetched(bucket: ShopBucket, listed: list[Entry] | None = None, **fields: Any) -> Findings:
    async with fetcher(ObjectStore(MemoryBlobs(), "test"), **fields) as one:
        return await one.fetch(entries(bucket) if listed is None else listed, bucket, RULES)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        pytest.param(b"", Reason.EMPTY, "0 bytes", id="zero-bytes"),
        pytest.param(b"not a picture", Reason.NOT_AN_IMAGE, "13 bytes", id="text"),
        pytest.param(b"%PDF-1.7 ...", Reason.NOT_AN_IMAGE, "not a PNG", id="pdf"),
        pytest.param(png(0)[:40], Reason.CORRUPT, "ends early", id="truncated"),
        pytest.param(bomb(100, 100), Reason.CORRUPT, "not an image", id="no-pixel-data"),
        pytest.param(bomb(20_000, 20_000), Reason.TOO_LARGE, "20000 x 20000", id="bomb"),
        pytest.param(
            encoded(np.zeros((8, 8), np.uint8)), Reason.TOO_SMALL, "8 x 8 pixels", id="thumbnail"
        ),
        pytest.param(bytes(1_000_001), Reason.TOO_MANY_BYTES, "1000001 bytes", id="huge"),
    ],
)
async def test_bad_object_is_dropped_with_its_reason_and_the_good_one_goes_on(
    data: bytes, reason: Reason, detail: str
) -> None:
    bucket = ShopBucket()
    bucket.put("bad.png", data)
    bucket.put("good.png", png(0))
    findings = await fetched(bucket)
    [drop] = findings.drops
    assert (drop.key, drop.reason) == ("bad.png", reason)
    assert detail in drop.detail
    assert bool(drop.picture) == (reason is Reason.TOO_SMALL), "what can be decoded is shown"
    assert [arrival.key for arrival in findings.arrivals] == ["good.png"]


async def test_good_image_is_stored_under_its_hash() -> None:
    bucket, objects = ShopBucket(), ObjectStore(MemoryBlobs(), "test")
    bucket.put("a.png", png(0))
    async with fetcher(objects) as one:
        [arrival] = (await one.fetch(entries(bucket), bucket, RULES)).arrivals
        assert arrival.asset == sha256_hex(png(0))
        assert await objects.get(Area.ASSETS, arrival.asset) == png(0)
    assert (arrival.media_type, arrival.width_px, arrival.height_px) == ("image/png", 28, 28)
    assert arrival.phash != 0


async def test_bad_image_is_not_stored() -> None:
    blobs, bucket = MemoryBlobs(), ShopBucket()
    bucket.put("bad.png", png(0)[:-20])
    async with fetcher(ObjectStore(blobs, "test")) as one:
        await one.fetch(entries(bucket), bucket, RULES)
    assert list(blobs.list("")) == []


async def test_object_deleted_after_listing_is_dropped() -> None:
    bucket = ShopBucket()
    for n in range(3):
        bucket.put(f"{n}.png", png(n))
    listed = entries(bucket)
    bucket.delete("1.png")
    findings = await fetched(bucket, listed)
    assert [(d.key, d.reason) for d in findings.drops] == [("1.png", Reason.DELETED)]
    assert len(findings.arrivals) == 2


@pytest.mark.parametrize(
    "change", [png(1), png(1) + b"\0", png(0)[:-1]], ids=["other", "more", "less"]
)
async def test_object_changed_after_listing_is_dropped(change: bytes) -> None:
    """What was planned is what is imported: the run's key says what was listed."""
    bucket = ShopBucket()
    bucket.put("a.png", png(0))
    listed = entries(bucket)
    bucket.put("a.png", change)
    findings = await fetched(bucket, listed)
    assert [drop.reason for drop in findings.drops] == [Reason.CHANGED]


async def test_pixel_bomb_costs_no_memory() -> None:
    """400 megapixels in a few bytes are refused by the header: nothing is allocated for them."""
    bucket = ShopBucket()
    for n in range(8):
        bucket.put(f"{n}.png", bomb(20_000, 20_000 + n))
    tracemalloc.start()
    findings = await fetched(bucket)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {drop.reason for drop in findings.drops} == {Reason.TOO_LARGE}
    assert peak_bytes < 10_000_000


async def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def watched(*arguments: Any) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        look = look_at(*arguments)
        with lock:
            at_once -= 1
        return look

    monkeypatch.setattr(fetching, "look_at", watched)
    monkeypatch.setattr(fetching, "LARGE_PIXELS", 100)
    bucket = ShopBucket()
    for n in range(40):
        bucket.put(f"{n}.png", png(n))
    assert len((await fetched(bucket, threads=8)).arrivals) == 40
    assert most == 1


async def test_names_with_spaces_and_unicode_arrive_as_they_are() -> None:
    names = ["a b.png", "Été/robe à fleurs.png", "製品 写真.png", "x+y&z=1#%20.png", "e\u0301.png"]
    bucket = ShopBucket()
    for n, name in enumerate(names):
        bucket.put(name, png(n))
    assert {arrival.key for arrival in (await fetched(bucket)).arrivals} == set(names)


class Watched(ShopBucket):
    """A bucket that counts the bytes that are read and not yet given back."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        self.requests += 1
        return super().get_version(key, limit_bytes=limit_bytes)


async def test_object_too_large_to_import_is_not_even_read() -> None:
    bucket = Watched()
    bucket.put("huge.png", bytes(1_000_001))
    await fetched(bucket)
    assert bucket.requests == 0


def test_batches_hold_no_more_bytes_than_told() -> None:
    listed = [Entry(Listed(str(n), "", size)) for n, size in enumerate([40, 40, 40, 500, 10, 10])]
    batches: Iterator[list[Entry]] = fetching._batches(listed, 100)
    assert [[entry.listed.size_bytes for entry in batch] for batch in batches] == [
        [40, 40],
        [40],
        [500],
        [10, 10],
    ]


class Refusing(ShopBucket):
    """A bucket that refuses our key once it is read."""

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        raise Rejected("the bucket 'photos' refuses our key (AccessDenied)")


async def test_refused_key_fails_the_slice_instead_of_dropping_everything() -> None:
    bucket = Refusing()
    bucket.put("a.png", png(0))
    with pytest.raises(Rejected, match="refuses our key"):
        await fetched(bucket)


async def test_same_slice_gives_the_same_findings_whatever_the_threads() -> None:
    bucket = ShopBucket()
    for n in range(60):
        bucket.put(f"{n:02}.png", png(n % 50))
    found = [await fetched(bucket, threads=threads) for threads in (1, 3, 16)]
    ordered = [replace(f, arrivals=tuple(sorted(f.arrivals, key=lambda a: a.key))) for f in found]
    assert ordered[0] == ordered[1] == ordered[2]


def test_missing_object_is_an_error_of_ours() -> None:
    with pytest.raises(NotFound):
        ShopBucket().get_version("gone", limit_bytes=1)
