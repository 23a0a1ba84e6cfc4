"""What two or three trees have to do with one another: differences, and the three-way merge by row.

Two shards of the same prefix and digest hold the same rows, so only those that differ are read:
first the ids and row digests, then the rows that are not the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from loopline.errors import Rejected
from loopline.store import trie
from loopline.store.rows import ROW_DIGEST
from loopline.store.shards import Leaf, Shards, in_order

R = TypeVar("R")
Region = tuple[list[Leaf], list[Leaf]]  # shards before and after that cover the same ids
CONFLICTS_NAMED = 3  # in the message; the error has them all


@dataclass(frozen=True, slots=True)
class Diff(Generic[R]):
    """What has to be done to one tree to make it another.

    Args:
        added: Rows that are only in the second, by id.
        removed: Rows that are only in the first, by id.
        changed: Rows that are in both and differ, by id: (first, second).
    """

    added: dict[str, R]
    removed: dict[str, R]
    changed: dict[str, tuple[R, R]]

    def __bool__(self) -> bool:
        """Tell whether the trees differ."""
        return bool(self.added or self.removed or self.changed)

    def counts(self) -> dict[str, int]:
        """Return how many rows were added, changed and removed."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "removed": len(self.removed),
        }


class MergeConflict(Rejected):
    """Two writers changed the same rows, and not to the same content.

    Args:
        items: The ids of all such rows, sorted.
    """

    def __init__(self, items: Sequence[str]) -> None:
        named = ", ".join(items[:CONFLICTS_NAMED])
        more = f" and {len(items) - CONFLICTS_NAMED} more" if len(items) > CONFLICTS_NAMED else ""
        super().__init__(f"both sides changed {named}{more}", items=tuple(items))
        self.items = tuple(items)


