"""Measuring a model version, and quantizing one: what is done in which order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from loopline import tracing
from loopline.contracts import (
    Actor,
    ArtefactRef,
    DatasetCommitted,
    EvaluateModel,
    EvaluationCommitted,
    ModelCommitted,
    QuantizeModel,
    Run,
    RunKind,
    RunState,
    catalog,
)
from loopline.digests import canonical_json, code_digest
from loopline.errors import Rejected
from loopline.evaluation.report import Report
from loopline.runtime.processing import Delivery, describe
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from services.trainer.adapters.asset_cache import AssetCache
from services.trainer.adapters.checkpoints import RunFolders
from services.trainer.adapters.evaluations import (
    Found,
    Measurement,
    input_format_of,
    kept_files,
    onnx_digest_of,
    version_of,
)
from services.trainer.adapters.files import write_whole
from services.trainer.adapters.measuring import carried_out
from services.trainer.adapters.messages import ITEM_COLUMNS, example_of, in_role, report_outputs
from services.trainer.attendance import state_after
from services.trainer.domain.examples import TEST, TRAIN, VALIDATION, Example
from services.trainer.domain.job import PLACED, Placed
from services.trainer.domain.manifest import Manifest, StoredFile
from services.trainer.domain.measuring import (
    ONNX_FILE,
    OUTCOMES_FILE,
    PAGE_FILE,
    REPORT_FILE,
    AnyTask,
    Counted,
    Done,
    Measure,
    Quantize,
    Subject,
)
from services.trainer.settings import TrainerSettings

CODE: Final = ("loopline.evaluation", "loopline.vision", "services.trainer.evaluation")
"""The source that an evaluation depends on."""
SPLITS: Final = (TRAIN, VALIDATION, TEST)
CALIBRATION_IMAGES: Final = 256
CALIBRATION_IMAGES_MAX: Final = 10_000
KEPT_FILES: Final = frozenset({"recipe.json"})

C = TypeVar("C", EvaluationCommitted, ModelCommitted)


class Measurements:
    """Carries out commands that measure or quantize a model version.

    Args:
        service: Whose log, bus and storage are used.
        settings: Its settings.
        folders: Of runs.
        cache: Of images.
    """

    def __init__(
        self, service: Service, settings: TrainerSettings, folders: RunFolders, cache: AssetCache
    ) -> None:
        self._service = service
        self._settings = settings
        self._folders = folders
        self._cache = cache
        self._datasets = Datasets(service.log, service.objects)

    async def evaluate(
        self, command: EvaluateModel, delivery: Delivery
    ) -> Committed[EvaluationCommitted]:
        """Measure a model version, unless that was done before; return the evaluation.

        Raises:
            Rejected: The model, the data or the split does not fit.
            Transient: The process was killed.
            Cancelled: Someone asked for that.
        """
        model = await self._model(command.model)
        dataset = await self._datasets.version(command.dataset)
        split = command.split or TEST
        if split not in SPLITS:
            raise Rejected(f"there is no split {split!r}; there are {', '.join(SPLITS)}")
        inputs = [in_role(model.ref, "evaluate"), in_role(dataset.ref, "evaluate_on")]
        run = self._run(RunKind.RUN_KIND_EVALUATE, inputs, {"split": split}, command.actor)
        work = Measurement(model, dataset, split, run)

        async def done() -> Committed[EvaluationCommitted] | None:
            event = catalog.EVALUATION_COMMITTED
            return await self._service.log.find_run(event, run.id, model=model.ref.name)

        async def make() -> Committed[EvaluationCommitted]:
            found = await self._measured(work, await self._onnx(model), delivery)
            split_digest = await self._split_digest(dataset, split)
            self._finish(run, found)

            async def build(_: Committed[EvaluationCommitted] | None) -> EvaluationCommitted:
                return work.evaluated(found, split_digest)

            event = catalog.EVALUATION_COMMITTED
            return await self._service.log.commit(event, build, model=model.ref.name)

        return await self._attended(work, delivery, done, make)

    async def quantize(
        self, command: QuantizeModel, delivery: Delivery
    ) -> Committed[ModelCommitted]:
        """Write a model version in 8 bit integers and measure it; return the new version.

        Raises:
            Rejected: The model is quantized already or cannot be, or the data does not fit.
            Transient: The process was killed.
            Cancelled: Someone asked for that.
        """
        model = await self._model(command.model)
        if model.commit.run.kind == RunKind.RUN_KIND_QUANTIZE:
            raise Rejected(f"{version_of(model.ref)} is in 8 bit integers already")
        dataset = await self._calibration_dataset(command, model)
        count = command.calibration_images or CALIBRATION_IMAGES
        if count > CALIBRATION_IMAGES_MAX:
            raise Rejected(f"calibration takes at most {CALIBRATION_IMAGES_MAX:,} images")
        inputs = [in_role(model.ref, "quantize"), in_role(dataset.ref, "calibrate_on")]
        parameters = {"calibration_images": count}
        run = self._run(RunKind.RUN_KIND_QUANTIZE, inputs, parameters, command.actor)
        work = Measurement(model, dataset, TEST, run)

        async def done() -> Committed[ModelCommitted] | None:
            event = catalog.MODEL_COMMITTED
            return await self._service.log.find_run(event, run.id, name=model.ref.name)

        async def make() -> Committed[ModelCommitted]:
            onnx_file, quantized = await self._quantized(work, count, delivery)
            name = f"{version_of(model.ref)} in 8 bit integers"
            found = await self._measured(work, onnx_file, delivery, name)
            self._finish(run, found, quantized.figures)
            manifest = await self._manifest(work, onnx_file, found)
            split_digest = await self._split_digest(dataset, TEST)

            async def build(_: Committed[ModelCommitted] | None) -> ModelCommitted:
                return work.quantized(manifest, found, split_digest)

            event = catalog.MODEL_COMMITTED
            return await self._service.log.commit(event, build, name=model.ref.name)

        return await self._attended(work, delivery, done, make)

    async def _attended(
        self,
        work: Measurement,
        delivery: Delivery,
        done: Callable[[], Awaitable[Committed[C] | None]],
        make: Callable[[], Awaitable[Committed[C]]],
    ) -> Committed[C]:
        """Make what is not made yet; tell how it goes and ends; stop when someone asks for that."""
        service, run = self._service, work.run

        async def made() -> Committed[C]:
            await service.bus.report(work.changed(RunState.RUN_STATE_RUNNING))
            return await make()

        with service.occupation.doing(run.id, run.kind, work.title):
            try:
                found = await done()
                if found is None:
                    found = await service.cancellations.unless_cancelled(run.id, delivery, made())
            except Exception as error:
                ended = work.changed(state_after(error))
                ended.message = describe(error)
                await service.bus.report(ended)
                raise
        self._folders.remove(run.id)
        await service.bus.report(work.completed(found.commit.summary, found.ref))
        return found

    async def _model(self, ref: ArtefactRef) -> Committed[ModelCommitted]:
        return await self._service.log.version(catalog.MODEL_COMMITTED, ref, name=ref.name)

    def _run(
        self,
        kind: RunKind,
        inputs: Sequence[ArtefactRef],
        parameters: Mapping[str, object],
        actor: Actor,
    ) -> Run:
        return runs.new_run(
            kind,
            inputs=inputs,
            parameters=parameters,
            actor=actor,
            agent=self._service.agent,
            environment=runs.environment(code_digest(*CODE)),
            clock=self._service.clock,
            trace_id=tracing.current_trace_id(),
        )

    async def _calibration_dataset(
        self, command: QuantizeModel, model: Committed[ModelCommitted]
    ) -> Committed[DatasetCommitted]:
        if command.HasField("dataset"):
            return await self._datasets.version(command.dataset)
        for ref in model.commit.run.inputs:
            if ref.role == "train_on":
                return await self._datasets.version(ref)
        raise Rejected(f"{version_of(model.ref)} does not say what it was trained on")

    async def _examples(self, work: Measurement, split: str) -> list[Example]:
        """Return the labeled items of a split, by asset; Rejected if there are none."""
        tree = await self._datasets.tree(work.dataset)
        found = [
            example_of(item)
            async for item in tree.rows(ITEM_COLUMNS)
            if item.labeled and item.split == split
        ]
        if not found:
            raise Rejected(
                f"{version_of(work.dataset.ref)} has no labeled items in split {split!r}",
                dataset=work.dataset.ref.name,
            )
        return found

    async def _split_digest(self, dataset: Committed[DatasetCommitted], split: str) -> str:
        if split == TEST:
            return dataset.message.test_split_digest
        return (await self._datasets.tree(dataset)).splits.get(split, "")

    async def _onnx(self, model: Committed[ModelCommitted]) -> bytes:
        return await self._service.objects.get(Area.MODELS, onnx_digest_of(model))

    async def _quantized(
        self, work: Measurement, count: int, delivery: Delivery
    ) -> tuple[bytes, Done]:
        examples = sorted(await self._examples(work, TRAIN), key=_lot)[:count]
        folder = self._folders.folder(work.run.id)
        target = folder / "quantized.onnx"
        subject = await self._subject(work, await self._onnx(work.model), folder)

        def task(examples_file: Path) -> Quantize:
            return Quantize(subject=subject, examples_file=examples_file, onnx_file=target)

        done = await self._carried_out(work, examples, task, folder, delivery)
        return await asyncio.to_thread(target.read_bytes), done

    async def _measured(
        self, work: Measurement, onnx_model: bytes, delivery: Delivery, name: str = ""
    ) -> Found:
        """Measure a network, called by the model's version or by `name`; store what was found."""
        examples = await self._examples(work, work.split)
        folder = self._folders.folder(work.run.id)
        subject = await self._subject(work, onnx_model, folder, name)

        def task(examples_file: Path) -> Measure:
            return Measure(
                subject=subject,
                dataset=version_of(work.dataset.ref),
                split=work.split,
                examples_file=examples_file,
                folder=folder,
                threads=self._settings.evaluation_threads,
            )

        done = await self._carried_out(work, examples, task, folder, delivery)
        names = (REPORT_FILE, OUTCOMES_FILE, PAGE_FILE)
        files = [await asyncio.to_thread((folder / name).read_bytes) for name in names]
        digests = await self._service.objects.put_many(Area.REPORTS, files)
        report = Report.model_validate_json(files[0])
        return Found(report, digests[0], digests[1], digests[2], done.figures)

    async def _subject(
        self, work: Measurement, onnx_model: bytes, folder: Path, name: str = ""
    ) -> Subject:
        path = folder / ONNX_FILE
        await asyncio.to_thread(write_whole, path, onnx_model)
        return Subject(
            name=name or version_of(work.model.ref),
            task=work.model.message.task,
            classes=tuple(work.model.message.classes),
            input_format=input_format_of(work.model.message),
            onnx_file=path,
        )

    async def _carried_out(
        self,
        work: Measurement,
        examples: Sequence[Example],
        task: Callable[[Path], AnyTask],
        folder: Path,
        delivery: Delivery,
    ) -> Done:
        """Fetch the images, and have a process do the task on them."""

        async def hear(counted: Counted) -> None:
            await self._service.bus.report(work.changed(RunState.RUN_STATE_RUNNING, counted))

        sizes_bytes = {example.asset: example.size_bytes for example in examples}
        with self._cache.pinned(sizes_bytes):
            await self._cache.fetch(list(sizes_bytes))
            placed = [Placed(example, self._cache.path(example.asset)) for example in examples]
            path = folder / "measured.jsonl"
            lines = b"".join(PLACED.dump_json(one) + b"\n" for one in placed)
            await asyncio.to_thread(write_whole, path, lines)
            return await carried_out(
                task(path),
                folder,
                hear,
                attempt=delivery.attempt,
                silence_s=self._settings.silence_s,
                niceness=self._settings.training_niceness,
            )

    def _finish(self, run: Run, found: Found, figures: dict[str, float] | None = None) -> None:
        roles = {
            "evaluation": found.report_digest,
            "outcomes": found.outcomes_digest,
            "page": found.page_digest,
        }
        run.outputs.extend(report_outputs(list(roles.items())))
        run.figures.update({**found.figures, **(figures or {})})
        run.finished_at.CopyFrom(timestamp(self._service.clock))

    async def _manifest(self, work: Measurement, onnx_model: bytes, found: Found) -> Manifest:
        """Store the new network and what was found of it, and say what the version is."""
        # Without the speed, equal work gives equal bytes, and so an equal version.
        report = found.report.model_copy(update={"speed": None, "model": ""})
        contents = {
            ONNX_FILE: onnx_model,
            REPORT_FILE: canonical_json(report.model_dump(mode="json", exclude_none=True)),
        }
        digests = await self._service.objects.put_many(Area.MODELS, list(contents.values()))
        files = [
            StoredFile(name, digest, len(data))
            for (name, data), digest in zip(contents.items(), digests, strict=True)
        ]
        before = work.model.message
        return Manifest(
            task=before.task,
            recipe=before.recipe,
            classes=tuple(before.classes),
            input_format=input_format_of(before),
            files=(*files, *kept_files(before, KEPT_FILES)),
        )


def _lot(example: Example) -> bytes:
    """Draw images for calibration by their hash: the same ones again, whatever their order."""
    return hashlib.sha256(b"calibration/" + example.asset.encode()).digest()
