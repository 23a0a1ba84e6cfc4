"""Datasets: versions, items, differences, drops."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.console.bodies.base import In, Name, Out, PersonOut, RefOut


class VersionOut(Out):
    """One version of a dataset."""

    name: str
    version: int
    digest: str
    node: str
    summary: str
    committed_at: str
    actor: PersonOut | None
    run: str
    run_kind: str
    items: int
    labeled: int
    statistics: dict[str, int]
    """"items", "labeled", "split:train", "labeled:train", "class:<name>", ..."""
    histogram: dict[str, int]
    splits: dict[str, int]
    classes: list[str]
    """In the order that models index them."""
    tags: list[str]
    """Names that people gave to this version."""
    changes: dict[str, int]
    """From the one before: "added", "changed", "removed", "labels_changed"."""
    restored_from: int
    """The version it brought back; 0 if it is no restore."""
    test_split_digest: str
    has_drops: bool
    thumbnails: list[str]


class DatasetOut(Out):
    """A dataset, by its last version."""

    name: str
    head: VersionOut
    versions: int
    tags: dict[str, int]


class DatasetsOut(Out):
    """Every dataset, the last changed first."""

    datasets: list[DatasetOut]


class VersionsOut(Out):
    """The versions of a dataset, the newest first."""

    name: str
    versions: list[VersionOut]


class ShapeOut(Out):
    """An annotation: a class on the image, or on a part of it, in the image's own pixels."""

    id: str
    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None
    polygon: list[float] | None
    mask_rle: str | None
    confidence: float | None
    source: str
    edited_from: str
    review: str


class ItemOut(Out):
    """An image of a dataset version."""

    asset: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    split: str
    tags: list[str]
    source: str
    is_labeled: bool
    shapes: list[ShapeOut]
    predicted: list[ShapeOut] | None
    """What the model said, if predictions were asked for and there are some of this image."""
    score: float | None
    """How sure the model was: of its best shape."""
    disagreement: float | None
    """How far label and prediction are apart, in [0, 1]; null if one of them is missing."""
    image_url: str
    thumbnail_url: str


class PredictionsOut(Out):
    """Predictions that can be laid over a dataset version."""

    ref: RefOut
    model: RefOut
    count: int


class ItemsOut(Out):
    """A page of items, sorted by asset."""

    items: list[ItemOut]
    next_cursor: str | None
    """Of the next page. A page may be short, or empty, and yet not the last one: a search that
    looks at many items says what it found so far."""
    scanned: int
    """Items that were looked at for this page."""
    total: int
    """Items of the version, before filters."""
    predictions: PredictionsOut | None
    """Which predictions `predicted`, `score` and `disagreement` are of."""


class FacetsOut(Out):
    """What items can be filtered by."""

    classes: dict[str, int]
    splits: dict[str, int]
    tags: dict[str, int]
    sources: dict[str, int]
    """Folders and buckets images came from; the largest ones."""
    predictions: list[PredictionsOut]
    is_sampled: bool
    """Tags and sources are counted on a part of a large version."""


class ChangedItemOut(Out):
    """An item that both versions have, differently."""

    before: ItemOut
    after: ItemOut
    added_shapes: list[str]
    """Ids of shapes of `after` that `before` has not."""
    removed_shapes: list[str]
    changed_shapes: list[str]
    changed_fields: list[str]
    """"split", "tags", "is_labeled", "shapes", "source", ..."""


class DiffOut(Out):
    """What was done to `a` to make it `b`; a page of it."""

    a: VersionOut
    b: VersionOut
    counts: dict[str, int]
    """"added", "changed", "removed" in all."""
    added: list[ItemOut]
    removed: list[ItemOut]
    changed: list[ChangedItemOut]
    next_cursor: str | None


class RestoreIn(In):
    """Brings an earlier version's items back, as the next version."""

    version: int = Field(ge=1)


class TagIn(In):
    """Names a version; a tag can be moved."""

    tag: Name
    version: int = Field(ge=1)


DropReason = str


class DropOut(Out):
    """An object that did not become an item."""

    key: str
    uri: str
    reason: DropReason
    detail: str
    repeats: str
    """Of a duplicate: the key or asset that stays."""
    asset: str
    """A picture to show: what a duplicate repeats; "" if there is none."""
    thumbnail_url: str
    """Of `asset`."""
    picture: str
    """The file itself, small and grey, as a data URL; "" where it could not be decoded."""


class DropsOut(Out):
    """The drop report of an import."""

    run: str
    source: str
    counts: dict[str, int]
    """By reason, in all."""
    drops: list[DropOut]
    next_cursor: str | None
    rejected_labels: int


ItemOrder = Literal["asset"]
