"""One training from the command to the commit: what is done in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path

from loopline import tracing
from loopline.contracts import DatasetCommitted, ModelCommitted, Run, RunKind, TrainModel, catalog
from loopline.errors import Rejected, Transient
from loopline.names import validate_name
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from services.trainer.adapters.asset_cache import AssetCache
from services.trainer.adapters.checkpoints import CheckpointStore, CheckpointUploads, RunFolders
from services.trainer.adapters.files import write_whole
from services.trainer.adapters.messages import (
    EVALUATION_FILE,
    ITEM_COLUMNS,
    Training,
    example_of,
    report_outputs,
    run_inputs,
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
        self._checkpoints = CheckpointStore(service.objects, service.chunks)

    def prune(self) -> None:
        """Remove what is left of runs that nobody finished."""
        self.folders.prune(self._service.clock.now().timestamp() - self._settings.abandoned_run_s)

    async def carry_out(self, command: TrainModel, delivery: Delivery) -> Committed[ModelCommitted]:
        """Train what the command asks for, unless that was done before; return the model version.

        Raises:
            Rejected: The command, the data or the recipe is wrong.
            Transient: The training process was killed; the next delivery goes on from its
                checkpoint.
        """
        validate_name("model", command.model)
        dataset = await self._datasets.version(command.dataset)
        settings = self._settings
        async with started(
            attempt=delivery.attempt,
            silence_s=settings.silence_s,
            niceness=settings.training_niceness,
        ) as process:
            given = runs.plain(command.parameters)
            described = await process.describe(command.recipe, given)
            run = self._new_run(command, dataset, described)
            training = Training(command.model, command.recipe, dataset, described, run)
            done = await self._done(command.model, run.id)
            if done is None:
                done = await self._reported(training, process)
        self.folders.remove(run.id)
        await self._service.bus.report(training.completed(done))
        return done

    async def _done(self, model: str, run_id: str) -> Committed[ModelCommitted] | None:
        return await self._service.log.find_run(catalog.MODEL_COMMITTED, run_id, name=model)

    def _new_run(
        self, command: TrainModel, dataset: Committed[DatasetCommitted], described: Described
    ) -> Run:
        """Return the run: its key holds all that the weights depend on."""
        decisive = {"recipe": command.recipe, "classes": list(dataset.message.classes)}
        return runs.new_run(
            RunKind.RUN_KIND_TRAIN,
            inputs=run_inputs(command, dataset),
            parameters=described.parameters | decisive,
            actor=command.actor,
            agent=self._service.agent,
            environment=runs.environment(described.code_digest),
            clock=self._service.clock,
            trace_id=tracing.current_trace_id(),
        )

    async def _reported(
        self, training: Training, process: TrainingProcess
    ) -> Committed[ModelCommitted]:
        report = self._service.bus.report
        await report(training.running())
        try:
            trained = await self._train(training, process)
            return await self._commit(training, trained)
        except Rejected as error:
            # Two workers may have had the command at once: one that is late must not fail it.
            if (done := await self._done(training.model, training.run.id)) is not None:
                return done
            await report(training.failed(error.message))
            raise
        except Transient as error:
            await report(training.waiting(error.message))
            raise

    async def _train(self, training: Training, process: TrainingProcess) -> Trained:
        """Fetch the data, train, and relay what the process says."""
        selection = await self._select(training)
        folder = self.folders.folder(training.run.id)
        epochs = int(training.described.parameters["epochs"])
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
            await self._checkpoints.fetch_newest(training.run.id, epochs, job.checkpoints)
            return await self._relay(training, process, job)

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

    async def _relay(self, training: Training, process: TrainingProcess, job: Train) -> Trained:
        uploads = CheckpointUploads(
            self._checkpoints,
            training.run.id,
            self._settings.checkpoint_upload_every_s,
            self._service.clock,
        )
        try:
            async for report in process.train(job):
                if isinstance(report, Progress):
                    await self._service.bus.report(training.running(report))
                elif isinstance(report, CheckpointSaved):
                    uploads.offer(report)
                elif isinstance(report, Trained):
                    return report
        finally:
            await uploads.close()
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
