"""Answers questions about datasets."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import Any

from loopline.access import Caller
from loopline.contracts import (
    DatasetCommitted,
    PredictionsCommitted,
    RunKind,
)
from loopline.digests import is_digest
from loopline.errors import NotFound, Rejected
from loopline.lineage.details import iso, run_kind_of
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction
from loopline.store.objects import ObjectStore
from loopline.store.trees import Diff, Tree, TreeStore
from services.console.adapters.drops import Drops, drop_report
from services.console.adapters.items import item_out, page
from services.console.adapters.log_view import LogView
from services.console.adapters.messages import person_out, ref_out
from services.console.adapters.sdk import Sdk
from services.console.bodies.datasets import (
    ChangedItemOut,
    DatasetOut,
    DatasetsOut,
    DiffOut,
    DropsOut,
    FacetsOut,
    ItemOut,
    ItemsOut,
    PredictionsOut,
    VersionOut,
    VersionsOut,
)
from services.console.domain.figures import histogram
from services.console.domain.filters import ItemFilter

NO_PREDICTIONS = "-"
SOURCES_MAX = 50
TAGS_MAX = 200
FIELDS = ("split", "tags", "labeled", "shapes", "source", "media_type", "parent")

DatasetVersion = Committed[DatasetCommitted]


class DatasetDesk:
    """Datasets, from the log and the trees.

    Args:
        view: What the log says.
        datasets: Opens trees.
        objects: Where reports are.
        sdk: Restores and tags.
        scan_items_max: Items that a page looks at.
    """

    def __init__(
        self,
        view: LogView,
        datasets: Datasets,
        objects: ObjectStore,
        sdk: Sdk,
        scan_items_max: int,
    ) -> None:
        self._view = view
        self._datasets = datasets
        self._sdk = sdk
        self._scan_items_max = scan_items_max
        self._predictions: TreeStore[Prediction] = TreeStore(objects, PREDICTIONS)
        self._drops = Drops(datasets, objects, scan_items_max)

    async def datasets(self) -> DatasetsOut:
        """Return every dataset, the last changed first."""
        heads: dict[str, DatasetVersion] = {}
        counts: Counter[str] = Counter()
        for committed in self._committed():
            name = committed.ref.name
            counts[name] += 1
            if name not in heads or committed.sequence > heads[name].sequence:
                heads[name] = committed
        found = sorted(heads.values(), key=lambda one: -one.sequence)
        return DatasetsOut(
            datasets=[
                DatasetOut(
                    name=head.ref.name,
                    head=self._version_out(head, head),
                    versions=counts[head.ref.name],
                    tags=dict(head.message.tags),
                )
                for head in found
            ]
        )

    async def versions(self, name: str) -> VersionsOut:
        """Return the versions of a dataset, the newest first."""
        history = self._history(name)
        return VersionsOut(
            name=name, versions=[self._version_out(one, history[-1]) for one in history[::-1]]
        )

    async def version(self, name: str, version: int) -> VersionOut:
        """Return one version."""
        return self._version_out(self.committed(name, version), self._history(name)[-1])

    async def items(
        self, name: str, version: int, wanted: ItemFilter, predictions: str, cursor: str,
        limit: int,
    ) -> ItemsOut:  # fmt: skip
        """Return a page of items."""
        if cursor and not is_digest(cursor):
            raise Rejected(f"{cursor!r} is not a cursor of this list")
        tree = await self._datasets.tree(self.committed(name, version))
        told = self._told(name, predictions)
        ptree = await self._predictions_tree(told)
        found = await page(tree, ptree, wanted, cursor, limit, self._scan_items_max)
        return ItemsOut(
            items=[item_out(item, found.predictions.get(item.asset)) for item in found.items],
            next_cursor=found.cursor,
            scanned=found.scanned,
            total=tree.count,
            predictions=None if told is None else _predictions_out(told),
        )

    async def item(self, name: str, version: int, asset: str, predictions: str) -> ItemOut:
        """Return one item."""
        tree = await self._datasets.tree(self.committed(name, version))
        item = (await tree.get([asset])).get(asset)
        if item is None:
            raise NotFound(f"{name} v{version} has no item {asset}", asset=asset)
        ptree = await self._predictions_tree(self._told(name, predictions))
        told = (await ptree.get([asset])).get(asset) if ptree is not None else None
        return item_out(item, told)

    async def facets(self, name: str, version: int) -> FacetsOut:
        """Return what items can be filtered by."""
        committed = self.committed(name, version)
        statistics = committed.message.statistics
        tree = await self._datasets.tree(committed)
        tags: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        looked = 0
        async with aclosing(tree.batches(["tags", "source"])) as shards:
            async for shard in shards:
                for some in shard.column("tags").to_pylist():
                    tags.update(some)
                sources.update(map(folder_of, shard.column("source").to_pylist()))
                looked += shard.num_rows
                if looked >= self._scan_items_max:
                    break
        del sources[""]
        return FacetsOut(
            classes=histogram(statistics),
            splits=_splits(statistics),
            tags=dict(tags.most_common(TAGS_MAX)),
            sources=dict(sources.most_common(SOURCES_MAX)),
            predictions=[_predictions_out(one) for one in self._predictions_of(name)],
            is_sampled=looked < tree.count,
        )

    async def diff(self, name: str, a: int, b: int, cursor: str, limit: int) -> DiffOut:
        """Return a page of what was done to one version to make it another."""
        before, after = self.committed(name, a), self.committed(name, b)
        tree_a, tree_b = await self._datasets.tree(before), await self._datasets.tree(after)
        trees = self._datasets.trees
        counts = await trees.changes(tree_a, tree_b)
        found: Diff[Item] = Diff({}, {}, {})
        async with aclosing(trees.differences(tree_a, tree_b)) as parts:
            async for part in parts:
                for kept, new in zip(
                    (found.added, found.removed, found.changed),
                    (part.added, part.removed, part.changed),
                    strict=True,
                ):
                    kept.update({k: v for k, v in new.items() if k > cursor})  # type: ignore[attr-defined]
                if len(found.added) + len(found.removed) + len(found.changed) > limit:
                    break
        ids = sorted([*found.added, *found.removed, *found.changed])
        shown = set(ids[:limit])
        head = self._history(name)[-1]
        return DiffOut(
            a=self._version_out(before, head),
            b=self._version_out(after, head),
            counts={kind: counts.get(kind, 0) for kind in ("added", "changed", "removed")},
            added=[item_out(i, None) for k, i in sorted(found.added.items()) if k in shown],
            removed=[item_out(i, None) for k, i in sorted(found.removed.items()) if k in shown],
            changed=[_changed(*p) for k, p in sorted(found.changed.items()) if k in shown],
            next_cursor=ids[limit - 1] if len(ids) > limit else None,
        )

    async def drops(
        self, name: str, version: int, reason: str, cursor: str, limit: int
    ) -> DropsOut:
        """Return a page of what the import that made a version dropped."""
        committed = self.committed(name, version)
        return await self._drops.page(committed, reason, cursor, limit)

    async def restore(self, name: str, version: int, caller: Caller) -> VersionOut:
        """Bring an earlier version's items back."""
        self.committed(name, version)
        made = await self._sdk.datasets(caller).restore(f"{name}@v{version}")
        return await self._seen(made)

    async def tag(self, name: str, version: int, tag: str, caller: Caller) -> VersionOut:
        """Name a version."""
        self.committed(name, version)
        await self._seen(await self._sdk.datasets(caller).tag(f"{name}@v{version}", tag))
        return await self.version(name, version)

    def committed(self, name: str, version: int) -> DatasetVersion:
        """Return a version's commit; NotFound if there is none."""
        found = self._view.commits.get(f"dataset:{name}@{version}")
        if found is None:
            raise NotFound(f"there is no dataset {name} v{version}", dataset=name)
        return found

    async def _seen(self, committed: DatasetVersion) -> VersionOut:
        await self._view.catch_up(committed.sequence)
        return self._version_out(committed, committed)

    def _committed(self) -> list[DatasetVersion]:
        commits = self._view.commits.values()
        return [one for one in commits if isinstance(one.message, DatasetCommitted)]

    def _history(self, name: str) -> list[DatasetVersion]:
        """Return the versions of a dataset, oldest first; NotFound if there is no such dataset."""
        found = [one for one in self._committed() if one.ref.name == name]
        if not found:
            raise NotFound(f"there is no dataset {name!r}", dataset=name)
        return sorted(found, key=lambda one: one.sequence)

    def _version_out(self, committed: DatasetVersion, head: DatasetVersion) -> VersionOut:
        message, commit, ref = committed.message, committed.commit, committed.ref
        statistics = dict(message.statistics)
        node = f"dataset:{ref.name}@{ref.version}"
        card = self._view.workflow.cards.get(node)
        is_restore = commit.run.kind == RunKind.RUN_KIND_RESTORE
        return VersionOut(
            name=ref.name,
            version=ref.version,
            digest=ref.digest,
            node=node,
            summary=commit.summary,
            committed_at=iso(commit.committed_at),
            actor=person_out(commit.run.actor),
            run=commit.run.id,
            run_kind=run_kind_of(commit.run.kind),
            items=statistics.get("items", 0),
            labeled=statistics.get("labeled", 0),
            statistics=statistics,
            histogram=histogram(statistics),
            splits=_splits(statistics),
            classes=list(message.classes),
            tags=sorted(tag for tag, at in head.message.tags.items() if at == ref.version),
            changes=dict(message.changes),
            restored_from=commit.other_parent.version if is_restore else 0,
            test_split_digest=message.test_split_digest,
            has_drops=bool(drop_report(committed)),
            thumbnails=list(card.thumbnails) if card else [],
        )

    def _predictions_of(self, name: str) -> list[Committed[PredictionsCommitted]]:
        """Return the last predictions of each model over a dataset, the newest first."""
        last: dict[str, Committed[PredictionsCommitted]] = {}
        for one in self._view.commits.values():
            if isinstance(one.message, PredictionsCommitted) and one.message.dataset.name == name:
                last[one.ref.name] = one
        return sorted(last.values(), key=lambda one: -one.sequence)

    def _told(self, name: str, wanted: str) -> Committed[PredictionsCommitted] | None:
        """Return the predictions to lay over items: the named ones, else a champion's, else last.

        Raises:
            NotFound: There are none of that name.
        """
        if wanted == NO_PREDICTIONS:
            return None
        known = self._predictions_of(name)
        if wanted:
            for one in known:
                if wanted in (one.ref.name, f"{one.ref.name}@v{one.ref.version}"):
                    return one
            raise NotFound(f"there are no predictions {wanted!r} over {name}", dataset=name)
        for one in known:
            model = f"model:{one.message.model.name}@{one.message.model.version}"
            card = self._view.workflow.cards.get(model)
            if card is not None and "champion" in card.aliases:
                return one
        return known[0] if known else None

    async def _predictions_tree(
        self, told: Committed[PredictionsCommitted] | None
    ) -> Tree[Prediction] | None:
        if told is None:
            return None
        return await self._predictions.open(told.message.tree.root_object)


