"""The rows that trees hold: items of datasets, predictions, delivered objects; and their codecs.

What a label *is*, where two datasets are asked whether a split is the same, is decided here too
(`split_digest`): the asset, whether it is labeled, and class and geometry of its shapes. Who drew a
shape, its id and its confidence are not part of it, and a rejected shape is no label.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loopline.digests import canonical_json
from loopline.errors import Rejected
from loopline.store import trie
from loopline.store.rows import (
    Columns,
    Document,
    Group,
    RowCodec,
    list_of,
    nested,
    number,
    read_lists,
    strings,
)
from loopline.store.shapes import (
    REPETITIVE,
    SHAPES_TYPE,
    Shape,
    carried_classes,
    label_document,
    read_shapes,
    shape_document,
    shapes_column,
)

__all__ = [
    "CODECS",
    "DELIVERIES",
    "ITEMS",
    "PREDICTIONS",
    "DeliveredObject",
    "Item",
    "Prediction",
    "Shape",
    "label_leaf",
    "split_digest",
]

THUMBPRINT_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Item:
    """An asset in a dataset.

    Args:
        asset: sha256 of the encoded image, 64 hex digits: the item's id.
        media_type: "image/jpeg", ...
        size_bytes: Of the encoded image.
        width_px: Of the decoded image.
        height_px: Of the decoded image.
        split: "train", "val", "test", or "" for none.
        tags: Names that people gave.
        source: URI it came from.
        phash: Perceptual hash, 64 bits unsigned.
        thumbprint: A grey thumbnail of at most 1 KB that confirms near duplicates.
        labeled: Somebody said what is on it; no shapes then means that nothing is.
        shapes: Its annotations.
        parent: The asset it was derived from.
    """

    asset: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    split: str = ""
    tags: tuple[str, ...] = ()
    source: str = ""
    phash: int = 0
    thumbprint: bytes = b""
    labeled: bool = False
    shapes: tuple[Shape, ...] = ()
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model version says of one asset.

    Args:
        asset: The asset, and the row's id.
        shapes: What it found.
        scores: Per class in the model's order; empty for detection.
    """

    asset: str
    shapes: tuple[Shape, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeliveredObject:
    """An object that was written into a customer's bucket.

    Args:
        asset: The asset it is about, and the row's id.
        key: Its key in the bucket.
        digest: sha256 of its bytes.
        model: Digest of the model version.
        predictions: Digest of the predictions' tree.
    """

    asset: str
    key: str
    digest: str
    model: str
    predictions: str


def split_digest(rows: Iterable[Item]) -> str:
    """Return the digest over the assets and labels of the rows of one split; "" for no rows.

    Equal for equal labels, whatever else is in the dataset and however it came to be. A tree keeps
    it per shard, so `Tree.splits["test"]` gives the same value without reading a row.
    """
    leaves = sorted((int(row.asset, 16), label_leaf(row)) for row in rows)
    return trie.fold(leaves).hex()


def label_leaf(row: Item) -> bytes:
    """Return the 32 bytes that stand for an item's asset and labels in its split's digest."""
    labels = sorted(canonical_json(label) for label in map(label_document, row.shapes) if label)
    document = {
        "asset": row.asset,
        "labeled": bool(row.labeled),
        "labels": b",".join(labels).decode(),
    }
    return hashlib.sha256(canonical_json(document)).digest()


class ItemCodec(RowCodec[Item]):
    """Items: what people change in the head, what only an import sets in the group "origin"."""

    name = "items/1"
    id_column = "asset"
    split_column = "split"

    def __init__(self) -> None:
        self.groups = (
            Group(
                "labels",
                _schema(
                    asset=pa.string(),
                    media_type=pa.string(),
                    size_bytes=pa.uint64(),
                    width_px=pa.uint32(),
                    height_px=pa.uint32(),
                    split=pa.string(),
                    tags=list_of(pa.string()),
                    labeled=pa.bool_(),
                    shapes=SHAPES_TYPE,
                ),
                ("media_type", "width_px", "height_px", "split", "tags.list.element", *REPETITIVE),
            ),
            Group(
                "origin",
                _schema(
                    source=pa.string(),
                    phash=pa.uint64(),
                    thumbprint=pa.binary(),
                    parent=pa.string(),
                ),
            ),
        )

    def row_id(self, row: Item) -> str:
        """See `RowCodec`."""
        return row.asset

    def documents(self, row: Item) -> tuple[Document, ...]:
        """See `RowCodec`."""
        if len(row.thumbprint) > THUMBPRINT_BYTES_MAX:
            raise Rejected(
                f"item {row.asset}: a thumbprint of {len(row.thumbprint)} bytes; "
                f"at most {THUMBPRINT_BYTES_MAX} are kept",
                asset=row.asset,
            )
        labels = _document(
            asset=row.asset,
            media_type=row.media_type,
            size_bytes=int(row.size_bytes),
            width_px=int(row.width_px),
            height_px=int(row.height_px),
            split=row.split,
            tags=row.tags,
            labeled=row.labeled,
            shapes=[shape_document(shape) for shape in row.shapes],
        )
        origin = _document(
            source=row.source,
            phash=int(row.phash),
            thumbprint=row.thumbprint.hex(),
            parent=row.parent,
        )
        return labels, origin

    def is_labeled(self, row: Item) -> bool:
        """See `RowCodec`."""
        return row.labeled

    def same_labels(self, one: Item, other: Item) -> bool:
        """See `RowCodec`."""
        return label_leaf(one) == label_leaf(other)

    def split_leaf(self, row: Item) -> bytes | None:
        """See `RowCodec`."""
        return label_leaf(row) if row.split else None

    def columns(self, rows: Sequence[Item]) -> dict[str, pa.Array]:
        """See `RowCodec`."""
        tags = [row.tags for row in rows]
        return {
            "asset": strings([row.asset for row in rows]),
            "media_type": strings([row.media_type for row in rows]),
            "size_bytes": pa.array([row.size_bytes for row in rows], pa.uint64()),
            "width_px": pa.array([row.width_px for row in rows], pa.uint32()),
            "height_px": pa.array([row.height_px for row in rows], pa.uint32()),
            "split": strings([row.split for row in rows]),
            "tags": nested(tags, strings([tag for some in tags for tag in some])),
            "labeled": pa.array([bool(row.labeled) for row in rows], pa.bool_()),
            "shapes": shapes_column([row.shapes for row in rows]),
            "source": strings([row.source for row in rows]),
            "phash": pa.array([row.phash for row in rows], pa.uint64()),
            "thumbprint": pa.array([row.thumbprint for row in rows], pa.binary()),
            "parent": strings([row.parent for row in rows]),
        }

    def rows(self, table: pa.Table) -> list[Item]:
        """See `RowCodec`."""
        column = Columns(table)
        return list(
            map(
                Item,
                column.plain("asset", ""),
                column.plain("media_type", ""),
                column.plain("size_bytes", 0),
                column.plain("width_px", 0),
                column.plain("height_px", 0),
                column.plain("split", ""),
                column.read("tags", read_lists, ()),
                column.plain("source", ""),
                column.plain("phash", 0),
                column.plain("thumbprint", b""),
                column.plain("labeled", False),
                column.read("shapes", read_shapes, ()),
                column.plain("parent", ""),
            )
        )

    def statistics(self, head: pa.Table) -> dict[str, int]:
        """See `RowCodec`."""
        pairs = zip(
            head.column("split").to_pylist(), head.column("labeled").to_pylist(), strict=True
        )
        counts = Counter({"items": head.num_rows})
        for (split, labeled), count in Counter(pairs).items():
            counts["labeled"] += count * labeled
            if split:
                counts[f"split:{split}"] += count
                counts[f"labeled:{split}"] += count * labeled
        counts.update(f"class:{name}" for name in carried_classes(head.column("shapes")))
        return {name: count for name, count in sorted(counts.items()) if count}


class PredictionCodec(RowCodec[Prediction]):
    """Predictions: shapes in the head, the scores of all classes in a group of their own."""

    name = "predictions/1"
    id_column = "asset"

    def __init__(self) -> None:
        self.groups = (
            Group("shapes", _schema(asset=pa.string(), shapes=SHAPES_TYPE), REPETITIVE),
            Group("scores", _schema(scores=list_of(pa.float64()))),
        )

    def row_id(self, row: Prediction) -> str:
        """See `RowCodec`."""
        return row.asset

    def documents(self, row: Prediction) -> tuple[Document, ...]:
        """See `RowCodec`."""
        shapes = _document(asset=row.asset, shapes=[shape_document(shape) for shape in row.shapes])
        return shapes, _document(scores=[number(score) for score in row.scores])

    def columns(self, rows: Sequence[Prediction]) -> dict[str, pa.Array]:
        """See `RowCodec`."""
        scores = [row.scores for row in rows]
        return {
            "asset": strings([row.asset for row in rows]),
            "shapes": shapes_column([row.shapes for row in rows]),
            "scores": nested(
                scores, pa.array([number(s) for some in scores for s in some], pa.float64())
            ),
        }

    def rows(self, table: pa.Table) -> list[Prediction]:
        """See `RowCodec`."""
        column = Columns(table)
        return list(
            map(
                Prediction,
                column.plain("asset", ""),
                column.read("shapes", read_shapes, ()),
                column.read("scores", read_lists, ()),
            )
        )

    def statistics(self, head: pa.Table) -> dict[str, int]:
        """See `RowCodec`."""
        counts = Counter({"items": head.num_rows})
        counts.update(f"class:{name}" for name in carried_classes(head.column("shapes")))
        return {name: count for name, count in sorted(counts.items()) if count}


class DeliveryCodec(RowCodec[DeliveredObject]):
    """Delivered objects."""

    name = "deliveries/1"
    id_column = "asset"

    def __init__(self) -> None:
        self.groups = (
            Group(
                "objects",
                _schema(**dict.fromkeys(DeliveredObject.__dataclass_fields__, pa.string())),
            ),
        )

    def row_id(self, row: DeliveredObject) -> str:
        """See `RowCodec`."""
        return row.asset

    def documents(self, row: DeliveredObject) -> tuple[Document, ...]:
        """See `RowCodec`."""
        return (_document(**{name: getattr(row, name) for name in self.public_columns}),)

    def columns(self, rows: Sequence[DeliveredObject]) -> dict[str, pa.Array]:
        """See `RowCodec`."""
        return {name: strings([getattr(row, name) for row in rows]) for name in self.public_columns}

    def rows(self, table: pa.Table) -> list[DeliveredObject]:
        """See `RowCodec`."""
        column = Columns(table)
        return list(map(DeliveredObject, *(column.plain(name, "") for name in self.public_columns)))

    def statistics(self, head: pa.Table) -> dict[str, int]:
        """See `RowCodec`."""
        return {"items": head.num_rows} if head.num_rows else {}


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def _document(**fields: Any) -> Document:  # values of JSON
    return {name: value for name, value in fields.items() if value}


ITEMS = ItemCodec()
PREDICTIONS = PredictionCodec()
DELIVERIES = DeliveryCodec()
CODECS: dict[str, RowCodec[Any]] = {c.name: c for c in (ITEMS, PREDICTIONS, DELIVERIES)}
"""By name: a root object says which codec its rows have."""