class Merge(Generic[R]):
    """Compares trees, given as their shards.

    Args:
        shards: Reads them.
    """

    def __init__(self, shards: Shards[R]) -> None:
        self._shards = shards
        self._codec = shards.codec

    async def differences(
        self, before: Sequence[Leaf], after: Sequence[Leaf], columns: Sequence[str] | None
    ) -> AsyncGenerator[Diff[R]]:
        """Yield what differs, region by region."""
        names = self._codec.public_columns if columns is None else tuple(columns)

        async def compare(region: Region) -> Diff[R]:
            return await self._compare(region, names)

        async with aclosing(in_order(_differing(before, after), compare)) as parts:
            async for part in parts:
                if part:
                    yield part

    async def changes(self, before: Sequence[Leaf], after: Sequence[Leaf]) -> dict[str, int]:
        """Return how many rows were added, changed, removed, and how many labels changed."""
        totals = dict.fromkeys(("added", "changed", "removed", "labels_changed"), 0)
        async for counts in in_order(_differing(before, after), self._count):
            for name, count in counts.items():
                totals[name] += count
        return totals

    async def take(
        self, base: Sequence[Leaf], ours: Sequence[Leaf], theirs: Sequence[Leaf]
    ) -> tuple[list[pa.Table], list[str]]:
        """Return what `theirs` did to `base` and `ours` has not: rows to put, ids to remove.

        Raises:
            MergeConflict: Both did different things to a row.
        """
        mine = await self._delta(base, ours)
        yours = await self._delta(base, theirs)
        conflicts = sorted(i for i in mine.keys() & yours.keys() if mine[i] != yours[i])
        if conflicts:
            raise MergeConflict(conflicts)
        wanted = {row_id: digest for row_id, digest in yours.items() if row_id not in mine}
        puts = pa.array([i for i, digest in wanted.items() if digest is not None], pa.string())

        async def rows(region: Region) -> pa.Table:
            table = await self._shards.load_all(region[1])
            return table.filter(pc.is_in(table.column(self._codec.id_column), value_set=puts))

        tables = [t async for t in in_order(_differing(base, theirs), rows) if t.num_rows]
        return tables, sorted(i for i, digest in wanted.items() if digest is None)

    async def _delta(
        self, before: Sequence[Leaf], after: Sequence[Leaf]
    ) -> dict[str, bytes | None]:
        """Return the new digest of every row that differs; None where it is gone."""
        delta: dict[str, bytes | None] = {}
        columns = (self._codec.id_column, ROW_DIGEST)

        async def read(region: Region) -> tuple[dict[str, bytes], dict[str, bytes]]:
            sides = [await self._shards.load_all(leaves, columns) for leaves in region]
            old, new = (s.filter(m) for s, m in zip(sides, _differing_rows(*sides), strict=True))
            return self._digests(old), self._digests(new)

        async for old, new in in_order(_differing(before, after), read):
            delta.update(dict.fromkeys(old.keys() - new.keys()))
            delta.update(new)
        return delta

    def _digests(self, table: pa.Table) -> dict[str, bytes]:
        ids, digests = (table.column(name) for name in (self._codec.id_column, ROW_DIGEST))
        return dict(zip(ids.to_pylist(), digests.to_pylist(), strict=True))

    async def _compare(self, region: Region, columns: Iterable[str]) -> Diff[R]:
        names = {*columns, self._codec.id_column, ROW_DIGEST}
        head = names.intersection(self._codec.head_schema.names)
        old, new = [await self._shards.load_all(leaves, head) for leaves in region]
        masks = _differing_rows(old, new)
        if rest := names - head:
            old, new = await self._widened(region, (old, new), rest)
        rows = old.filter(masks[0]), new.filter(masks[1])
        return await asyncio.to_thread(self._diff, *rows)

    async def _widened(
        self, region: Region, sides: tuple[pa.Table, pa.Table], columns: set[str]
    ) -> tuple[pa.Table, pa.Table]:
        """Return both sides with columns of other groups; objects that they share are read once."""
        old = await self._shards.load_all(region[0], columns)
        stored = [[leaf.objects[1:] for leaf in leaves] for leaves in region]
        shared = stored[0] == stored[1]
        new = old if shared else await self._shards.load_all(region[1], columns)
        return _beside(sides[0], old), _beside(sides[1], new)

    def _diff(self, old: pa.Table, new: pa.Table) -> Diff[R]:
        before, after = (
            {self._codec.row_id(row): row for row in self._codec.rows(table)}
            for table in (old, new)
        )
        return Diff(
            added={i: row for i, row in after.items() if i not in before},
            removed={i: row for i, row in before.items() if i not in after},
            changed={i: (row, after[i]) for i, row in before.items() if i in after},
        )

    async def _count(self, region: Region) -> dict[str, int]:
        old, new = region
        if not old or not new:
            side = new or old
            return {
                "added" if new else "removed": sum(leaf.count for leaf in side),
                "labels_changed": sum(leaf.statistics.get("labeled", 0) for leaf in side),
            }
        codec = self._codec
        part = await self._compare(region, codec.groups[0].schema.names)
        one_sided = [*part.added.values(), *part.removed.values()]
        relabeled = sum(codec.is_labeled(row) for row in one_sided)
        relabeled += sum(not codec.same_labels(*rows) for rows in part.changed.values())
        return {**part.counts(), "labels_changed": relabeled}


def _differing_rows(old: pa.Table, new: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Return masks of the rows that are not, as they are, on the other side."""
    before, after = old.column(ROW_DIGEST), new.column(ROW_DIGEST)
    return (
        pc.invert(pc.is_in(before, value_set=after)),
        pc.invert(pc.is_in(after, value_set=before)),
    )


def _beside(left: pa.Table, right: pa.Table) -> pa.Table:
    fields = [*left.schema, *right.schema]
    return pa.table([*left.columns, *right.columns], schema=pa.schema(fields))


def _differing(before: Sequence[Leaf], after: Sequence[Leaf]) -> Iterable[Region]:
    for old, new in trie.align(before, after):
        if [(f.prefix, f.digest) for f in old] != [(f.prefix, f.digest) for f in new]:
            yield old, new
