"""Rows of a tree: what a codec says of its row type, and the digest of a row.

The digest of a row is over a canonical document, never over Arrow's or Parquet's bytes: fields that
equal their default are left out, so a field added later leaves the digests of older rows alone.

Columns come in groups, each stored as an object of its own. The first group, the *head*, also
carries the row digests and one digest per further group; so a change of labels neither reads nor
rewrites what only an import sets, and readers of labels never fetch it.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, repeat
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from loopline.digests import DIGEST_LENGTH, canonical_json, is_digest
from loopline.errors import Rejected
from loopline.store import trie

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
Document = dict[str, Any]  # JSON is a union that no type here narrows

ROW_DIGEST = "_digest"
SPLIT_LEAF = "_split_leaf"
DIGEST_TYPE = pa.binary(32)
_HEX = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that are stored together.

    Args:
        name: What they are about.
        schema: The columns, by which readers name them.
        repetitive: Parquet paths of the columns whose values repeat, so that a dictionary pays.
    """

    name: str
    schema: pa.Schema
    repetitive: tuple[str, ...] = ()


class RowCodec(ABC, Generic[R]):
    """What a tree has to know of its row type.

    Subclasses set `name`, `id_column`, `groups` and say how rows become columns, documents and
    counters.
    """

    name: str
    """Names the row type and the version of its documents: part of every tree digest."""
    id_column: str
    """The column that holds the row id: 64 lower-case hex digits."""
    groups: tuple[Group, ...]
    """The head first."""
    split_column: str | None = None
    """The column that names a row's split, where `split_leaf` says what is digested of it."""

    @abstractmethod
    def row_id(self, row: R) -> str:
        """Return the id of a row."""

    @abstractmethod
    def documents(self, row: R) -> tuple[Document, ...]:
        """Return the canonical document of each group, without fields that equal their default."""

    @abstractmethod
    def columns(self, rows: Sequence[R]) -> dict[str, pa.Array]:
        """Return every column of every group."""

    @abstractmethod
    def rows(self, table: pa.Table) -> list[R]:
        """Return the rows of a table; fields whose column is absent have their default or zero."""

    @abstractmethod
    def statistics(self, head: pa.Table) -> dict[str, int]:
        """Return the counters of some rows, which add up over shards. Zeros are left out."""

    def is_labeled(self, row: R) -> bool:
        """Tell whether somebody said what is on the row's asset; counted as "labeled"."""
        return False

    def same_labels(self, one: R, other: R) -> bool:
        """Tell whether two rows of one id carry the same labels."""
        return True

    def split_leaf(self, row: R) -> bytes | None:
        """Return what the digest of the row's split takes from it; None if it is in no split."""
        return None

    def encode(self, rows: Sequence[R]) -> pa.Table:
        """Return rows as a table of every column, digests included, in the order given.

        Raises:
            Rejected: A value does not fit, naming the row where one is known.
        """
        check_ids([self.row_id(row) for row in rows])
        digests = self._digests(rows)
        try:
            columns = self.columns(rows) | digests
            table = pa.table([columns[n] for n in self.schema.names], schema=self.schema)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise Rejected(f"a row of {self.name} does not fit its columns: {error}") from error
        for field, column in zip(table.schema, table.columns, strict=True):
            if column.null_count and not field.nullable:
                raise Rejected(f"a row of {self.name} has no {field.name}")
        return table

    def row_digest(self, row: R) -> str:
        """Return the digest of one row, 64 hex digits."""
        return self._digest(row)[0].hex()

    @cached_property
    def schema(self) -> pa.Schema:
        """Every column: the head with its digests, then the other groups."""
        fields = list(self.head_schema)
        for group in self.groups[1:]:
            fields.extend(group.schema)
        return pa.schema(fields)

    @cached_property
    def head_schema(self) -> pa.Schema:
        """The columns of the head, digests included."""
        fields = list(self.groups[0].schema)
        fields.append(pa.field(ROW_DIGEST, DIGEST_TYPE, nullable=False))
        others = map(group_digest, self.groups[1:])
        fields.extend(pa.field(name, DIGEST_TYPE, nullable=False) for name in others)
        if self.split_column:
            fields.append(pa.field(SPLIT_LEAF, DIGEST_TYPE))
        return pa.schema(fields)

    @cached_property
    def public_columns(self) -> tuple[str, ...]:
        """The columns that readers may ask for."""
        return tuple(name for group in self.groups for name in group.schema.names)

    def splits(self, head: pa.Table, only: Collection[str] | None = None) -> dict[str, str]:
        """Return the digest of every split, or of some, over the rows of a head sorted by id."""
        if not self.split_column:
            return {}
        if only is not None:
            wanted = pa.array(sorted(only), pa.string())
            head = head.filter(pc.is_in(head.column(self.split_column), value_set=wanted))
        leaves: dict[str, list[tuple[int, bytes]]] = {}
        ids, names, digests = (
            head.column(name).to_pylist()
            for name in (self.id_column, self.split_column, SPLIT_LEAF)
        )
        for row_id, name, leaf in zip(ids, names, digests, strict=True):
            if leaf is not None:
                leaves.setdefault(name, []).append((int(row_id, 16), leaf))
        return {name: trie.fold(found).hex() for name, found in sorted(leaves.items())}

    def _digests(self, rows: Sequence[R]) -> dict[str, pa.Array]:
        found = [self._digest(row) for row in rows]
        names = [ROW_DIGEST, *(group_digest(group) for group in self.groups[1:])]
        columns = {
            name: pa.array([digests[at] for digests in found], DIGEST_TYPE)
            for at, name in enumerate(names)
        }
        if self.split_column:
            columns[SPLIT_LEAF] = pa.array([self.split_leaf(row) for row in rows], DIGEST_TYPE)
        return columns

    def _digest(self, row: R) -> list[bytes]:
        """Return the row's digest, then that of every group but the head."""
        head, *others = self.documents(row)
        digests = [self._sha256(row, document) for document in others]
        for group, digest in zip(self.groups[1:], digests, strict=True):
            head[group.name] = digest.hex()
        return [self._sha256(row, head), *digests]

    def _sha256(self, row: R, document: Document) -> bytes:
        try:
            data = canonical_json(document)
        except (TypeError, ValueError) as error:
            raise Rejected(f"row {self.row_id(row)} has no canonical form: {error}") from error
        # JSON has no NaN or infinity and writes null for them, which would hide a difference.
        if b"null" in data and not _is_finite(document):
            raise Rejected(f"row {self.row_id(row)} holds a number that is not finite")
        return hashlib.sha256(data).digest()


