"""Pages of the items of a dataset version: filtered by shards, with predictions beside them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from loopline.store.items import ITEMS, Item, Prediction, Shape
from loopline.store.shapes import REJECTED
from loopline.store.trees import Tree
from services.console.bodies.datasets import ItemOut, ShapeOut
from services.console.domain.disagreement import Box, Said, disagreement
from services.console.domain.filters import ItemFilter

HEAD = ["asset", "split", "tags", "labeled", "shapes", "width_px", "height_px"]
NO_SPLIT = "none"


@dataclass(frozen=True, slots=True)
class Page:
    """What was found.

    Args:
        items: In the order of their assets.
        predictions: Those of the items that have some.
        cursor: Where to go on; None at the end.
        scanned: Items looked at.
    """

    items: list[Item]
    predictions: dict[str, Prediction]
    cursor: str | None
    scanned: int


async def page(
    tree: Tree[Item],
    predictions: Tree[Prediction] | None,
    wanted: ItemFilter,
    after: str,
    limit: int,
    scan_max: int,
) -> Page:
    """Return the next items that match, looking at `scan_max` at most (but a shard at least)."""
    columns = [*HEAD, "source"] if wanted.source else HEAD
    found: list[str] = []
    scanned, last = 0, after
    if wanted.asks_predictions and predictions is None:
        return Page([], {}, None, 0)
    async with aclosing(tree.batches(columns, after)) as shards:
        async for shard in shards:
            ids: list[str] = shard.column("asset").to_pylist()
            matching = shard.filter(pa.chunked_array([_mask(shard, wanted)]))
            found += await _judged(matching, predictions, wanted)
            if len(found) >= limit:
                found = found[:limit]
                scanned += ids.index(found[-1]) + 1 if found[-1] in ids else len(ids)
                return await _read(tree, predictions, found, found[-1], scanned)
            scanned += len(ids)
            last = ids[-1] if ids else last
            if scanned >= scan_max:
                return await _read(tree, predictions, found, last, scanned)
    return await _read(tree, predictions, found, None, scanned)


async def _read(
    tree: Tree[Item],
    predictions: Tree[Prediction] | None,
    ids: Sequence[str],
    cursor: str | None,
    scanned: int,
) -> Page:
    items = await tree.get(ids) if ids else {}
    told = await predictions.get(ids) if predictions is not None and ids else {}
    return Page(list(items.values()), told, cursor, scanned)


def _mask(shard: pa.Table, wanted: ItemFilter) -> pa.Array:
    """Return which rows match what the columns alone can tell."""
    mask = pa.array([True] * shard.num_rows, pa.bool_())
    if wanted.splits:
        splits = pa.array(["" if s == NO_SPLIT else s for s in sorted(wanted.splits)], pa.string())
        mask = pc.and_(mask, _flat(pc.is_in(shard.column("split"), value_set=splits)))
    if wanted.labeled is not None:
        labeled = _flat(shard.column("labeled"))
        mask = pc.and_(mask, labeled if wanted.labeled else pc.invert(labeled))
    if wanted.source:
        hits = pc.match_substring(shard.column("source"), wanted.source, ignore_case=True)
        mask = pc.and_(mask, _flat(hits))
    if wanted.tags:
        tags = pa.array(sorted(wanted.tags), pa.string())
        mask = pc.and_(mask, _any(shard.column("tags"), lambda v: pc.is_in(v, value_set=tags)))
    if wanted.classes:
        names = pa.array(sorted(wanted.classes), pa.string())

        def of_class(shapes: pa.Array) -> pa.Array:
            carried = pc.not_equal(pc.fill_null(shapes.field("review"), ""), REJECTED)
            return pc.and_(pc.is_in(shapes.field("class_name"), value_set=names), carried)

        mask = pc.and_(mask, _any(shard.column("shapes"), of_class))
    if wanted.shape_source:
        start = f"{wanted.shape_source}:"
        by = _any(
            shard.column("shapes"),
            lambda shapes: pc.fill_null(pc.starts_with(shapes.field("source"), start), False),
        )
        mask = pc.and_(mask, by)
    return mask


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _any(column: pa.ChunkedArray, test: object) -> pa.Array:
    """Return, for each list of a column, whether one of its values passes a test."""
    lists = _flat(column)
    owners, values = pc.list_parent_indices(lists), pc.list_flatten(lists)
    hits = set(owners.filter(test(values)).to_pylist())  # type: ignore[operator]
    return pa.array([at in hits for at in range(len(lists))], pa.bool_())


async def _judged(
    matching: pa.Table, predictions: Tree[Prediction] | None, wanted: ItemFilter
) -> list[str]:
    """Return the assets of rows whose predictions are what is asked for."""
    ids: list[str] = matching.column("asset").to_pylist()
    if not wanted.asks_predictions or predictions is None or not ids:
        return ids
    told = await predictions.get(ids)
    items = ITEMS.rows(matching)
    return [i.asset for i in items if i.asset in told and _fits(i, told[i.asset], wanted)]


def _fits(item: Item, prediction: Prediction, wanted: ItemFilter) -> bool:
    score = score_of(prediction)
    if wanted.score_min is not None and (score is None or score < wanted.score_min):
        return False
    if wanted.score_max is not None and (score is None or score > wanted.score_max):
        return False
    if wanted.disagreement_min is None:
        return True
    apart = disagreement_of(item, prediction)
    return apart is not None and apart >= wanted.disagreement_min and apart > 0


def score_of(prediction: Prediction) -> float | None:
    """Return how sure a model was of its best shape; None if it saw nothing."""
    confidences = (shape.confidence for shape in prediction.shapes)
    return max((c for c in confidences if c is not None), default=None)


def disagreement_of(item: Item, prediction: Prediction | None) -> float | None:
    """Return how far an item's label and prediction are apart; None if one is missing."""
    if prediction is None or not item.labeled:
        return None
    return disagreement(_said(item.shapes, item), _said(prediction.shapes, item))


