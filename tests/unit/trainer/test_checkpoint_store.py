"""A run goes on where another machine stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopline.clock import Clock, SystemClock
from loopline.contracts import RunChanged, TrainingProgress
from loopline.contracts.catalog import Stream
from loopline.digests import sha256_hex
from loopline.runtime.bus import Bus
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from loopline.testing.memory import ManualClock, MemoryBus
from services.trainer.adapters.checkpoints import RunCheckpoints, RunFolders, good_checkpoints
from services.trainer.domain.checkpoint import CheckpointName, superseded

RUN = "r" * 64


class Machine:
    """A machine's folder, with storage and a bus that it shares with others."""

    def __init__(self, folder: Path, bus: MemoryBus, blobs: MemoryBlobs, clock: Clock) -> None:
        self.folder = folder
        folder.mkdir()
        self.bus = bus
        self.objects = ObjectStore(blobs, "default")
        self.checkpoints = RunCheckpoints(self.objects, RUN, folder, 10.0, clock)

    def save(self, step: int, *, is_best: bool = False) -> Path:
        """Write a checkpoint to disk."""
        data = f"checkpoint {step}".encode()
        path = self.folder / CheckpointName(step, 0, sha256_hex(data), is_best).file_name
        path.write_bytes(data)
        return path

    async def store(self, step: int) -> None:
        """Bring a checkpoint to storage, and say so."""
        self.save(step)
        await self.checkpoints.store_furthest()
        reported = RunChanged(
            run_id=RUN, training=TrainingProgress(checkpoints=self.checkpoints.stored)
        )
        await Bus(self.bus, "default", source="test", clock=SystemClock()).report(reported)

    async def recalled(self) -> CheckpointName | None:
        """Begin as a machine that is new to the run."""
        await self.checkpoints.recall(self.bus.streams[str(Stream.EVENTS)], "default")
        return await self.checkpoints.fetch_furthest()

    def stored_steps(self) -> list[int]:
        """Return the steps of what is in storage by this machine's word."""
        return [checkpoint.step for checkpoint in self.checkpoints.stored]


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


async def test_the_furthest_checkpoint_is_brought_from_another_machine(
    here: Machine, there: Machine
) -> None:
    for step in (1, 3):
        await there.store(step)
    name = await here.recalled()
    assert name is not None
    assert name.step == 3
    assert (here.folder / name.file_name).read_bytes() == b"checkpoint 3"


async def test_nothing_is_fetched_where_the_own_checkpoint_is_as_far(
    here: Machine, there: Machine, blobs: MemoryBlobs
) -> None:
    await there.store(2)
    here.save(2)
    blobs.delete(there.objects.key(Area.CHECKPOINTS, sha256_hex(b"checkpoint 2")))
    name = await here.recalled()
    assert name is not None
    assert name.step == 2


async def test_a_run_that_nobody_began_has_none(here: Machine) -> None:
    assert await here.recalled() is None


@pytest.mark.parametrize("damage", ["gone", "flipped"])
async def test_a_checkpoint_that_is_gone_or_damaged_in_storage_is_passed_over(
    here: Machine, there: Machine, blobs: MemoryBlobs, damage: str
) -> None:
    for step in (1, 2):
        await there.store(step)
    key = there.objects.key(Area.CHECKPOINTS, sha256_hex(b"checkpoint 2"))
    blobs.delete(key) if damage == "gone" else blobs.put(key, b"checkpoint 7")
    name = await here.recalled()
    assert name is not None
    assert name.step == 1
    assert here.stored_steps() == [1]


async def test_a_checkpoint_with_a_flipped_byte_on_disk_is_removed_and_storage_asked(
    here: Machine, there: Machine
) -> None:
    await there.store(2)
    here.save(3).write_bytes(b"checkpoint 9")
    name = await here.recalled()
    assert name is not None
    assert name.step == 2
    assert [one.step for one in good_checkpoints(here.folder)] == [2]


async def test_uploads_wait_for_their_time(there: Machine, clock: ManualClock) -> None:
    for step in range(1, 6):
        clock.advance(4.0)
        there.checkpoints.offer(there.save(step))
        await there.checkpoints.settle()
    assert there.stored_steps() == [3]  # at 12 s; the next is due at 22 s


async def test_storage_keeps_the_last_two_and_the_best(
    there: Machine, clock: ManualClock, blobs: MemoryBlobs
) -> None:
    for step in range(1, 6):
        clock.advance(10.0)
        there.checkpoints.offer(there.save(step, is_best=step == 2))
        await there.checkpoints.settle()
    assert there.stored_steps() == [5, 4, 2]
    assert len(list(blobs.list(""))) == 3
    await there.checkpoints.discard()
    assert list(blobs.list("")) == []


async def test_a_checkpoint_that_is_gone_or_damaged_is_not_stored_and_stops_nothing(
    there: Machine, clock: ManualClock
) -> None:
    for step, damage in ((1, True), (2, False), (3, None)):
        clock.advance(10.0)
        path = there.save(step)
        if damage:
            path.unlink()
        elif damage is False:
            path.write_bytes(b"something else")
        there.checkpoints.offer(path)
        await there.checkpoints.settle()
    assert there.stored_steps() == [3]


@pytest.mark.parametrize(
    "name",
    [
        CheckpointName(12, 3, "a" * 64),
        CheckpointName(123456789, 99999, "b" * 64, is_best=True),
    ],
    ids=["plain", "best"],
)
def test_a_checkpoints_name_says_what_it_is(name: CheckpointName) -> None:
    assert CheckpointName.parse(name.file_name) == name
    assert CheckpointName.parse(".writing-1") is None


def test_the_last_and_the_best_are_not_superseded() -> None:
    names = [CheckpointName(step, 0, "", is_best=step in (1, 3)) for step in range(6)]
    assert [name.step for name in superseded(names, 2)] == [0, 1, 2]
    assert superseded(names[:2], 2) == []


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
