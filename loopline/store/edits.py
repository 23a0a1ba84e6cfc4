"""A change of one shard's rows, and what follows from it without looking at the rows that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loopline.store.rows import ROW_DIGEST, RowCodec


class Edit:
    """Rows put into a shard and removed from it; applies to each group of its columns.

    Args:
        codec: The row type.
        head: The head of the shard, sorted by id.
        upserts: Rows to put, every column.
        removals: Ids to remove.
    """

    def __init__(
        self, codec: RowCodec[Any], head: pa.Table, upserts: pa.Table, removals: Sequence[str]
    ) -> None:
        self._codec = codec
        self._upserts = upserts
        self._before = head
        ids, new = head.column(codec.id_column), upserts.column(codec.id_column)
        leaving = pa.chunked_array([*new.chunks, pa.array(removals, pa.string())])
        self._gone = pc.is_in(ids, value_set=leaving)
        self._kept = pc.invert(self._gone)
        merged = pa.chunked_array([*ids.filter(self._kept).chunks, *new.chunks], pa.string())
        self._order = pc.sort_indices(merged)
        self.head = self.apply(head)

    def apply(self, table: pa.Table) -> pa.Table:
        """Return some columns of the shard with the change made, sorted by id."""
        new = self._upserts.select(table.column_names)
        return pa.concat_tables([table.filter(self._kept), new]).take(self._order)

    def keeps(self, column: str) -> bool:
        """Tell whether a column of the head is as it was, row by row."""
        before, after = self._before.column(column), self.head.column(column)
        return len(before) == len(after) and bool(before.equals(after))

    def changes_nothing(self) -> bool:
        """Tell whether every row is as it was."""
        return self.keeps(ROW_DIGEST)

    def statistics(self, before: Mapping[str, int]) -> dict[str, int]:
        """Return the counters after the change, from those before."""
        counts = Counter(before)
        counts.update(self._codec.statistics(self._upserts))
        counts.subtract(self._codec.statistics(self._before.filter(self._gone)))
        return {name: count for name, count in sorted(counts.items()) if count}

    def splits(self, before: Mapping[str, str]) -> dict[str, str]:
        """Return the splits' digests after the change; those of untouched splits are kept."""
        column = self._codec.split_column
        if not column:
            return {}
        leaving = self._before.filter(self._gone).column(column)
        touched = {*leaving.to_pylist(), *self._upserts.column(column).to_pylist()}
        kept = {name: digest for name, digest in before.items() if name not in touched}
        return dict(sorted({**kept, **self._codec.splits(self.head, touched)}.items()))
