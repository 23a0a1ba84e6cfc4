"""Checkpoints in storage: how a run goes on where another machine stopped.

An epoch is a chunk of the run whose result is a checkpoint. On one machine the run's folder has
them all; to storage goes one every few seconds.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Final

import structlog

from loopline.clock import Clock
from loopline.errors import LooplineError, NotFound, Rejected
from loopline.runtime.chunks import Chunks
from loopline.store.objects import Area, ObjectStore
from services.trainer.adapters.files import write_whole
from services.trainer.domain.job import CheckpointSaved

CHECKPOINT_NAME: Final = re.compile(r"(?P<epoch>\d{5})-(?P<digest>[0-9a-f]{64})\.ckpt")

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


class CheckpointStore:
    """The checkpoints of all runs, in storage."""

    def __init__(self, objects: ObjectStore, chunks: Chunks) -> None:
        self._objects = objects
        self._chunks = chunks

    async def fetch_newest(self, run_id: str, epochs: int, folder: Path) -> Path | None:
        """Bring a run's furthest checkpoint to `folder`, unless one as far is there already.

        Returns:
            Where it is; None if storage has none that is further.
        """
        local = await asyncio.to_thread(_furthest_epoch, folder)
        for epoch in range(epochs, local, -1):
            completed = await self._chunks.completed(run_id, epoch - 1)
            if completed is None:
                continue
            path = folder / f"{epoch:05d}-{completed.result_digest}.ckpt"
            try:
                data = await self._objects.get(Area.CHECKPOINTS, completed.result_digest)
            except Rejected as error:  # gone or damaged: the one before will do
                log.warning("checkpoint_refused", run_id=run_id, epoch=epoch, reason=error.message)
                continue
            await asyncio.to_thread(write_whole, path, data)
            return path
        return None

    async def store(self, run_id: str, saved: CheckpointSaved) -> None:
        """Put a checkpoint into storage and say so; NotFound if a newer one replaced the file."""
        try:
            data = await asyncio.to_thread(saved.path.read_bytes)
        except FileNotFoundError as error:
            raise NotFound(f"{saved.path.name} is not there any more") from error
        digest = await self._objects.put(Area.CHECKPOINTS, data)
        await self._chunks.complete(run_id, saved.epoch - 1, saved.epochs, digest)


class CheckpointUploads:
    """Uploads some of one run's checkpoints beside its training: one at a time, not too often.

    Args:
        store: Where they go.
        run_id: The run.
        every_s: Least time between the beginnings of two uploads.
        clock: Time.
    """

    def __init__(self, store: CheckpointStore, run_id: str, every_s: float, clock: Clock) -> None:
        self._store = store
        self._run_id = run_id
        self._every_s = every_s
        self._clock = clock
        self._next_s = clock.monotonic_s() + every_s
        self._task: asyncio.Task[None] | None = None

    def offer(self, saved: CheckpointSaved) -> None:
        """Upload this one if it is time; the last epoch's is of no use to anybody."""
        busy = self._task is not None and not self._task.done()
        if busy or saved.epoch == saved.epochs or self._clock.monotonic_s() < self._next_s:
            return
        self._next_s = self._clock.monotonic_s() + self._every_s
        self._task = asyncio.create_task(self._upload(saved))

    async def close(self) -> None:
        """Give up the upload that still goes on: the model is there, or the command comes again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _upload(self, saved: CheckpointSaved) -> None:
        try:
            await self._store.store(self._run_id, saved)
        except LooplineError as error:  # training goes on without
            log.warning("checkpoint_not_stored", run_id=self._run_id, reason=error.message)


def _furthest_epoch(folder: Path) -> int:
    return max((epoch_of(path) for path in folder.glob("*.ckpt")), default=0)


def epoch_of(path: Path) -> int:
    """Return the epoch in a checkpoint's file name; 0 if it is none."""
    match = CHECKPOINT_NAME.fullmatch(path.name)
    return int(match["epoch"]) if match else 0
