"""A run goes on where another machine stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loopline.clock import Clock
from loopline.contracts import Agent, ChunkCompleted, catalog
from loopline.contracts.catalog import Stream
from loopline.digests import sha256_hex
from loopline.errors import NotFound
from loopline.runtime.bus import Bus
from loopline.runtime.chunks import Chunks
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from loopline.testing.memory import ManualClock, MemoryBus
from services.trainer.adapters.checkpoints import (
    CheckpointStore,
    CheckpointUploads,
    RunFolders,
    epoch_of,
)
from services.trainer.domain.job import CheckpointSaved

RUN = "r" * 64
EPOCHS = 5


class Machine:
    """A machine's folder, with storage and a bus that it shares with others."""

    def __init__(self, folder: Path, bus: MemoryBus, blobs: MemoryBlobs, clock: Clock) -> None:
        self.folder = folder
        folder.mkdir()
        self.objects = ObjectStore(blobs, "default")
        outlet = Bus(bus, "default", source="test", clock=clock)
        chunks = Chunks(outlet, bus.streams[str(Stream.EVENTS)], Agent(id=folder.name))
        self.store = CheckpointStore(self.objects, chunks)

    def save(self, epoch: int) -> CheckpointSaved:
        data = f"checkpoint {epoch}".encode()
        path = self.folder / f"{epoch:05d}-{sha256_hex(data)}.ckpt"
        path.write_bytes(data)
        return CheckpointSaved(path=path, epoch=epoch, epochs=EPOCHS)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def here(tmp_path: Path, bus: MemoryBus, blobs: MemoryBlobs, clock: ManualClock) -> Machine:
    return Machine(tmp_path / "here", bus, blobs, clock)


@pytest.fixture
def there(tmp_path: Path, bus: MemoryBus, blobs: MemoryBlobs, clock: ManualClock) -> Machine:
    return Machine(tmp_path / "there", bus, blobs, clock)


def stored_epochs(bus: MemoryBus) -> list[int]:
    completed: list[ChunkCompleted] = bus.sent(catalog.CHUNK_COMPLETED)
    return [chunk.index + 1 for chunk in completed]


async def test_the_furthest_checkpoint_is_brought_from_another_machine(
    here: Machine, there: Machine
) -> None:
    for epoch in (1, 3):
        await there.store.store(RUN, there.save(epoch))
    path = await here.store.fetch_newest(RUN, EPOCHS, here.folder)
    assert path is not None
    assert epoch_of(path) == 3
    assert path.read_bytes() == b"checkpoint 3"


async def test_nothing_is_fetched_where_the_own_checkpoint_is_as_far(
    here: Machine, there: Machine
) -> None:
    await there.store.store(RUN, there.save(2))
    here.save(2)
    assert await here.store.fetch_newest(RUN, EPOCHS, here.folder) is None


async def test_a_run_that_nobody_began_has_none(here: Machine) -> None:
    assert await here.store.fetch_newest(RUN, EPOCHS, here.folder) is None


@pytest.mark.parametrize("damage", ["gone", "flipped"])
async def test_a_checkpoint_that_is_gone_or_damaged_is_passed_over(
    here: Machine, there: Machine, blobs: MemoryBlobs, damage: str
) -> None:
    for epoch in (1, 2):
        await there.store.store(RUN, there.save(epoch))
    key = there.objects.key(Area.CHECKPOINTS, sha256_hex(b"checkpoint 2"))
    blobs.delete(key) if damage == "gone" else blobs.put(key, b"checkpoint 7")
    path = await here.store.fetch_newest(RUN, EPOCHS, here.folder)
    assert path is not None
    assert epoch_of(path) == 1


async def test_a_checkpoint_that_was_replaced_before_it_could_be_read_is_not_there(
    there: Machine,
) -> None:
    saved = there.save(1)
    saved.path.unlink()
    with pytest.raises(NotFound):
        await there.store.store(RUN, saved)


async def test_uploads_wait_for_their_time_and_skip_the_last_epoch(
    there: Machine, bus: MemoryBus, clock: ManualClock
) -> None:
    uploads = CheckpointUploads(there.store, RUN, every_s=10.0, clock=clock)
    for epoch in range(1, EPOCHS + 1):
        clock.advance(4.0)
        uploads.offer(there.save(epoch))
        await _settled()
    await uploads.close()
    assert stored_epochs(bus) == [3]  # at 12 s; the next would be the fifth and last, at 20 s


async def test_a_checkpoint_that_cannot_be_stored_does_not_stop_training(
    there: Machine, bus: MemoryBus, clock: ManualClock
) -> None:
    uploads = CheckpointUploads(there.store, RUN, every_s=0.0, clock=clock)
    saved = there.save(1)
    saved.path.unlink()
    uploads.offer(saved)
    await _settled()
    uploads.offer(there.save(2))
    await _settled()
    await uploads.close()
    assert stored_epochs(bus) == [2]


def test_only_checkpoints_have_an_epoch() -> None:
    assert epoch_of(Path("/x/00012-" + "a" * 64 + ".ckpt")) == 12
    assert epoch_of(Path("/x/.writing-1")) == 0


def test_folders_of_finished_and_abandoned_runs_are_removed(tmp_path: Path) -> None:
    folders = RunFolders(tmp_path / "runs")
    for name in ("finished", "abandoned", "running"):
        (folders.folder(name) / "examples.jsonl").touch()
    folders.remove("finished")
    folders.remove("never there")
    folders.prune(before_s=0)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["abandoned", "running"]
    later = folders.folder("running").stat().st_mtime + 1
    folders.prune(before_s=later)
    assert list((tmp_path / "runs").iterdir()) == []


async def _settled() -> None:
    """Wait until the upload beside this test has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)
