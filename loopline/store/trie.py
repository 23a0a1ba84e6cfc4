"""Where rows live: a binary trie over row ids, decided by content alone.

A row id is 64 hex digits, 256 bits that are already uniform. A leaf of the trie is a *shard*: all
rows whose id begins with the shard's prefix. A prefix splits if and only if more than
`SHARD_ROWS_MAX` rows are under it, so equal sets of rows give equal shards, whatever the order they
came in (ADR 0003).

Everything here is arithmetic on prefixes; bytes and rows are decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

SHARD_ROWS_MAX = 1500  # more rows than this under a prefix: it splits
KEY_BITS = 256
_NODE = b"\x01"  # begins an inner node's bytes; a leaf digest is never taken over bytes that do


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """The ids that begin with some bits.

    Args:
        start: The lowest id of the prefix, as a number of 256 bits.
        bits: How many leading bits count, 0 to 256.
    """

    start: int
    bits: int

    @property
    def low(self) -> str:
        """The lowest id, 64 hex digits."""
        return f"{self.start:064x}"

    @property
    def high(self) -> str | None:
        """The first id above the prefix; None if there is none."""
        end = self.start + (1 << (KEY_BITS - self.bits))
        return None if end >> KEY_BITS else f"{end:064x}"

    def halves(self) -> tuple[Prefix, Prefix]:
        """Return the two prefixes that are one bit longer."""
        bits = self.bits + 1
        return Prefix(self.start, bits), Prefix(self.start | (1 << (KEY_BITS - bits)), bits)

    def contains(self, other: Prefix) -> bool:
        """Tell whether every id under `other` is under this prefix."""
        return self.bits <= other.bits and (self.start ^ other.start) >> (KEY_BITS - self.bits) == 0

    def __str__(self) -> str:
        """Return "<bits>:<the hex digits that hold them>"."""
        return f"{self.bits}:{self.low[: (self.bits + 3) // 4]}"

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Read what `str` wrote."""
        bits, _, digits = text.partition(":")
        return cls(int(digits.ljust(64, "0"), 16), int(bits))


ROOT = Prefix(0, 0)


class Placed(Protocol):
    """Something that lives at a prefix and holds a number of rows."""

    @property
    def prefix(self) -> Prefix:
        """Where it lives."""
        ...

    @property
    def count(self) -> int:
        """Rows in it."""
        ...


P = TypeVar("P", bound=Placed)


def split(
    count: Callable[[Prefix], int], top: Prefix = ROOT, rows_max: int = SHARD_ROWS_MAX
) -> Iterator[Prefix]:
    """Yield the prefixes of the canonical shards under `top`, in order; none for no rows.

    Args:
        count: Says how many rows are under a prefix.
        top: Where to begin.
        rows_max: The most rows of a shard.
    """
    rows = count(top)
    if rows > rows_max:
        for half in top.halves():
            yield from split(count, half, rows_max)
    elif rows:
        yield top


def gaps(
    leaves: Sequence[Placed], count: Callable[[Prefix], int], top: Prefix = ROOT
) -> Iterator[Prefix]:
    """Yield the largest prefixes under `top` that hold some of the counted rows but no leaf.

    Args:
        leaves: Sorted leaves, none under another, all under `top`.
        count: Says how many rows are under a prefix.
        top: Where to begin.
    """
    if not leaves:
        if count(top):
            yield top
    elif leaves[0].prefix != top and count(top):
        below, above = top.halves()
        middle = sum(leaf.prefix.start < above.start for leaf in leaves)
        yield from gaps(leaves[:middle], count, below)
        yield from gaps(leaves[middle:], count, above)


def regroup(
    leaves: Sequence[P], top: Prefix = ROOT, rows_max: int = SHARD_ROWS_MAX
) -> Iterator[tuple[Prefix, Sequence[P]]]:
    """Yield the canonical shards as (prefix, the leaves that make it up), in order.

    Args:
        leaves: Sorted leaves, none under another, none with more than `rows_max` rows. After
            removals several may belong into one shard.
        top: Where to begin.
        rows_max: The most rows of a shard.
    """
    rows = sum(leaf.count for leaf in leaves)
    if rows > rows_max:
        below, above = top.halves()
        middle = sum(leaf.prefix.start < above.start for leaf in leaves)
        yield from regroup(leaves[:middle], below, rows_max)
        yield from regroup(leaves[middle:], above, rows_max)
    elif rows:
        yield top, leaves


def align(ours: Sequence[P], theirs: Sequence[P]) -> Iterator[tuple[list[P], list[P]]]:
    """Yield the smallest groups of leaves of two trees that cover the same ids, in order."""
    i = j = 0
    while i < len(ours) or j < len(theirs):
        heads = [leaves[at].prefix for leaves, at in ((ours, i), (theirs, j)) if at < len(leaves)]
        top = min(heads)
        mine, i = _under(top, ours, i)
        yours, j = _under(top, theirs, j)
        yield mine, yours


def _under(top: Prefix, leaves: Sequence[P], at: int) -> tuple[list[P], int]:
    end = at
    while end < len(leaves) and top.contains(leaves[end].prefix):
        end += 1
    return list(leaves[at:end]), end


def fold(leaves: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the digest of a binary Merkle radix tree over 256-bit keys; b"" for no leaves.

    An inner node stands where keys part, so the tree depends on the set of keys alone, and the
    digest of any range of keys that share a prefix can be kept and folded in place of its leaves.

    Args:
        leaves: (key, digest of 32 bytes), sorted by key, keys distinct.
    """
    stack: list[tuple[int, bytes]] = []  # (bits that the node shares with what follows, node)
    last_key, node = -1, b""
    for key, leaf in leaves:
        if node:
            shared = KEY_BITS - (key ^ last_key).bit_length()
            while stack and stack[-1][0] > shared:
                node = _join(stack.pop()[1], node)
            stack.append((shared, node))
        last_key, node = key, leaf
    while stack:
        node = _join(stack.pop()[1], node)
    return node


def _join(below: bytes, above: bytes) -> bytes:
    return hashlib.sha256(_NODE + below + above).digest()
