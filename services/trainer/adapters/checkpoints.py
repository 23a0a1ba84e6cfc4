"""Checkpoints in storage: how a run goes on where another machine stopped.

Every checkpoint is on the machine's own disk; one goes to storage every few seconds, and the run's
reports name those that are there. An agent that takes the run up reads the last report.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from loopline.clock import Clock
from loopline.contracts import Checkpoint, RunChanged, catalog
from loopline.digests import sha256_hex
from loopline.errors import LooplineError, Rejected
from loopline.store.logstore import LogStore
from loopline.store.objects import Area, ObjectStore
from services.trainer.adapters.files import write_whole
from services.trainer.domain.checkpoint import SUFFIX, CheckpointName, superseded

KEPT_IN_STORAGE: Final = 2
"""The last so many of a run, and the best one."""

log = structlog.get_logger()


class RunFolders:
    """Where the files of unfinished runs are.

    Args:
        root: Their parent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, run_id: str) -> Path:
        """Return a run's folder; it is there afterwards."""
        path = self._root / run_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def remove(self, run_id: str) -> None:
        """Remove a finished run's folder."""
        shutil.rmtree(self._root / run_id, ignore_errors=True)

    def prune(self, before_s: float) -> None:
        """Remove folders of runs that nobody touched since `before_s`, in seconds since 1970."""
        for path in self._root.glob("*"):
            if path.stat().st_mtime < before_s:
                shutil.rmtree(path, ignore_errors=True)


class RunCheckpoints:
    """The checkpoints of one run that are in storage.

    Args:
        objects: Storage.
        run_id: The run.
        folder: Where those on disk are.
        every_s: Least time between the beginnings of two uploads.
        clock: Time.
    """

    def __init__(
        self, objects: ObjectStore, run_id: str, folder: Path, every_s: float, clock: Clock
    ) -> None:
        self._objects = objects
        self._run_id = run_id
        self._folder = folder
        self._every_s = every_s
        self._clock = clock
        self._next_s = clock.monotonic_s() + every_s
        self._task: asyncio.Task[None] | None = None
        self._sizes: dict[CheckpointName, int] = {}

    @property
    def stored(self) -> list[Checkpoint]:
        """Those in storage, the furthest first."""
        return [
            Checkpoint(
                step=name.step,
                epoch=name.epoch,
                digest=name.digest,
                size_bytes=self._sizes[name],
                is_best=name.is_best,
            )
            for name in sorted(self._sizes, reverse=True)
        ]

    async def recall(self, events: LogStore, workspace: str) -> None:
        """Learn from the run's last report what others stored."""
        subject = catalog.RUN_CHANGED.subject(workspace, run_id=self._run_id)
        for record in await events.last(subject):
            for one in RunChanged.FromString(record.data).training.checkpoints:
                name = CheckpointName(one.step, one.epoch, one.digest, one.is_best)
                self._sizes[name] = one.size_bytes

    async def fetch_furthest(self) -> CheckpointName | None:
        """Bring the furthest checkpoint that is good to disk; None if there is none anywhere.

        A damaged one is refused, on disk as in storage, and the one before it used.
        """
        names = await asyncio.to_thread(good_checkpoints, self._folder)
        furthest = max(names, default=None)
        for name in sorted(self._sizes, reverse=True):
            if furthest is not None and name.step <= furthest.step:
                break
            try:
                data = await self._objects.get(Area.CHECKPOINTS, name.digest)
            except Rejected as error:
                log.warning(
                    "checkpoint_refused", run_id=self._run_id, step=name.step, reason=error.message
                )
                del self._sizes[name]
                continue
            await asyncio.to_thread(write_whole, self._folder / name.file_name, data)
            return name
        return furthest

    def offer(self, path: Path) -> None:
        """Upload this one beside the training, if it is time and none is on its way."""
        if self._is_busy or self._clock.monotonic_s() < self._next_s:
            return
        self._next_s = self._clock.monotonic_s() + self._every_s
        self._task = asyncio.create_task(self._upload(path))

    async def store_furthest(self) -> None:
        """Put the furthest on disk into storage now: the run ends here, others may go on."""
        await self.settle()
        names = await asyncio.to_thread(good_checkpoints, self._folder)
        if names and max(names) not in self._sizes:
            await self._upload(self._folder / max(names).file_name)

    async def settle(self) -> None:
        """Wait for the upload that is on its way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Give up the upload that is on its way."""
        if self._task is not None:
            self._task.cancel()
            await self.settle()

    async def discard(self) -> None:
        """Remove them all from storage: the model is there."""
        await self._delete(list(self._sizes))

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _upload(self, path: Path) -> None:
        name = CheckpointName.parse(path.name)
        try:
            data = await asyncio.to_thread(path.read_bytes)
            digest = await self._objects.put(Area.CHECKPOINTS, data)
            if name is None or digest != name.digest:
                raise Rejected(f"{path.name} is damaged")
            self._sizes[name] = len(data)
            await self._delete(superseded(self._sizes, KEPT_IN_STORAGE))
        except FileNotFoundError:  # a newer one replaced it: that one will come too
            return
        except LooplineError as error:  # training goes on without
            log.warning("checkpoint_not_stored", run_id=self._run_id, reason=error.message)

    async def _delete(self, names: Sequence[CheckpointName]) -> None:
        for name in names:
            with contextlib.suppress(LooplineError):  # what stays is garbage, and collected
                await self._objects.delete(Area.CHECKPOINTS, name.digest)
            self._sizes.pop(name, None)


def good_checkpoints(folder: Path) -> list[CheckpointName]:
    """Return the checkpoints on disk whose bytes hash to their name; the others are removed."""
    names = []
    for path in folder.glob(f"*{SUFFIX}"):
        name = CheckpointName.parse(path.name)
        if name is not None and sha256_hex(path.read_bytes()) == name.digest:
            names.append(name)
        else:
            log.warning("checkpoint_refused", path=path.name, reason="its bytes are damaged")
            path.unlink(missing_ok=True)
    return names
