"""Shared memory as a client's program makes it, good and bad."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from loopline.errors import NotFound, Rejected
from services.inference.adapters.protocol.shared_memory import (
    AlreadyRegistered,
    RegionUse,
    SharedMemory,
)


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory(regions_max=3)
    yield memory
    memory.close()


@pytest.fixture
def block() -> Iterator[shared_memory.SharedMemory]:
    block = shared_memory.SharedMemory(create=True, size=4096)
    yield block
    block.close()
    block.unlink()


def read(memory: SharedMemory, owner: str, use: RegionUse) -> bytes:
    found = bytearray(max(use.byte_size, 0))
    memory.read(owner, use, memoryview(found))
    return bytes(found)


def test_what_a_client_put_there_is_read(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    assert block.buf is not None
    block.buf[100:105] = b"hello"
    memory.register("", "inputs", block.name, 90, 1000)
    assert read(memory, "", RegionUse("inputs", 5, 10)) == b"hello"


def test_what_is_written_is_there_for_the_client(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    assert block.buf is not None
    memory.register("", "outputs", f"/{block.name}", 0, 4096)
    memory.write("", RegionUse("outputs", 10, 4000), b"answer")
    assert bytes(block.buf[4000:4006]) == b"answer"


def test_status_tells_the_regions_until_they_are_forgotten(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    memory.register("", "b", block.name, 0, 16)
    memory.register("", "a", block.name, 16, 16)
    assert [(r.name, r.key, r.offset, r.byte_size) for r in memory.status("")] == [
        ("a", block.name, 16, 16),
        ("b", block.name, 0, 16),
    ]
    memory.unregister("", "a")
    memory.unregister("", "never registered")
    assert [r.name for r in memory.status("", "b")] == ["b"]
    with pytest.raises(NotFound):
        memory.status("", "a")
    memory.unregister("")
    assert memory.status("") == []


def test_a_region_belongs_to_who_registered_it(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    memory.register("alice", "mine", block.name, 0, 16)
    with pytest.raises(NotFound):
        read(memory, "bob", RegionUse("mine", 1))
    memory.unregister("bob")
    assert len(memory.status("alice")) == 1
    memory.register("bob", "mine", block.name, 0, 16)


@pytest.mark.parametrize(
    "key",
    ["nothing-of-this-name", "../etc/passwd", "..", "", "a/b", "/dev/shm/x", "x" * 300, "a\0b"],
)
def test_what_is_no_shared_memory_is_refused(memory: SharedMemory, key: str) -> None:
    with pytest.raises(Rejected):
        memory.register("", "r", key, 0, 1)


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    """A link would lead out of the folder; opening a pipe would wait for ever."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "shm").mkdir()
    (tmp_path / "shm" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "shm" / "folder").mkdir()
    os.mkfifo(tmp_path / "shm" / "pipe")
    memory = SharedMemory(folder=tmp_path / "shm")
    for key in ("link", "folder", "pipe"):
        with pytest.raises(Rejected):
            memory.register("", "r", key, 0, 1)


@pytest.mark.parametrize(("offset", "size"), [(0, 4097), (4096, 1), (-1, 2), (0, 0), (2**63, 1)])
def test_a_region_outside_its_memory_is_refused(
    memory: SharedMemory, block: shared_memory.SharedMemory, offset: int, size: int
) -> None:
    with pytest.raises(Rejected, match="not within"):
        memory.register("", "r", block.name, offset, size)


@pytest.mark.parametrize("use", [RegionUse("r", 17), RegionUse("r", 1, 16), RegionUse("r", -1)])
def test_a_tensor_outside_its_region_is_refused(
    memory: SharedMemory, block: shared_memory.SharedMemory, use: RegionUse
) -> None:
    memory.register("", "r", block.name, 0, 16)
    with pytest.raises(Rejected, match="not within"):
        read(memory, "", use)
    with pytest.raises(Rejected, match="not within"):
        memory.write("", use, b"") if use.byte_size >= 0 else memory.check("", use)


def test_a_region_that_shrinks_is_an_error_not_a_crash(memory: SharedMemory) -> None:
    block = shared_memory.SharedMemory(create=True, size=65_536)
    try:
        memory.register("", "r", block.name, 0, 65_536)
        os.truncate(f"/dev/shm/{block.name}", 4096)
        with pytest.raises(Rejected, match="shrunk"):
            read(memory, "", RegionUse("r", 65_536))
        with pytest.raises(Rejected, match="shrunk"):
            memory.write("", RegionUse("r", 65_536), bytes(65_536))
    finally:
        block.close()
        block.unlink()


def test_an_output_larger_than_its_place_is_refused(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    memory.register("", "r", block.name, 0, 16)
    with pytest.raises(Rejected, match="takes 5 bytes"):
        memory.write("", RegionUse("r", 4), b"12345")


def test_names_and_numbers_of_regions_are_bounded(
    memory: SharedMemory, block: shared_memory.SharedMemory
) -> None:
    with pytest.raises(Rejected):
        memory.register("", "n" * 256, block.name, 0, 1)
    for name in ("a", "b", "c"):
        memory.register("", name, block.name, 0, 1)
    with pytest.raises(AlreadyRegistered):
        memory.register("", "a", block.name, 0, 1)
    with pytest.raises(Rejected, match="no more"):
        memory.register("", "d", block.name, 0, 1)


def test_no_descriptor_is_left_open(block: shared_memory.SharedMemory) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    memory = SharedMemory()
    for _ in range(20):
        memory.register("", "r", block.name, 0, 16)
        with pytest.raises(AlreadyRegistered):
            memory.register("", "r", block.name, 0, 16)
        read(memory, "", RegionUse("r", 4))
        memory.unregister("")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
