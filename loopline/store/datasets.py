"""Committing dataset versions: every writer of a dataset goes through here.

Decides how statistics, tags, classes and the frozen test split travel from version to version, and
how a writer that lost the race rebases.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Run,
    catalog,
)
from loopline.names import validate_name
from loopline.store.commits import CommitLog, Committed, Unchanged
from loopline.store.items import ITEMS, Item
from loopline.store.objects import ObjectStore
from loopline.store.trees import Tree, TreeStore


@dataclass(frozen=True, slots=True)
class Change:
    """What to commit on a head.

    Args:
        run: What makes the change.
        summary: One sentence for people.
        upserts: Items to add or replace.
        removals: Assets to remove.
        classes: The dataset's classes from now on; those of the head if None.
    """

    run: Run
    summary: str
    upserts: Sequence[Item] = ()
    removals: Sequence[str] = ()
    classes: Sequence[str] | None = None


class Datasets:
    """The datasets of one workspace."""

    def __init__(self, log: CommitLog, objects: ObjectStore) -> None:
        self._log = log
        self.trees: TreeStore[Item] = TreeStore(objects, ITEMS)

    async def head(self, name: str) -> Committed[DatasetCommitted] | None:
        """Return the last version of a dataset, or None."""
        return await self._log.head(catalog.DATASET_COMMITTED, name=name)

    async def version(self, ref: ArtefactRef) -> Committed[DatasetCommitted]:
        """Return the version that `ref` names (see `CommitLog.version`).

        NotFound if there is none.
        """
        return await self._log.version(catalog.DATASET_COMMITTED, ref, name=ref.name)

    async def tree(self, committed: Committed[DatasetCommitted]) -> Tree[Item]:
        """Return a version's items."""
        return await self.trees.open(committed.message.tree.root_object)

    async def commit_changes(
        self,
        name: str,
        upserts: Iterable[Item] = (),
        removals: Iterable[str] = (),
        *,
        run: Run,
        summary: str,
        classes: Sequence[str] | None = None,
        base: Committed[DatasetCommitted] | None = None,
    ) -> Committed[DatasetCommitted]:
        """Commit the head with these items put in and taken out.

        Args:
            name: The dataset; made if it is not there.
            upserts: Items to add or replace.
            removals: Assets to remove.
            run: What made the change.
            summary: One sentence for people.
            classes: The dataset's classes from now on; those of the head if None.
            base: The version that the change was made on. If the head has moved on since, the
                change is merged three-way by item; None applies it to whatever the head is.

        Raises:
            MergeConflict: Both the head and this change touched an item since `base`.
        """
        validate_name("dataset", name)
        changed, removed = list(upserts), list(removals)

        async def build(head: Committed[DatasetCommitted] | None) -> DatasetCommitted:
            tree = await self._rebased(head, base, changed, removed)
            return await self._version(name, tree, head, run, summary, classes)

        return await self._log.commit(catalog.DATASET_COMMITTED, build, name=name)

    async def commit_decided(
        self,
        name: str,
        decide: Callable[[Committed[DatasetCommitted] | None], Awaitable[Change]],
    ) -> Committed[DatasetCommitted]:
        """Commit what `decide(head)` says.

        It is asked again with the new head if another writer was first.

        For changes that depend on what is there already: an import drops what the dataset has.
        """
        validate_name("dataset", name)

        async def build(head: Committed[DatasetCommitted] | None) -> DatasetCommitted:
            change = await decide(head)
            tree = await self.trees.apply(
                await self.tree(head) if head else None, change.upserts, change.removals
            )
            return await self._version(name, tree, head, change.run, change.summary, change.classes)

        return await self._log.commit(catalog.DATASET_COMMITTED, build, name=name)

    async def restore(
        self, name: str, to: ArtefactRef, *, run: Run, summary: str
    ) -> Committed[DatasetCommitted]:
        """Commit a version whose items are those of an earlier one."""
        target = await self.version(to)

        async def build(head: Committed[DatasetCommitted] | None) -> DatasetCommitted:
            tree = await self.tree(target)
            message = await self._version(
                name, tree, head, run, summary, list(target.message.classes)
            )
            message.commit.other_parent.CopyFrom(target.ref)
            return message

        return await self._log.commit(catalog.DATASET_COMMITTED, build, name=name)

    async def tag(
        self, name: str, tag: str, ref: ArtefactRef, *, run: Run
    ) -> Committed[DatasetCommitted]:
        """Name a version for people; the commit keeps the head's tree."""
        validate_name("tag", tag)
        target = await self.version(ref)

        async def build(head: Committed[DatasetCommitted] | None) -> DatasetCommitted:
            assert head is not None  # `version` found one
            if head.message.tags.get(tag) == target.ref.version:
                raise Unchanged(f"{name} is tagged {tag} already")
            tree = await self.tree(head)
            summary = f"{tag} = v{target.ref.version}"
            message = await self._version(name, tree, head, run, summary, None)
            message.tags[tag] = target.ref.version
            return message

        return await self._log.commit(catalog.DATASET_COMMITTED, build, name=name)

    async def _rebased(
        self,
        head: Committed[DatasetCommitted] | None,
        base: Committed[DatasetCommitted] | None,
        changed: Sequence[Item],
        removed: Sequence[str],
    ) -> Tree[Item]:
        onto = await self.tree(head) if head else None
        if base is None or head is None or base.ref.digest == head.ref.digest:
            return await self.trees.apply(onto, changed, removed)
        before = await self.tree(base)
        ours = await self.trees.apply(before, changed, removed)
        assert onto is not None
        return await self.trees.merge(before, ours, onto)

    async def _version(
        self,
        name: str,
        tree: Tree[Item],
        head: Committed[DatasetCommitted] | None,
        run: Run,
        summary: str,
        classes: Sequence[str] | None,
    ) -> DatasetCommitted:
        if classes is None:
            classes = list(head.message.classes) if head else []
        ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_DATASET, name=name, digest=tree.digest)
        return DatasetCommitted(
            commit=Commit(artefact=ref, run=run, summary=summary),
            tree=tree.ref(),
            statistics=tree.statistics,
            tags=head.message.tags if head else {},
            classes=classes,
            test_split_digest=tree.splits.get("test", ""),
            changes=await self.trees.changes(await self.tree(head) if head else None, tree),
        )
