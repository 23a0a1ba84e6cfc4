"""Trees: immutable sets of rows whose digest says what is in them, and nothing else.

A tree is a root object and shards, both in object storage under the sha256 of their bytes. Writing
one makes nothing visible: a commit does. A change costs the shards it touches and the root,
whatever else is there (ADR 0003). This module decides how trees are built and read; where rows live
is `trie`, what is in a shard `shards`, and what two trees have to do with one another `merge`.

>>> trees = TreeStore(objects, ITEMS)
>>> first = await trees.write(items)
>>> second = await trees.apply(first, upserts=[corrected], removals=[unwanted])
>>> (await trees.diff(first, second)).counts()
{'added': 0, 'changed': 1, 'removed': 1}
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from loopline.contracts import TreeRef
from loopline.errors import Rejected
from loopline.store import trie
from loopline.store.merge import Diff, Merge, MergeConflict
from loopline.store.objects import Area, ObjectStore
from loopline.store.roots import Root
from loopline.store.rows import RowCodec, check_ids
from loopline.store.shards import Leaf, Shards, in_order, moved
from loopline.store.trie import Prefix
from loopline.store.upserts import Runs, Upserts

__all__ = ["Diff", "MergeConflict", "Tree", "TreeStore"]

R = TypeVar("R")


class Tree(Generic[R]):
    """A version's rows. Immutable; nothing but the root is in memory.

    Args:
        shards: Reads its shards.
        root: What its root object says.
        root_object: The digest of the root object's bytes.
    """

    def __init__(self, shards: Shards[R], root: Root, root_object: str) -> None:
        self._shards = shards
        self.root = root
        self.root_object = root_object

    @property
    def digest(self) -> str:
        """Digest of the logical content: equal for equal rows, whatever their history."""
        return self.root.digest

    @property
    def count(self) -> int:
        """Rows in the tree."""
        return self.root.count

    @property
    def statistics(self) -> dict[str, int]:
        """Counters over the rows: "items", "labeled", "split:<s>", "labeled:<s>", "class:<c>"."""
        return self.root.statistics

    @property
    def splits(self) -> dict[str, str]:
        """The `split_digest` of each split that has rows, from the root alone."""
        return self.root.splits

    def ref(self) -> TreeRef:
        """Return the tree's name in commits."""
        return TreeRef(digest=self.digest, root_object=self.root_object, count=self.count)

    async def rows(self, columns: Sequence[str] | None = None) -> AsyncIterator[R]:
        """Yield the rows, sorted by id.

        Args:
            columns: Read these alone; the other fields have their default, or zero, and the id is
                read in any case. Columns that are stored apart are then not even fetched.

        Raises:
            Rejected: There is no such column.
        """
        codec = self._shards.codec
        wanted = codec.public_columns if columns is None else {*columns, codec.id_column}

        async def load(leaf: Leaf) -> list[R]:
            table = await self._shards.load(leaf, wanted)
            return await asyncio.to_thread(codec.rows, table)

        async with aclosing(in_order(self.root.leaves, load)) as shards:
            async for rows in shards:
                for row in rows:
                    yield row

    async def batches(
        self, columns: Sequence[str] | None = None, after: str = ""
    ) -> AsyncGenerator[pa.Table, None]:
        """Yield some columns as Arrow tables, a shard at a time, sorted by id.

        Args:
            columns: These alone; all if None.
            after: Only rows whose id sorts behind this; shards before it are not read.

        Raises:
            Rejected: There is no such column.
        """
        codec = self._shards.codec
        names = list(codec.public_columns if columns is None else columns)
        leaves = [x for x in self.root.leaves if x.prefix.high is None or x.prefix.high > after]

        async def load(leaf: Leaf) -> pa.Table:
            table = await self._shards.load(leaf, {*names, codec.id_column})
            if after and leaf.prefix.low <= after:
                table = table.filter(pc.greater(table.column(codec.id_column), after))
            return table.select(names)

        async with aclosing(in_order(leaves, load)) as tables:
            async for table in tables:
                yield table

    async def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return some columns of all rows as one Arrow table, sorted by id.

        Raises:
            Rejected: There is no such column.
        """
        schema = self._shards.codec.schema
        names = list(self._shards.codec.public_columns if columns is None else columns)
        parts = [part async for part in self.batches(names)]
        return pa.concat_tables(parts) if parts else schema.empty_table().select(names)

    async def get(self, ids: Sequence[str]) -> dict[str, R]:
        """Return the rows of those ids that are in the tree, sorted by id.

        Raises:
            Rejected: An id is not 64 hex digits.
        """
        check_ids(ids)
        codec, wanted = self._shards.codec, sorted(set(ids))

        async def load(found: tuple[Leaf, list[str]]) -> list[R]:
            leaf, some = found
            table = await self._shards.load(leaf, codec.public_columns)
            here = pc.is_in(table.column(codec.id_column), value_set=pa.array(some, pa.string()))
            return await asyncio.to_thread(codec.rows, table.filter(here))

        touched = [
            (leaf, some) for leaf in self.root.leaves if (some := _under(leaf.prefix, wanted))
        ]
        return {codec.row_id(row): row async for rows in in_order(touched, load) for row in rows}


class TreeStore(Generic[R]):
    """Builds, opens and compares the trees of one row type.

    Args:
        objects: Where they are kept.
        codec: The row type.
        rows_max: The most rows of a shard; part of every digest, so leave it but in tests.
    """

    def __init__(
        self, objects: ObjectStore, codec: RowCodec[R], *, rows_max: int = trie.SHARD_ROWS_MAX
    ) -> None:
        self._shards = Shards(objects, codec)
        self._rows_max = rows_max

    async def write(self, rows: Iterable[R] | AsyncIterable[R]) -> Tree[R]:
        """Return the tree of some rows; of several with one id the last counts.

        Raises:
            Rejected: A row is not one that the codec can keep.
        """
        return await self.apply(None, rows)

    async def open(self, root_object: str) -> Tree[R]:
        """Return the tree whose root object has this digest (`TreeRef.root_object`).

        Raises:
            NotFound: There is no such object.
            Corrupt: The object is not the root of a tree.
            Rejected: Its rows are of another type.
        """
        root = Root.from_bytes(await self._shards.objects.get(Area.TREES, root_object))
        expected = (self._shards.codec.name, self._rows_max)
        if (root.codec, root.rows_max) != expected:
            raise Rejected(
                f"the tree {root.digest} holds {root.codec} in shards of {root.rows_max} rows, "
                f"not {expected[0]} in shards of {expected[1]}",
                tree=root.digest,
            )
        return Tree(self._shards, root, root_object)

    async def apply(
        self,
        tree: Tree[R] | None,
        upserts: Iterable[R] | AsyncIterable[R] = (),
        removals: Iterable[str] = (),
    ) -> Tree[R]:
        """Return the tree with rows added or replaced, and others removed.

        Equal rows give an equal digest, whatever the changes that led there.

        Args:
            tree: Where to begin; None for no rows.
            upserts: Rows to add, or to put in place of those with the same id. Of several with one
                id the last counts.
            removals: Ids to remove; those that are not there are ignored.

        Raises:
            Rejected: A row is not one that the codec can keep, or is both put and removed.
        """
        with Upserts(self._shards.codec) as collected:
            await collected.add(upserts)
            return await self._apply(tree, await collected.runs(), sorted(set(removals)))

    async def diff(
        self, a: Tree[R] | None, b: Tree[R], columns: Sequence[str] | None = None
    ) -> Diff[R]:
        """Return what has to be done to `a` to make it `b`; reads the shards that differ.

        Args:
            a: Before; None for no rows.
            b: After.
            columns: As in `Tree.rows`, for the rows in the result; a row counts as changed whatever
                column differs.
        """
        whole: Diff[R] = Diff({}, {}, {})
        async for part in self.differences(a, b, columns):
            whole.added.update(part.added)
            whole.removed.update(part.removed)
            whole.changed.update(part.changed)
        return whole

    async def differences(
        self, a: Tree[R] | None, b: Tree[R], columns: Sequence[str] | None = None
    ) -> AsyncGenerator[Diff[R], None]:
        """Yield `diff` in parts, a shard or so at a time, sorted by id: for large changes."""
        found = Merge(self._shards).differences(_leaves(a), _leaves(b), columns)
        async with aclosing(found) as parts:
            async for part in parts:
                yield part

    async def changes(self, a: Tree[R] | None, b: Tree[R]) -> dict[str, int]:
        """Return the counters of `diff`: "added", "changed", "removed", "labels_changed".

        The last counts the rows whose labels came, went or became others. Shards that are new or
        gone as a whole are counted from the root, so a first version costs nothing.
        """
        return await Merge(self._shards).changes(_leaves(a), _leaves(b))

    async def merge(self, base: Tree[R] | None, ours: Tree[R], theirs: Tree[R]) -> Tree[R]:
        """Return `ours` with what `theirs` did to `base`, row by row; costs what changed.

        Args:
            base: What both began with; None for no rows.
            ours: One side.
            theirs: The other; the result does not depend on which is which.

        Raises:
            MergeConflict: Both changed the same row, and not to the same content; it has all such
                ids.
        """
        if ours.digest == theirs.digest or (base and base.digest == theirs.digest):
            return ours
        if base and base.digest == ours.digest:
            return theirs
        merge = Merge(self._shards)
        tables, removals = await merge.take(_leaves(base), _leaves(ours), _leaves(theirs))
        codec = self._shards.codec
        return await self._apply(ours, Runs(codec.id_column, tables, codec.schema), removals)

    async def _apply(self, tree: Tree[R] | None, upserts: Runs, removals: list[str]) -> Tree[R]:
        check_ids(removals)
        self._refuse_both(upserts, removals)
        before = _leaves(tree)
        new = trie.gaps(before, upserts.count)
        fresh = [part for gap in new for part in trie.split(upserts.count, gap, self._rows_max)]

        async def write(prefix: Prefix) -> list[Leaf]:
            return [await self._shards.save(prefix, upserts.under(prefix))]

        async def change(leaf: Leaf) -> list[Leaf]:
            return await self._change(leaf, upserts, _under(leaf.prefix, removals))

        touched = [f for f in before if upserts.count(f.prefix) or _under(f.prefix, removals)]
        changed = {id(leaf) for leaf in touched}
        after = [leaf for leaf in before if id(leaf) not in changed]
        after += [leaf async for leaves in in_order(touched, change) for leaf in leaves]
        after += [leaf async for leaves in in_order(fresh, write) for leaf in leaves]
        after.sort(key=lambda leaf: leaf.prefix)
        return await self._rooted(await self._regrouped(after), tree)

    async def _change(self, leaf: Leaf, upserts: Runs, removals: Sequence[str]) -> list[Leaf]:
        """Return the shards that a shard becomes."""
        if upserts.count(leaf.prefix) <= self._rows_max:
            rows = upserts.under(leaf.prefix)
            changed = await self._shards.change(leaf, rows, removals, self._rows_max)
            if changed is not None:
                return changed
        ids = upserts.ids(leaf.prefix)
        gone = pa.chunked_array([*ids.chunks, pa.array(removals, pa.string())])
        runs = upserts.within(leaf.prefix, await self._shards.without(leaf, gone))
        return [
            await self._shards.save(prefix, runs.under(prefix))
            for prefix in trie.split(runs.count, leaf.prefix, self._rows_max)
        ]

    async def _regrouped(self, leaves: Sequence[Leaf]) -> list[Leaf]:
        """Return the canonical shards: after removals several may belong into one."""

        async def join(group: tuple[Prefix, Sequence[Leaf]]) -> Leaf:
            prefix, parts = group
            if len(parts) == 1:
                return moved(parts[0], prefix)
            return await self._shards.save(prefix, await self._shards.load_all(parts))

        groups = trie.regroup(leaves, rows_max=self._rows_max)
        return [leaf async for leaf in in_order(groups, join)]

    async def _rooted(self, leaves: Sequence[Leaf], tree: Tree[R] | None) -> Tree[R]:
        root = Root(self._shards.codec.name, self._rows_max, tuple(leaves))
        if tree and tree.digest == root.digest:
            return tree
        data = await asyncio.to_thread(root.to_bytes)
        return Tree(self._shards, root, await self._shards.objects.put(Area.TREES, data))

    def _refuse_both(self, upserts: Runs, removals: Sequence[str]) -> None:
        if not removals:
            return
        gone = pa.array(removals, pa.string())
        for table in upserts.tables:
            ids = table.column(self._shards.codec.id_column)
            if both := ids.filter(pc.is_in(ids, value_set=gone)).to_pylist():
                raise Rejected(f"row {both[0]} is to be both put and removed", rows=both)


def _leaves(tree: Tree[R] | None) -> tuple[Leaf, ...]:
    return tree.root.leaves if tree else ()


def _under(prefix: Prefix, ids: Sequence[str]) -> list[str]:
    """Return those of some sorted ids that are under a prefix."""
    high = prefix.high
    end = len(ids) if high is None else bisect_left(ids, high)
    return list(ids[bisect_left(ids, prefix.low) : end])
