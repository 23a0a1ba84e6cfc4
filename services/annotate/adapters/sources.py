"""What a job is about: its list of items, their rows in the dataset, the predictions to show."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from loopline.contracts import OpenLabelingJob, catalog
from loopline.errors import NotFound, Rejected
from loopline.store.commits import CommitLog
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import TreeStore
from services.annotate.adapters.items import ItemRows


class JobSources:
    """Reads what jobs are made of, and keeps it as rows."""

    def __init__(
        self, log: CommitLog, objects: ObjectStore, datasets: Datasets, rows: ItemRows
    ) -> None:
        self._log = log
        self._objects = objects
        self._datasets = datasets
        self._predictions: TreeStore[Prediction] = TreeStore(objects, PREDICTIONS)
        self._rows = rows

    async def resolved(self, command: OpenLabelingJob) -> OpenLabelingJob:
        """Return the command with the exact dataset and predictions it means, and its classes.

        Raises:
            NotFound: There is no such dataset or predictions version.
        """
        made = OpenLabelingJob()
        made.CopyFrom(command)
        dataset = await self._datasets.version(command.dataset)
        made.dataset.CopyFrom(dataset.ref)
        if not made.classes:
            made.classes.extend(dataset.message.classes)
        if command.HasField("predictions") and not command.predictions_tree.root_object:
            event, ref = catalog.PREDICTIONS_COMMITTED, command.predictions
            predictions = await self._log.version(event, ref, name=ref.name)
            made.predictions.CopyFrom(predictions.ref)
            made.predictions_tree.CopyFrom(predictions.message.tree)
        return made

    async def assets(self, resolved: OpenLabelingJob) -> list[str]:
        """Return the assets in the order to label.

        Raises:
            Rejected: The list is not there, or is no JSON array of texts.
        """
        job, digest = resolved.job, resolved.items_digest
        try:
            listed = orjson.loads(await self._objects.get(Area.PLANS, digest))
        except NotFound as error:
            raise NotFound(f"job {job}: there is no list of items {digest}", job=job) from error
        except orjson.JSONDecodeError as error:
            raise Rejected(f"job {job}: its list of items is not JSON", job=job) from error
        if not isinstance(listed, list) or not all(isinstance(asset, str) for asset in listed):
            raise Rejected(f"job {job}: its list of items is no array of digests", job=job)
        return listed

    async def fill(self, digest: str, resolved: OpenLabelingJob, assets: Sequence[str]) -> None:
        """Keep the items of a job as rows under the digest of its specification.

        Raises:
            Rejected: An asset is not in the dataset version.
        """
        items = await self._items(resolved, assets)
        missing = next((asset for asset in assets if asset not in items), None)
        if missing is not None:
            dataset = f"{resolved.dataset.name}@v{resolved.dataset.version}"
            raise Rejected(
                f"job {resolved.job}: asset {missing} is not in {dataset}", job=resolved.job
            )
        await self._rows.fill(digest, assets, items, await self.predictions(resolved, assets))

    async def ensure(self, digest: str, resolved: OpenLabelingJob) -> None:
        """Fill the rows of an open job if they are not there, or not any more."""
        if not await self._rows.is_filled(digest):
            await self.fill(digest, resolved, await self.assets(resolved))

    async def predictions(
        self, resolved: OpenLabelingJob, assets: Sequence[str]
    ) -> dict[str, Prediction]:
        """Return the predictions shown to labelers, by asset."""
        if not resolved.predictions_tree.root_object:
            return {}
        tree = await self._predictions.open(resolved.predictions_tree.root_object)
        return await tree.get(assets)

    async def _items(self, resolved: OpenLabelingJob, assets: Sequence[str]) -> dict[str, Item]:
        committed = await self._datasets.version(resolved.dataset)
        tree = await self._datasets.tree(committed)
        return await tree.get(assets)
