"""Having a training done: its checkpoints kept, its progress told, its end noted.

What is made of the result (a model version, a proof) is for others to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from loopline.contracts import RunState
from loopline.digests import sha256_hex
from loopline.errors import Cancelled, LooplineError, Rejected, Transient
from loopline.runtime.processing import Delivery, describe
from loopline.runtime.service import Service
from services.trainer.adapters import results
from services.trainer.adapters.checkpoints import RunCheckpoints
from services.trainer.adapters.messages import Training
from services.trainer.adapters.process import TrainingProcess
from services.trainer.domain.job import CheckpointSaved, Progress, Train, Trained
from services.trainer.domain.manifest import Manifest, StoredFile
from services.trainer.memberships import Memberships
from services.trainer.settings import TrainerSettings
from services.trainer.teams import Teams
from services.trainer.workbench import Workbench

STOP_TIMEOUT_S: Final = 3.0
"""How long a training that is to stop may take over its checkpoint; it is killed then."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
    """What a training made.

    Attributes:
        trained: As the process reported it.
        contents: The files by name.
        manifest: What they are together.
    """

    trained: Trained
    contents: dict[str, bytes]
    manifest: Manifest


class Attendance:
    """Has trainings done.

    Args:
        service: Whose log, bus and storage are used.
        settings: Its settings.
    """

    def __init__(self, service: Service, settings: TrainerSettings) -> None:
        self._service = service
        self._settings = settings
        self.bench = Workbench(service, settings)
        self.memberships = Memberships(service, settings, self.bench)
        self._teams = Teams(service, settings, self.memberships.join)

    async def attend(
        self,
        training: Training,
        process: TrainingProcess,
        delivery: Delivery,
        finish: Callable[[Made], Awaitable[T]],
        done: Callable[[], Awaitable[T | None]],
    ) -> T:
        """Train, unless that is done; tell how it goes and ends; stop when someone asks for that.

        Args:
            training: What to train.
            process: What trains it.
            delivery: The command's.
            finish: Makes what was trained visible.
            done: Looks for what is visible of this run.

        Raises:
            Rejected: The data or the recipe is wrong.
            Transient: The process was killed, or something does not answer.
            Cancelled: Someone asked for that; a checkpoint of that moment is in storage.
        """
        run, service = training.run, self._service
        with service.occupation.doing(run.id, run.kind, training.title):
            found = await done()
            if found is not None:
                return found
            checkpoints = self._checkpoints(run.id)
            await checkpoints.recall(service.events, service.bus.workspace)
            work = self._worked(training, process, delivery, checkpoints, finish)
            try:
                made = await service.cancellations.unless_cancelled(run.id, delivery, work)
            except Exception as error:
                # Two workers may have had the command at once: the late one must not fail it.
                if isinstance(error, Rejected) and (late := await done()) is not None:
                    return late
                ended = training.ended(state_after(error), describe(error), checkpoints.stored)
                await service.bus.report(ended)
                raise
            await checkpoints.discard()
        self.bench.folders.remove(run.id)
        return made

    def _checkpoints(self, run_id: str) -> RunCheckpoints:
        return RunCheckpoints(
            self._service.objects,
            run_id,
            self.bench.folders.folder(run_id) / "checkpoints",
            self._settings.checkpoint_upload_every_s,
            self._service.clock,
        )

    async def _worked(
        self,
        training: Training,
        process: TrainingProcess,
        delivery: Delivery,
        checkpoints: RunCheckpoints,
        finish: Callable[[Made], Awaitable[T]],
    ) -> T:
        await self._service.bus.report(training.running(checkpoints=checkpoints.stored))
        folder = self.bench.folders.folder(training.run.id)
        trained = await asyncio.to_thread(results.noted, folder)
        if trained is None:
            trained = await self._train(training, process, delivery, checkpoints)
            await asyncio.to_thread(results.note, folder, trained)
        return await finish(await asyncio.to_thread(_made, training, trained))

    async def _train(
        self,
        training: Training,
        process: TrainingProcess,
        delivery: Delivery,
        checkpoints: RunCheckpoints,
    ) -> Trained:
        """Fetch the data, train with whoever shares that, and relay what the process says."""

        async def waits(reason: str) -> None:
            state = RunState.RUN_STATE_QUEUED
            await self._service.bus.report(training.ended(state, reason, checkpoints.stored))

        await checkpoints.fetch_furthest()
        async with (
            self.bench.supplied(training, process) as job,
            self._teams.led(training, process, delivery.attempt, waits) as place,
        ):
            if place.nodes > 1:  # it waits no more
                await self._service.bus.report(training.running(checkpoints=checkpoints.stored))
            placed = job.model_copy(update={"place": place})
            return await self._relay(training, process, placed, checkpoints)

    async def _relay(
        self,
        training: Training,
        process: TrainingProcess,
        job: Train,
        checkpoints: RunCheckpoints,
    ) -> Trained:
        try:
            async for report in process.train(job):
                if isinstance(report, Progress):
                    now = training.running(report, checkpoints.stored)
                    await self._service.bus.report(now)
                elif isinstance(report, CheckpointSaved):
                    checkpoints.offer(report.path)
                elif isinstance(report, Trained):
                    return report
        except asyncio.CancelledError:  # cancelled by someone, or this agent stops
            await process.stop(STOP_TIMEOUT_S)
            await checkpoints.store_furthest()
            raise
        except LooplineError:  # what is on disk here may be of use elsewhere
            await checkpoints.store_furthest()
            raise
        finally:
            await checkpoints.close()
        raise Transient("training ended without a word")


def _made(training: Training, trained: Trained) -> Made:
    contents = {path.name: path.read_bytes() for path in trained.files}
    files = tuple(StoredFile(name, sha256_hex(data), len(data)) for name, data in contents.items())
    manifest = Manifest(
        task=training.described.task,
        recipe=training.recipe,
        classes=tuple(training.dataset.message.classes),
        input_format=trained.input_format,
        files=files,
    )
    return Made(trained, contents, manifest)


def state_after(error: Exception) -> RunState:
    """Return what becomes of a run that ended with an error."""
    if isinstance(error, Cancelled):
        return RunState.RUN_STATE_CANCELLED
    if isinstance(error, Rejected):
        return RunState.RUN_STATE_FAILED
    return RunState.RUN_STATE_QUEUED
