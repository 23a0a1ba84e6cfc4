"""Shards: the leaves of a tree as Parquet objects, one object per group of columns.

Readers name columns; only the groups that hold them are fetched, only those columns decoded. The
digest of a shard is over the row digests in it, sorted by id, never over Parquet's bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopline.errors import Corrupt, Rejected
from loopline.store.edits import Edit
from loopline.store.objects import Area, ObjectStore
from loopline.store.rows import DIGEST_TYPE, ROW_DIGEST, Group, RowCodec, group_digest
from loopline.store.trie import Prefix

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")

SHARDS_IN_FLIGHT = 8  # read, computed or written at once; bounds memory to as many shards


@dataclass(frozen=True, slots=True)
class Leaf:
    """A shard, as the root knows it.

    Args:
        prefix: What the ids of its rows begin with.
        count: Rows.
        digest: Over the digests of its rows.
        objects: The object digest of each group of columns, in the codec's order.
        statistics: Counters of its rows.
        splits: The digest of each split's rows in it.
    """

    prefix: Prefix
    count: int
    digest: str
    objects: tuple[str, ...]
    statistics: Mapping[str, int]
    splits: Mapping[str, str]


class Shards(Generic[R]):
    """Reads and writes the shards of one row type.

    Args:
        objects: Where they are kept.
        codec: The row type.
    """

    def __init__(self, objects: ObjectStore, codec: RowCodec[R]) -> None:
        self.objects = objects
        self.codec = codec
        self._schemas = (codec.head_schema, *(group.schema for group in codec.groups[1:]))

    async def load(self, leaf: Leaf, columns: Collection[str] | None = None) -> pa.Table:
        """Return some columns of a shard, sorted by id; all of them, digests included, by default.

        Raises:
            NotFound: An object is gone.
            Corrupt: An object is not what the root says.
        """
        wanted = self._wanted(columns)
        data = await self.objects.get_many(Area.TREES, [leaf.objects[at] for at in wanted])
        return await asyncio.to_thread(
            self._decode, leaf, dict(zip(wanted, data, strict=True)), columns
        )

    async def load_all(
        self, leaves: Sequence[Leaf], columns: Collection[str] | None = None
    ) -> pa.Table:
        """Return some columns of neighbouring shards as one table."""
        if not leaves:
            names = self.codec.schema.names
            return self.codec.schema.empty_table().select(
                [name for name in names if columns is None or name in columns]
            )
        return pa.concat_tables([await self.load(leaf, columns) for leaf in leaves])

    async def save(self, prefix: Prefix, table: pa.Table) -> Leaf:
        """Store rows, sorted by id, as the shard of `prefix`."""
        encoded, leaf = await asyncio.to_thread(self._compute, prefix, table)
        return replace(leaf, objects=tuple(await self.objects.put_many(Area.TREES, encoded)))

    async def change(
        self, leaf: Leaf, upserts: pa.Table, removals: Sequence[str], rows_max: int
    ) -> list[Leaf] | None:
        """Return the shard with rows replaced, added and removed, or no shard if none are left.

        What did not change is neither read nor written: a group whose digests are as they were
        keeps its object, and a shard whose rows are as they were is given back.

        Returns:
            None, and nothing is written, if it would have more than `rows_max` rows.
        """
        data = await self.objects.get(Area.TREES, leaf.objects[0])
        edit = await asyncio.to_thread(self._edit, leaf, data, upserts, removals)
        if edit.head.num_rows > rows_max:
            return None
        if edit.changes_nothing():
            return [leaf]
        return [await self._changed(leaf, edit)] if edit.head.num_rows else []

    async def without(self, leaf: Leaf, ids: pa.ChunkedArray) -> pa.Table:
        """Return every column of a shard's rows but those of some ids."""
        table = await self.load(leaf)
        found = pc.is_in(table.column(self.codec.id_column), value_set=ids)
        return table.filter(pc.invert(found))

    async def verify(self, leaf: Leaf, table: pa.Table) -> None:
        """Compute again what the root says of a shard, from every column of it.

        Raises:
            Corrupt: Rows, digests, counters or places are not what they should be.
        """
        await asyncio.to_thread(self._verify, leaf, table)

    def _verify(self, leaf: Leaf, table: pa.Table) -> None:
        try:
            again = self.codec.encode(self.codec.rows(table))
        except Rejected as error:
            raise Corrupt(f"the shard {leaf.prefix} holds a row that is none: {error}") from error
        ids = table.column(self.codec.id_column).to_pylist()
        low, high = leaf.prefix.low, leaf.prefix.high or "g"
        placed = all(low <= row_id < high for row_id in ids)
        if not placed or any(a >= b for a, b in pairwise(ids)):
            raise Corrupt(f"the shard {leaf.prefix} holds rows that are out of place")
        if not again.equals(table) or self._leaf(leaf.prefix, again, leaf.objects) != leaf:
            raise Corrupt(f"the shard {leaf.prefix} is not what its digests and counters say")

    def _edit(self, leaf: Leaf, data: bytes, upserts: pa.Table, removals: Sequence[str]) -> Edit:
        head = self._decode(leaf, {0: data}, None)
        return Edit(self.codec, head, upserts, removals)

    async def _changed(self, leaf: Leaf, edit: Edit) -> Leaf:
        encoded, after = await asyncio.to_thread(self._describe, leaf, edit)
        objects = [await self.objects.put(Area.TREES, encoded)]
        for at, group in enumerate(self.codec.groups[1:], start=1):
            if edit.keeps(group_digest(group)):
                objects.append(leaf.objects[at])
            else:
                before = await self.load(leaf, group.schema.names)
                objects.append(await self._put_edited(at, edit, before))
        return replace(after, objects=tuple(objects))

    def _describe(self, leaf: Leaf, edit: Edit) -> tuple[bytes, Leaf]:
        """Return the bytes of the head after a change, and the shard but for its objects."""
        after = replace(
            leaf,
            count=edit.head.num_rows,
            digest=shard_digest(edit.head),
            statistics=edit.statistics(leaf.statistics),
            splits=edit.splits(leaf.splits),
        )
        return self._encode(0, edit.head), after

    async def _put_edited(self, at: int, edit: Edit, before: pa.Table) -> str:
        data = await asyncio.to_thread(lambda: self._encode(at, edit.apply(before)))
        return await self.objects.put(Area.TREES, data)

    def _wanted(self, columns: Collection[str] | None) -> list[int]:
        if columns is None:
            return list(range(len(self._schemas)))
        if unknown := sorted(set(columns) - set(self.codec.schema.names)):
            raise Rejected(
                f"{self.codec.name} has no column {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(self.codec.public_columns)}",
                columns=unknown,
            )
        return [at for at, s in enumerate(self._schemas) if not set(columns).isdisjoint(s.names)]

    def _decode(
        self, leaf: Leaf, data: Mapping[int, bytes], columns: Collection[str] | None
    ) -> pa.Table:
        arrays, fields = [], []
        for at, encoded in data.items():
            schema = self._schemas[at]
            names = [name for name in schema.names if columns is None or name in columns]
            part = _read_parquet(encoded, names, leaf)
            for name in names:
                arrays.append(part.column(name))
                fields.append(schema.field(name))
        return pa.table(arrays, schema=pa.schema(fields))

    def _encode(self, at: int, table: pa.Table) -> bytes:
        return _write_parquet(table.select(self._schemas[at].names), self.codec.groups[at])

    def _compute(self, prefix: Prefix, table: pa.Table) -> tuple[list[bytes], Leaf]:
        encoded = [self._encode(at, table) for at in range(len(self._schemas))]
        return encoded, self._leaf(prefix, table, ())

    def _leaf(self, prefix: Prefix, table: pa.Table, objects: tuple[str, ...]) -> Leaf:
        head = table.select(self._schemas[0].names)
        return Leaf(
            prefix=prefix,
            count=head.num_rows,
            digest=shard_digest(head),
            objects=objects,
            statistics=self.codec.statistics(head),
            splits=self.codec.splits(head),
        )


