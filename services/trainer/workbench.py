"""What a training needs on this machine: a folder, images, initial weights, a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from loopline.runtime.service import Service
from loopline.store.datasets import Datasets
from services.trainer.adapters.asset_cache import AssetCache
from services.trainer.adapters.checkpoints import RunFolders
from services.trainer.adapters.files import write_whole
from services.trainer.adapters.initial_weights import WeightFiles
from services.trainer.adapters.messages import ITEM_COLUMNS, Training, example_of
from services.trainer.adapters.process import TrainingProcess, beside, started
from services.trainer.domain.examples import Selection, select
from services.trainer.domain.job import PLACED, Placed, Train
from services.trainer.domain.supply import arrival_order
from services.trainer.settings import TrainerSettings


class Workbench:
    """Has at hand what trainings need, those that this agent leads and those that it joins.

    Args:
        service: Whose log and storage are used.
        settings: Its settings.
    """

    def __init__(self, service: Service, settings: TrainerSettings) -> None:
        self._clock = service.clock
        self._settings = settings
        folder = settings.data_dir / "trainer"
        self.folders = RunFolders(folder / "runs")
        self.cache = AssetCache(service.objects, folder / "assets", settings.asset_cache_bytes)
        self.weights = WeightFiles(
            service.log, service.objects, settings.weights_dir or folder / "weights"
        )
        self.datasets = Datasets(service.log, service.objects)

    def prune(self) -> None:
        """Remove what is left of runs that nobody finished."""
        self.folders.prune(self._clock.now().timestamp() - self._settings.abandoned_run_s)

    def process(self, attempt: int) -> contextlib.AbstractAsyncContextManager[TrainingProcess]:
        """Start a training process for the block."""
        return started(
            attempt=attempt,
            silence_s=self._settings.silence_s,
            niceness=self._settings.training_niceness,
        )

    @contextlib.asynccontextmanager
    async def supplied(self, training: Training, process: TrainingProcess) -> AsyncIterator[Train]:
        """Yield the job of a training, whose images arrive within the block.

        Raises:
            Rejected: The data cannot be trained with.
            Transient: What an image did not come for.
        """
        selection = await self._select(training)
        folder = self.folders.folder(training.run.id)
        sizes_bytes = {example.asset: example.size_bytes for example in selection}
        with self.cache.pinned(sizes_bytes):
            seed = int(training.described.parameters["seed"])
            job = Train(
                dataset=training.dataset_version,
                model=training.model,
                classes=tuple(training.dataset.message.classes),
                examples_file=await asyncio.to_thread(self._write_examples, selection, folder),
                folder=folder,
                memory_bytes=self._settings.decoded_bytes,
                initial_weights=await self.weights.bring(training.initial_weights, folder),
            )
            fetching = self.cache.fetch(arrival_order(selection, seed))
            async with beside(process, fetching, "image supply"):
                yield job

    async def _select(self, training: Training) -> Selection:
        tree = await self.datasets.tree(training.dataset)
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