def folder_of(source: str) -> str:
    """Return where an image came from, without its own name.

    >>> folder_of("s3://customer/photos/shoes/1.jpg")
    's3://customer/photos/shoes/'
    """
    return source[: source.rfind("/") + 1]


def _splits(statistics: Any) -> dict[str, int]:
    prefix = "split:"
    return {k.removeprefix(prefix): v for k, v in statistics.items() if k.startswith(prefix)}


def _changed(before: Item, after: Item) -> ChangedItemOut:
    old = {shape.id: shape for shape in before.shapes}
    new = {shape.id: shape for shape in after.shapes}
    names = {"labeled": "is_labeled"}
    return ChangedItemOut(
        before=item_out(before, None),
        after=item_out(after, None),
        added_shapes=sorted(new.keys() - old.keys()),
        removed_shapes=sorted(old.keys() - new.keys()),
        changed_shapes=sorted(k for k in old.keys() & new.keys() if old[k] != new[k]),
        changed_fields=[names.get(f, f) for f in FIELDS if getattr(before, f) != getattr(after, f)],
    )


def _predictions_out(committed: Committed[PredictionsCommitted]) -> PredictionsOut:
    return PredictionsOut(
        ref=ref_out(committed.ref),
        model=ref_out(committed.message.model),
        count=committed.message.tree.count,
    )
