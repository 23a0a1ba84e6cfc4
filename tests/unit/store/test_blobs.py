"""Blob stores: one behaviour, every implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from loopline.errors import Corrupt, NotFound, Rejected, Transient
from loopline.store.blobs import BlobStore, FolderBlobs, MemoryBlobs, S3Blobs
from loopline.store.objects import Area, ObjectStore
from loopline.testing.servers import S3TestServer


class BlobStoreBehaviour(ABC):
    """What every blob store does."""

    @pytest.fixture
    @abstractmethod
    def blobs(self) -> BlobStore: ...

    def test_what_was_put_can_be_had(self, blobs: BlobStore) -> None:
        blobs.put("a/b", b"one")
        blobs.put("a/b", b"two")
        assert blobs.get("a/b") == b"two"
        found = blobs.stat("a/b")
        assert found is not None
        assert found.size_bytes == 3

    def test_what_is_not_there_is_named(self, blobs: BlobStore) -> None:
        with pytest.raises(NotFound, match="no object 'a/none'"):
            blobs.get("a/none")
        assert blobs.stat("a/none") is None
        blobs.delete("a/none")

    def test_lists_are_sorted_and_by_prefix(self, blobs: BlobStore) -> None:
        for key in ("b/2", "a/1", "b/1", "b c/é"):
            blobs.put(key, key.encode())
        assert [info.key for info in blobs.list("b/")] == ["b/1", "b/2"]
        assert [info.key for info in blobs.list("b ")] == ["b c/é"]

    def test_deleted_is_gone(self, blobs: BlobStore) -> None:
        blobs.put("a", b"")
        blobs.delete("a")
        assert list(blobs.list("")) == []


class TestMemory(BlobStoreBehaviour):
    @pytest.fixture
    def blobs(self) -> BlobStore:
        return MemoryBlobs()


class TestFolder(BlobStoreBehaviour):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return FolderBlobs(tmp_path)

    @pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x"])
    def test_a_key_that_leaves_the_folder_is_refused(self, blobs: BlobStore, key: str) -> None:
        with pytest.raises(Rejected, match="leaves its folder"):
            blobs.put(key, b"")

    def test_a_failed_write_leaves_nothing_half_written(self, tmp_path: Path) -> None:
        blobs = FolderBlobs(tmp_path)
        (tmp_path / "a" / "b").mkdir(parents=True)
        with pytest.raises(Transient, match="cannot write 'a/b'"):
            blobs.put("a/b", b"x")
        assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []


class TestS3(BlobStoreBehaviour):
    @pytest.fixture
    def blobs(self, s3_server: S3TestServer, s3_bucket: str) -> BlobStore:
        server = s3_server
        return S3Blobs(server.endpoint, server.access_key, server.secret_key, s3_bucket)

    def test_a_bucket_that_is_not_there_is_named(self, s3_server: S3TestServer) -> None:
        server = s3_server
        blobs = S3Blobs(server.endpoint, server.access_key, server.secret_key, "nowhere")
        with pytest.raises(NotFound, match="no bucket 'nowhere'"):
            list(blobs.list(""))

    def test_a_refused_key_is_told(self, s3_server: S3TestServer, s3_bucket: str) -> None:
        blobs = S3Blobs(s3_server.endpoint, "nobody", "nothing", s3_bucket)
        with pytest.raises(Rejected, match="refuses our key"):
            blobs.put("a", b"")

    def test_a_server_that_is_not_there_is_tried_again(self) -> None:
        with pytest.raises(Transient, match="cannot be reached"):
            S3Blobs("127.0.0.1:9", "a", "b", "bucket").put("a", b"")


async def test_an_object_whose_bytes_changed_is_corrupt() -> None:
    blobs = MemoryBlobs()
    objects = ObjectStore(blobs, "default")
    digest = await objects.put(Area.ASSETS, b"image")
    blobs.put(objects.key(Area.ASSETS, digest), b"other")
    with pytest.raises(Corrupt, match="does not hash to its name"):
        await objects.get(Area.ASSETS, digest)