def shard_digest(head: pa.Table) -> str:
    """Return the digest of rows that are sorted by id."""
    digests = head.column(ROW_DIGEST).combine_chunks()
    width = DIGEST_TYPE.byte_width
    start, end = digests.offset * width, (digests.offset + len(digests)) * width
    # The column's own bytes: a list of 1,500 values would take ten times as long.
    return hashlib.sha256(memoryview(digests.buffers()[1])[start:end]).hexdigest()


def moved(leaf: Leaf, prefix: Prefix) -> Leaf:
    """Return the same shard at another prefix: its objects do not say where they are."""
    return leaf if leaf.prefix == prefix else replace(leaf, prefix=prefix)


async def in_order(
    values: Iterable[A], call: Callable[[A], Awaitable[B]], in_flight: int = SHARDS_IN_FLIGHT
) -> AsyncGenerator[B]:
    """Yield what `call` makes of each value, in order, with a bounded number under way."""
    pending: deque[asyncio.Future[B]] = deque()
    try:
        for value in values:
            pending.append(asyncio.ensure_future(call(value)))
            if len(pending) >= in_flight:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for left in pending:
            left.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _write_parquet(table: pa.Table, group: Group) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=list(group.repetitive),
        # Half of the time would go into these, and nothing reads them.
        write_statistics=False,
        store_schema=False,
    )
    return bytes(sink.getvalue())


def _read_parquet(data: bytes, columns: Sequence[str], leaf: Leaf) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        table = file.read(columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"the shard {leaf.prefix} is not readable: {error}") from error
    if table.num_rows != leaf.count:
        raise Corrupt(f"the shard {leaf.prefix} has {table.num_rows} rows, not {leaf.count}")
    return table