def _said(shapes: Sequence[Shape], item: Item) -> list[Said]:
    return [
        Said(
            shape.class_name,
            _box(shape, item),
            1.0 if shape.confidence is None else shape.confidence,
        )
        for shape in shapes
        if shape.review != REJECTED
    ]


def _box(shape: Shape, item: Item) -> Box | None:
    if shape.bbox_xyxy is not None:
        return shape.bbox_xyxy
    from loopline.vision import masks  # OpenCV comes with it: for those who look at masks

    if shape.polygon:
        return masks.box_of_polygon(shape.polygon)
    if shape.mask_rle:
        return masks.box_of(shape.mask_rle, item.width_px, item.height_px)
    return None


def item_out(item: Item, prediction: Prediction | None) -> ItemOut:
    """Return an item as the API says it."""
    return ItemOut(
        asset=item.asset,
        media_type=item.media_type,
        size_bytes=item.size_bytes,
        width_px=item.width_px,
        height_px=item.height_px,
        split=item.split,
        tags=list(item.tags),
        source=item.source,
        is_labeled=item.labeled,
        shapes=shapes_out(item.shapes),
        predicted=None if prediction is None else shapes_out(prediction.shapes),
        score=None if prediction is None else score_of(prediction),
        disagreement=disagreement_of(item, prediction),
        image_url=f"/api/assets/{item.asset}",
        thumbnail_url=f"/api/assets/{item.asset}/thumbnail",
    )


def shapes_out(shapes: Sequence[Shape]) -> list[ShapeOut]:
    """Return shapes as the API says them."""
    return [
        ShapeOut(
            id=shape.id,
            class_name=shape.class_name,
            bbox_xyxy=shape.bbox_xyxy,
            polygon=None if shape.polygon is None else list(shape.polygon),
            mask_rle=shape.mask_rle,
            confidence=shape.confidence,
            source=shape.source or "",
            edited_from=shape.edited_from or "",
            review=shape.review or "",
        )
        for shape in shapes
    ]
