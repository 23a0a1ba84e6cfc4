"""Rows on their way into a tree: sorted runs, counted and cut by prefix, spilled past a bound.

A first commit of a million items must not hold them all as objects: rows are encoded in runs of
`RUN_ROWS`, each sorted by id; once the runs take `MEMORY_BYTES`, further ones go to a temporary
file that is mapped, not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Generic, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from loopline.store.rows import RowCodec
from loopline.store.trie import Prefix

R = TypeVar("R")

RUN_ROWS = 65_536
MEMORY_BYTES = 256 * 1024 * 1024


class Runs:
    """Tables of every column, each sorted by id, no id in two of them.

    Args:
        id_column: The column that holds the id.
        tables: The runs.
        schema: Their columns, for when there are no runs.
    """

    def __init__(self, id_column: str, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
        self.tables = tuple(tables)
        self._id_column = id_column
        self._schema = schema
        self._ids = [_Ids(table.column(id_column)) for table in tables]

    def count(self, prefix: Prefix) -> int:
        """Return how many rows are under a prefix."""
        return sum(end - start for start, end in self._ranges(prefix))

    def under(self, prefix: Prefix) -> pa.Table:
        """Return the rows under a prefix, sorted by id."""
        parts = self._parts(prefix)
        if not parts:
            return self._schema.empty_table()
        return parts[0] if len(parts) == 1 else by_id(pa.concat_tables(parts), self._id_column)

    def ids(self, prefix: Prefix) -> pa.ChunkedArray:
        """Return the ids under a prefix, in no order."""
        columns = [part.column(self._id_column) for part in self._parts(prefix)]
        return pa.chunked_array([c for column in columns for c in column.chunks], pa.string())

    def within(self, prefix: Prefix, rest: pa.Table) -> Runs:
        """Return the runs under a prefix, and one more, whose ids are in none of them."""
        rest_too = [rest] if rest.num_rows else []
        return Runs(self._id_column, [*self._parts(prefix), *rest_too], self._schema)

    def _ranges(self, prefix: Prefix) -> list[tuple[int, int]]:
        return [ids.under(prefix) for ids in self._ids]

    def _parts(self, prefix: Prefix) -> list[pa.Table]:
        ranges = zip(self.tables, self._ranges(prefix), strict=True)
        return [table.slice(start, end - start) for table, (start, end) in ranges if end > start]


class Upserts(Generic[R]):
    """Collects rows into runs; of several rows of one id the last counts.

    Use it as a context manager: it may own a temporary folder.
    """

    def __init__(self, codec: RowCodec[R], memory_bytes: int = MEMORY_BYTES) -> None:
        self._codec = codec
        self._memory_bytes = memory_bytes
        self._tables: list[pa.Table] = []
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was spilled."""
        if self._folder:
            self._folder.cleanup()

    async def add(self, rows: Iterable[R] | AsyncIterable[R]) -> None:
        """Take rows.

        Raises:
            Rejected: A row is not one that the codec can keep.
        """
        batch: dict[str, R] = {}
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                batch = await self._collect(batch, row)
        else:
            for row in rows:
                batch = await self._collect(batch, row)
        await self._flush(batch)

    async def runs(self) -> Runs:
        """Return what was added."""
        tables = await asyncio.to_thread(_last_of_each, self._tables, self._codec.id_column)
        return Runs(self._codec.id_column, tables, self._codec.schema)

    async def _collect(self, batch: dict[str, R], row: R) -> dict[str, R]:
        batch[self._codec.row_id(row)] = row
        if len(batch) < RUN_ROWS:
            return batch
        await self._flush(batch)
        return {}

    async def _flush(self, batch: dict[str, R]) -> None:
        if batch:
            self._tables.append(await asyncio.to_thread(self._run, list(batch.values())))

    def _run(self, rows: Sequence[R]) -> pa.Table:
        table = by_id(self._codec.encode(rows), self._codec.id_column)
        held = sum(table.nbytes for table in self._tables)
        return table if held + table.nbytes <= self._memory_bytes else self._spill(table)

    def _spill(self, table: pa.Table) -> pa.Table:
        if not self._folder:
            self._folder = TemporaryDirectory(prefix="loopline-tree-")
        path = str(Path(self._folder.name) / f"{len(self._tables)}.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return pa.ipc.open_file(pa.memory_map(path)).read_all()


def by_id(table: pa.Table, id_column: str) -> pa.Table:
    """Return the table sorted by id, in one chunk."""
    return table.take(pc.sort_indices(table.column(id_column))).combine_chunks()


class _Ids:
    """Finds prefixes in a sorted column of ids."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._ids = column.combine_chunks()

    def under(self, prefix: Prefix) -> tuple[int, int]:
        high = prefix.high
        start = self._at(prefix.low) if prefix.start else 0
        return start, len(self._ids) if high is None else self._at(high, start)

    def _at(self, row_id: str, low: int = 0) -> int:
        high = len(self._ids)
        while low < high:
            middle = (low + high) // 2
            if self._ids[middle].as_py() < row_id:
                low = middle + 1
            else:
                high = middle
        return low


def _last_of_each(tables: Sequence[pa.Table], id_column: str) -> Sequence[pa.Table]:
    """Return the runs without rows whose id is in a later run."""
    ids = [chunk for table in tables for chunk in table.column(id_column).chunks]
    if len(tables) < 2 or pc.count_distinct(pa.chunked_array(ids)).as_py() == sum(map(len, ids)):
        return tables
    kept = [tables[-1]]
    seen = tables[-1].column(id_column)
    for table in reversed(tables[:-1]):
        column = table.column(id_column)
        kept.append(table.filter(pc.invert(pc.is_in(column, value_set=seen))).combine_chunks())
        seen = pa.chunked_array([*seen.chunks, *column.chunks])
    return kept[::-1]