def group_digest(group: Group) -> str:
    """Return the head's column that holds the digests of a group."""
    return f"_digest_{group.name}"


def check_ids(ids: Sequence[str]) -> None:
    """Raise Rejected if an id is not 64 lower-case hex digits.

    Raises:
        Rejected: It names the first id that is not.
    """
    try:
        # A million ids: one match over all of them, and their lengths.
        if _HEX.fullmatch("".join(ids)) and set(map(len, ids)) <= {DIGEST_LENGTH}:
            return
    except TypeError:
        pass
    for row_id in ids:
        if not is_digest(str(row_id)):
            raise Rejected(f"the row id {row_id!r} is not 64 lower-case hex digits", row=row_id)


def number(value: float) -> float:
    """Return `value` as the one float that stands for it: 1 is 1.0, and -0.0 is 0.0."""
    return float(value) + 0.0


def list_of(kind: pa.DataType) -> pa.DataType:
    """Return the list type that Parquet gives back as it was written."""
    return pa.list_(pa.field("element", kind))


def strings(values: Iterable[str]) -> pa.Array:
    """Return a column of text."""
    return pa.array(values, pa.string())


def nested(rows: Sequence[Sequence[Any]], values: pa.Array) -> pa.Array:
    """Return a list column whose entries have the lengths of `rows` and the flat `values`."""
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    kind = list_of(values.type)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def flat(column: pa.ChunkedArray) -> tuple[list[int], pa.Array]:
    """Return the lengths and the flat values of a list column without nulls."""
    whole = column.combine_chunks()
    offsets = whole.offsets.to_pylist()
    return [after - before for before, after in pairwise(offsets)], whole.flatten()


def cut(values: Sequence[T], lengths: Sequence[int]) -> Iterator[tuple[T, ...]]:
    """Yield consecutive tuples of the given lengths."""
    start = 0
    for length in lengths:
        yield tuple(values[start : start + length]) if length else ()
        start += length


def read_lists(column: pa.ChunkedArray) -> Iterator[tuple[Any, ...]]:  # of the column's type
    """Yield the lists of a list column."""
    lengths, values = flat(column)
    return cut(values.to_pylist(), lengths)


class Columns:
    """Reads the columns of a table as Python values, absent ones as their default."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._present = frozenset(table.column_names)

    def plain(self, name: str, default: T) -> Iterable[T]:
        """Return the values of a column."""
        return self.read(name, pa.ChunkedArray.to_pylist, default)

    def read(
        self, name: str, reader: Callable[[pa.ChunkedArray], Iterable[T]], default: S
    ) -> Iterable[T | S]:
        """Return what `reader` makes of a column."""
        if name not in self._present:
            return repeat(default, self._table.num_rows)
        return reader(self._table.column(name))


def _is_finite(value: Any) -> bool:  # any part of a document
    if isinstance(value, dict):
        return all(_is_finite(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(part) for part in value)
    return not isinstance(value, float) or math.isfinite(value)
