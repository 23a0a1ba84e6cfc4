"""What a job is about: its list of items, their rows in the dataset, the predictions to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from loopline.contracts import LabelingJobCommitted, OpenLabelingJob, catalog
from loopline.digests import canonical_json
from loopline.errors import NotFound, Rejected
from loopline.store.commits import CommitLog
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import TreeStore
from services.annotate.adapters.board import rules_of
from services.annotate.adapters.items import Batch, ItemRows
from services.annotate.adapters.messages import options_of
from services.annotate.domain.jobs import starts_empty


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
        self._whole: dict[str, int] = {}  # items that are known to be there, by job

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

    async def listed(self, job: str, digest: str) -> list[str]:
        """Return a list of assets, in its order.

        Raises:
            Rejected: The list is not there, or is no JSON array of texts.
        """
        try:
            listed = orjson.loads(await self._objects.get(Area.PLANS, digest))
        except NotFound as error:
            raise NotFound(f"job {job}: there is no list of items {digest}", job=job) from error
        except orjson.JSONDecodeError as error:
            raise Rejected(f"job {job}: its list of items is not JSON", job=job) from error
        if not isinstance(listed, list) or not all(isinstance(asset, str) for asset in listed):
            raise Rejected(f"job {job}: its list of items is no array of digests", job=job)
        return listed

    async def keep_list(self, assets: Sequence[str]) -> str:
        """Keep a list of assets; return its digest."""
        return await self._objects.put(Area.PLANS, canonical_json(list(assets)))

    async def check(self, resolved: OpenLabelingJob, assets: Sequence[str]) -> None:
        """Refuse items that are not there, and ground truth that nobody labeled.

        Raises:
            Rejected: It names the asset.
        """
        truth = await self.truth(resolved)
        items = await self._items(resolved, [*assets, *truth])
        job, dataset = resolved.job, f"{resolved.dataset.name}@v{resolved.dataset.version}"
        missing = next((asset for asset in [*assets, *truth] if asset not in items), None)
        if missing is not None:
            raise Rejected(f"job {job}: asset {missing} is not in {dataset}", job=job)
        unknown = next((asset for asset in truth if not items[asset].labeled), None)
        if unknown is not None:
            raise Rejected(
                f"job {job}: ground truth {unknown} is not labeled in {dataset}", job=job
            )
        twice = set(assets) & set(truth)
        if twice:
            raise Rejected(f"job {job}: {min(twice)} is both an item and ground truth", job=job)

    async def assets(self, job: str) -> set[str]:
        """Return every asset of a job whose rows are there."""
        return await self._rows.all_assets(job)

    async def shown(self, job: str, assets: Sequence[str]) -> dict[str, tuple[Shape, ...]]:
        """Return the predictions that labelers of a job are shown, by asset."""
        await self.ensure(job)
        rows = await self._rows.get(job, assets)
        return {asset: row.predicted for asset, row in rows.items() if row.predicted is not None}

    async def truth(self, resolved: OpenLabelingJob) -> list[str]:
        """Return the assets that score labelers."""
        if not resolved.ground_truth_digest:
            return []
        return await self.listed(resolved.job, resolved.ground_truth_digest)

    async def ensure(self, job: str, total: int = 0) -> None:
        """Fill the rows of a job if they are not there, or not any more.

        Args:
            job: The job.
            total: How many items it has, if that is known; the log is asked otherwise.

        Raises:
            NotFound: There is no such job, or one of its objects is gone.
        """
        if total and self._whole.get(job) == total:
            return
        head = await self._log.head(catalog.LABELING_JOB_COMMITTED, name=job)
        if head is None:
            raise NotFound(f"there is no labeling job {job}", job=job)
        total = items_of(head.message)
        if self._whole.get(job) == total:
            return
        filled = await self._rows.filled(job)
        if sum(filled.values()) != total:
            await self._fill(job, filled)
        self._whole[job] = total

    async def predictions(
        self, resolved: OpenLabelingJob, assets: Sequence[str]
    ) -> dict[str, Prediction]:
        """Return the predictions shown to labelers, by asset."""
        if not resolved.predictions_tree.root_object:
            return {}
        tree = await self._predictions.open(resolved.predictions_tree.root_object)
        return await tree.get(assets)

    async def _fill(self, job: str, filled: Mapping[int, int]) -> None:
        first = 0
        for committed in await self._log.history(catalog.LABELING_JOB_COMMITTED, name=job):
            version, message = committed.ref.version, committed.message
            brought = message.addition if message.HasField("addition") else message.specification
            if version > 1 and not message.HasField("addition"):
                continue
            if version not in filled:
                rules = rules_of(options_of(message.specification))
                await self._rows.fill(await self._batch(brought, version, first), rules)
            first += brought.items_count

    async def _batch(self, brought: OpenLabelingJob, version: int, first: int) -> Batch:
        assets = await self.listed(brought.job, brought.items_digest)
        truth = await self.truth(brought) if version == 1 else []
        return Batch(
            job=brought.job,
            version=version,
            first=first,
            assets=assets,
            items=await self._items(brought, [*assets, *truth]),
            predictions=await self.predictions(brought, [*assets, *truth]),
            predicted_by=await self._model(brought),
            confidence_min=brought.confidence_min,
            truth=truth,
            starts_empty=starts_empty(options_of(brought)),
        )

    async def _model(self, brought: OpenLabelingJob) -> str:
        """Return the digest of the model behind the predictions that are shown."""
        if not brought.HasField("predictions") or not brought.predictions.name:
            return ""
        event, ref = catalog.PREDICTIONS_COMMITTED, brought.predictions
        try:
            found = await self._log.version(event, ref, name=ref.name)
        except NotFound:
            return ""
        return found.message.model.digest

    async def _items(self, resolved: OpenLabelingJob, assets: Sequence[str]) -> dict[str, Item]:
        committed = await self._datasets.version(resolved.dataset)
        tree = await self._datasets.tree(committed)
        return await tree.get(assets)


def items_of(message: LabelingJobCommitted) -> int:
    """Return how many items a job has from a commit on."""
    return message.items_total or message.specification.items_count
