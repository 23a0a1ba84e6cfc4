"""One training from the command to the commit: what is done in which order."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from loopline import tracing
from loopline.contracts import (
    DatasetCommitted,
    ModelCommitted,
    Run,
    RunKind,
    RunState,
    TrainModel,
    catalog,
)
from loopline.errors import Cancelled, LooplineError, Rejected, Transient
from loopline.names import validate_name
from loopline.runtime.processing import Delivery, describe
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from services.trainer.adapters.asset_cache import AssetCache
from services.trainer.adapters.checkpoints import RunCheckpoints, RunFolders
from services.trainer.adapters.files import write_whole
from services.trainer.adapters.machine import machine
from services.trainer.adapters.messages import (
    EVALUATION_FILE,
    ITEM_COLUMNS,
    Training,
    asked_by,
    example_of,
    in_role,
    report_outputs,
)
from services.trainer.adapters.process import TrainingProcess, started
from services.trainer.domain.examples import Selection, select
from services.trainer.domain.job import (
    PLACED,
    CheckpointSaved,
    Described,
    Placed,
    Progress,
    Train,
    Trained,
)
from services.trainer.domain.manifest import Manifest, StoredFile
from services.trainer.settings import TrainerSettings

STOP_TIMEOUT_S = 3.0
"""How long a training that is to stop may take over its checkpoint; it is killed then."""


class Executions:
    """Carries out training commands.

    Args:
        service: Whose log, bus and storage are used.
        settings: Its settings.
    """

    def __init__(self, service: Service, settings: TrainerSettings) -> None:
        self._service = service
        self._settings = settings
        folder = settings.data_dir / "trainer"
        self.folders = RunFolders(folder / "runs")
        self.cache = AssetCache(service.objects, folder / "assets", settings.asset_cache_bytes)
        self._datasets = Datasets(service.log, service.objects)

    def prune(self) -> None:
        """Remove what is left of runs that nobody finished."""
        self.folders.prune(self._service.clock.now().timestamp() - self._settings.abandoned_run_s)

    async def carry_out(self, command: TrainModel, delivery: Delivery) -> Committed[ModelCommitted]:
        """Train what the command asks for, unless that was done before; return the model version.

        Raises:
            Rejected: The command, the data or the recipe is wrong.
            Transient: The training process was killed; the next delivery goes on from its
                checkpoint.
            Cancelled: Someone asked for that; a checkpoint of that moment is in storage.
        """
        validate_name("model", command.model)
        dataset = await self._datasets.version(command.dataset)
        async with self._process(delivery.attempt) as process:
            given = runs.plain(command.parameters)
            described = await process.describe(command.recipe, given)
            run = self._new_run(command, dataset, described)
            training = Training(command.model, command.recipe, dataset, described, run)
            with self._service.occupation.doing(run.id, run.kind, training.title):
                done = await self._done(command.model, run.id)
                if done is None:
                    done = await self._attended(training, process, delivery)
        self.folders.remove(run.id)
        await self._service.bus.report(training.completed(done))
        return done

    def _process(self, attempt: int) -> contextlib.AbstractAsyncContextManager[TrainingProcess]:
        return started(
            attempt=attempt,
            silence_s=self._settings.silence_s,
            niceness=self._settings.training_niceness,
        )

    async def _done(self, model: str, run_id: str) -> Committed[ModelCommitted] | None:
        return await self._service.log.find_run(catalog.MODEL_COMMITTED, run_id, name=model)

    def _new_run(
        self, command: TrainModel, dataset: Committed[DatasetCommitted], described: Described
    ) -> Run:
        """Return the run: its key holds all that the weights depend on, and nothing else."""
        decisive = {"recipe": command.recipe, "classes": list(dataset.message.classes)}
        return runs.new_run(
            RunKind.RUN_KIND_TRAIN,
            inputs=[in_role(dataset.ref, "train_on")],
            on_behalf_of=asked_by(command),
            parameters=described.parameters | decisive,
            actor=command.actor,
            agent=self._service.agent,
            environment=machine(described),
            clock=self._service.clock,
            trace_id=tracing.current_trace_id(),
        )

    async def _attended(
        self, training: Training, process: TrainingProcess, delivery: Delivery
    ) -> Committed[ModelCommitted]:
        """Train, tell how it goes and how it ends, and stop when someone asks for that."""
        run, service = training.run, self._service
        checkpoints = self._checkpoints(run.id)
        await checkpoints.recall(service.events, service.bus.workspace)
        work = self._worked(training, process, checkpoints)
        try:
            done = await service.cancellations.unless_cancelled(run.id, delivery, work)
        except Exception as error:
            # Two workers may have had the command at once: one that is late must not fail it.
            if isinstance(error, Rejected) and (late := await self._done(training.model, run.id)):
                return late
            ended = training.ended(state_after(error), describe(error), checkpoints.stored)
            await service.bus.report(ended)
            raise
        await checkpoints.discard()
        return done

    def _checkpoints(self, run_id: str) -> RunCheckpoints:
        return RunCheckpoints(
            self._service.objects,
            run_id,
            self.folders.folder(run_id) / "checkpoints",
            self._settings.checkpoint_upload_every_s,
            self._service.clock,
        )

    async def _worked(
        self, training: Training, process: TrainingProcess, checkpoints: RunCheckpoints
    ) -> Committed[ModelCommitted]:
        await self._service.bus.report(training.running(checkpoints=checkpoints.stored))
        trained = await self._train(training, process, checkpoints)
        return await self._commit(training, trained)

    async def _train(
        self, training: Training, process: TrainingProcess, checkpoints: RunCheckpoints
    ) -> Trained:
        """Fetch the data, train, and relay what the process says."""
        selection = await self._select(training)
        folder = self.folders.folder(training.run.id)
        sizes_bytes = {example.asset: example.size_bytes for example in selection}
        with self.cache.pinned(sizes_bytes):
            await self.cache.fetch(list(sizes_bytes))
            job = Train(
                dataset=training.dataset_version,
                classes=tuple(training.dataset.message.classes),
                examples_file=await asyncio.to_thread(self._write_examples, selection, folder),
                folder=folder,
                memory_bytes=self._settings.decoded_bytes,
            )
            await checkpoints.fetch_furthest()
            return await self._relay(training, process, job, checkpoints)

    async def _select(self, training: Training) -> Selection:
        tree = await self._datasets.tree(training.dataset)
        labeled = [example_of(item) async for item in tree.rows(ITEM_COLUMNS) if item.labeled]
        share = float(training.described.parameters["validation_share"])
        return select(
            labeled, list(training.dataset.message.classes), share, training.dataset_version
        )

    def _write_examples(self, selection: Selection, folder: Path) -> Path:
        path = folder / "examples.jsonl"
        placed = (Placed(example, self.cache.path(example.asset)) for example in selection)
        write_whole(path, b"".join(PLACED.dump_json(one) + b"\n" for one in placed))
        return path

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

    async def _commit(self, training: Training, trained: Trained) -> Committed[ModelCommitted]:
        """Store the files, then make them visible."""
        manifest, report = await self._store(training, trained)
        run = training.run
        run.environment.device = trained.device
        run.outputs.extend(report_outputs([("evaluation", report)]))
        run.figures.update(trained.figures)
        run.finished_at.CopyFrom(timestamp(self._service.clock))
        message = training.committed(trained, manifest, run)

        async def build(_: Committed[ModelCommitted] | None) -> ModelCommitted:
            return message

        return await self._service.log.commit(catalog.MODEL_COMMITTED, build, name=training.model)

    async def _store(self, training: Training, trained: Trained) -> tuple[Manifest, str]:
        contents = {path.name: await asyncio.to_thread(path.read_bytes) for path in trained.files}
        digests = await self._service.objects.put_many(Area.MODELS, list(contents.values()))
        files = tuple(
            StoredFile(name, digest, len(data))
            for (name, data), digest in zip(contents.items(), digests, strict=True)
        )
        manifest = Manifest(
            task=training.described.task,
            recipe=training.recipe,
            classes=tuple(training.dataset.message.classes),
            input_format=trained.input_format,
            files=files,
        )
        report = await self._service.objects.put(Area.REPORTS, contents[EVALUATION_FILE])
        return manifest, report


def state_after(error: Exception) -> RunState:
    """Return what becomes of a run that ended with an error."""
    if isinstance(error, Cancelled):
        return RunState.RUN_STATE_CANCELLED
    if isinstance(error, Rejected):
        return RunState.RUN_STATE_FAILED
    return RunState.RUN_STATE_QUEUED
