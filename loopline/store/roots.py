"""Root objects: the flat, sorted list of a tree's shards, and the digest of the tree.

Zstandard-compressed JSON, about 300 bytes a shard: 1,000,000 items are 1,024 shards. The digest is
over the codec's name, the shards' prefixes and their digests, so it knows nothing of the bytes of a
root.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa

from loopline.digests import sha256_hex
from loopline.errors import Corrupt
from loopline.store import trie
from loopline.store.shards import Leaf
from loopline.store.trie import Prefix

FORMAT = "loopline.tree/1"


@dataclass(frozen=True)
class Root:
    """What the root object of a tree says.

    Args:
        codec: Name of the rows' codec.
        rows_max: More rows under a prefix than this make it split.
        leaves: The shards, sorted by prefix.
    """

    codec: str
    rows_max: int
    leaves: tuple[Leaf, ...]

    @cached_property
    def digest(self) -> str:
        """Digest of the logical content."""
        lines = [FORMAT, self.codec, str(self.rows_max)]
        lines.extend(f"{leaf.prefix} {leaf.digest}" for leaf in self.leaves)
        return sha256_hex("\n".join(lines).encode())

    @cached_property
    def count(self) -> int:
        """Rows in the tree."""
        return sum(leaf.count for leaf in self.leaves)

    @cached_property
    def statistics(self) -> dict[str, int]:
        """The counters of all shards, added up, sorted by name."""
        counts: Counter[str] = Counter()
        for leaf in self.leaves:
            counts.update(leaf.statistics)
        return dict(sorted(counts.items()))

    @cached_property
    def splits(self) -> dict[str, str]:
        """The digest of each split over the whole tree, sorted by name."""
        names = sorted({name for leaf in self.leaves for name in leaf.splits})
        return {
            name: trie.fold(
                [
                    (leaf.prefix.start, bytes.fromhex(leaf.splits[name]))
                    for leaf in self.leaves
                    if name in leaf.splits
                ]
            ).hex()
            for name in names
        }

    def to_bytes(self) -> bytes:
        """Return the root object."""
        document = {
            "format": FORMAT,
            "codec": self.codec,
            "shard_rows_max": self.rows_max,
            "digest": self.digest,
            "count": self.count,
            "shards": [
                [str(f.prefix), f.count, f.digest, f.objects, dict(f.statistics), dict(f.splits)]
                for f in self.leaves
            ],
        }
        return bytes(pa.compress(orjson.dumps(document), codec="zstd", asbytes=True))

    @classmethod
    def from_bytes(cls, data: bytes) -> Root:
        """Read a root object.

        Raises:
            Corrupt: It is not one, or its digest is not that of its shards.
        """
        try:
            with pa.input_stream(pa.py_buffer(data), compression="zstd") as stream:
                document = orjson.loads(stream.read())
            leaves = tuple(_leaf(*entry) for entry in document["shards"])
            root = cls(document["codec"], document["shard_rows_max"], leaves)
            said = document["format"], document["digest"], document["count"]
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            raise Corrupt(f"this is not the root of a tree: {error}") from error
        if said != (FORMAT, root.digest, root.count):
            raise Corrupt(f"the root of tree {said[1]} ({said[0]}) contradicts itself")
        return root


def _leaf(
    prefix: str,
    count: int,
    digest: str,
    objects: list[str],
    statistics: dict[str, int],
    splits: dict[str, Any],
) -> Leaf:
    return Leaf(Prefix.parse(prefix), count, digest, tuple(objects), statistics, splits)
