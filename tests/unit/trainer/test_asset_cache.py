"""Images are fetched once, and the disk they take is bounded."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from loopline.digests import sha256_hex
from loopline.errors import Corrupt, NotFound, Rejected, Transient
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from services.trainer.adapters.asset_cache import AssetCache

IMAGES = [bytes([n]) * 100 for n in range(10)]
ASSETS = [sha256_hex(image) for image in IMAGES]


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
async def objects(blobs: MemoryBlobs) -> ObjectStore:
    store = ObjectStore(blobs, "default")
    await store.put_many(Area.ASSETS, IMAGES)
    return store


def cache_of(objects: ObjectStore, folder: Path, limit_bytes: int = 1000) -> AssetCache:
    return AssetCache(objects, folder / "assets", limit_bytes)


async def test_an_image_is_fetched_once(objects: ObjectStore, tmp_path: Path) -> None:
    cache = cache_of(objects, tmp_path)
    assert await cache.fetch(ASSETS[:3]) == 3
    assert await cache.fetch(ASSETS[:4]) == 1
    assert cache.path(ASSETS[0]).read_bytes() == IMAGES[0]
    assert await cache_of(objects, tmp_path).fetch(ASSETS[:4]) == 0  # another process finds them


async def test_what_was_used_longest_ago_is_thrown_out_first(
    objects: ObjectStore, tmp_path: Path
) -> None:
    cache = cache_of(objects, tmp_path, limit_bytes=300)
    await cache.fetch(ASSETS[:5])
    for age, asset in enumerate(ASSETS[:5]):
        os.utime(cache.path(asset), (1000 + age, 1000 + age))
    await cache.fetch(ASSETS[:1])  # used again
    assert cache.evict() == 200
    assert [cache.path(asset).exists() for asset in ASSETS[:5]] == [True, False, False, True, True]


async def test_images_of_a_running_training_stay(objects: ObjectStore, tmp_path: Path) -> None:
    cache = cache_of(objects, tmp_path, limit_bytes=300)
    with cache.pinned(dict.fromkeys(ASSETS[:3], 100)):
        await cache.fetch(ASSETS)
        cache.evict()
        assert all(cache.path(asset).exists() for asset in ASSETS[:3])
        assert not any(cache.path(asset).exists() for asset in ASSETS[3:])


async def test_two_trainings_may_pin_the_same_image(objects: ObjectStore, tmp_path: Path) -> None:
    cache = cache_of(objects, tmp_path, limit_bytes=100)
    with cache.pinned({ASSETS[0]: 100}):
        with cache.pinned({ASSETS[0]: 100}):
            await cache.fetch(ASSETS[:3])
        assert cache.path(ASSETS[0]).exists()


async def test_more_images_than_the_cache_may_hold_are_refused(
    objects: ObjectStore, tmp_path: Path
) -> None:
    cache = cache_of(objects, tmp_path, limit_bytes=300)
    too_many = cache.pinned(dict.fromkeys(ASSETS[:4], 100))
    with pytest.raises(Rejected, match="LOOPLINE_ASSET_CACHE_BYTES"), too_many:
        pass


async def test_a_missing_image_is_named(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="f" * 64):
        await cache_of(objects, tmp_path).fetch([ASSETS[0], "f" * 64])


async def test_a_damaged_image_is_never_kept(
    objects: ObjectStore, blobs: MemoryBlobs, tmp_path: Path
) -> None:
    blobs.put(objects.key(Area.ASSETS, ASSETS[0]), b"something else")
    cache = cache_of(objects, tmp_path)
    with pytest.raises(Corrupt):
        await cache.fetch(ASSETS[:1])
    assert not cache.path(ASSETS[0]).exists()


async def test_a_full_disk_is_tried_again_later_and_leaves_nothing_half_written(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        def __init__(self, **where: object) -> None:
            self.name = str(Path(str(where["dir"])) / ".writing-1")
            Path(self.name).touch()

        def __enter__(self) -> FullDisk:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", FullDisk)
    cache = cache_of(objects, tmp_path)
    with pytest.raises(Transient, match="disk of the image cache is full"):
        await cache.fetch(ASSETS[:1])
    assert [p for p in (tmp_path / "assets").rglob("*") if p.is_file()] == []
