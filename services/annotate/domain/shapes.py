"""What a labeler may say of an image, and how it is attributed.

A submission is refused whole, with every fault named, so that a client can mend it in one go.
Coordinates are pixels, origin top left; a shape without geometry speaks of the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from loopline.digests import digest_of
from loopline.errors import Rejected
from loopline.store.items import Shape
from loopline.vision.masks import check_mask

SHAPES_MAX = 2_000  # per item
POLYGON_POINTS_MAX = 10_000
MASK_RLE_LENGTH_MAX = 500_000  # characters
SHAPE_ID_LENGTH = 16  # hex digits; unique within an item
SHAPE_ID_LENGTH_MAX = 100
LABELER_LENGTH_MAX = 100
SAME_WITHIN_PX = 1e-6  # other programs' formats keep no more of a coordinate
FAULTS_SHOWN_MAX = 10
CLASSES_SHOWN_MAX = 20
TAGS_MAX = 50
TAG_LENGTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Canvas:
    """The image that shapes are drawn on, and the classes they may name."""

    asset: str
    width_px: int
    height_px: int
    classes: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    """What may be drawn: "whole_image", "box", "polygon", "mask"; empty for all."""


def check_labeler(labeler: str) -> None:
    """Refuse labeler names that no source string could carry.

    Raises:
        Rejected: It is empty, too long, padded, or has control characters.
    """
    if not labeler or len(labeler) > LABELER_LENGTH_MAX:
        raise Rejected(f"a labeler's name has 1 to {LABELER_LENGTH_MAX} characters")
    if labeler != labeler.strip() or not labeler.isprintable():
        raise Rejected(
            f"{labeler!r} is not a labeler's name: spaces around it, or control characters"
        )


def check_shapes(
    shapes: Sequence[Shape],
    canvas: Canvas,
    predicted: Sequence[Shape],
    existing: Sequence[Shape] = (),
) -> None:
    """Refuse shapes that cannot be on this image.

    Args:
        shapes: As submitted; empty says "nothing to see here".
        canvas: Image size and classes.
        predicted: The shapes that were shown, which `edited_from` may name.
        existing: What the dataset version says of it, which `edited_from` may name too. One of
            these that comes back as it was is taken, though this job would not let it be drawn.

    Raises:
        Rejected: It names the asset and every faulty shape by its position, with the reason.
    """
    if len(shapes) > SHAPES_MAX:
        raise Rejected(
            f"asset {canvas.asset}: {len(shapes)} shapes; an item has at most {SHAPES_MAX}",
            asset=canvas.asset,
        )
    own_ids = {shape.id for shape in existing}
    known = own_ids | {shape.id for shape in predicted}
    said = [(index, shape) for index, shape in enumerate(shapes) if not _kept(shape, existing)]
    faults = [
        f"shape {index}: {fault}"
        for index, shape in said
        if (fault := _class_fault(shape, canvas) or _geometry_fault(shape, canvas))
    ]
    faults += [
        f"shape {index}: edited_from {shape.edited_from!r} is no shape of the prediction"
        for index, shape in said
        if shape.edited_from and shape.edited_from not in known and shape.id not in own_ids
    ]
    faults += _repetitions(shapes)
    if faults:
        more = (
            f" (and {len(faults) - FAULTS_SHOWN_MAX} more)"
            if len(faults) > FAULTS_SHOWN_MAX
            else ""
        )
        raise Rejected(
            f"asset {canvas.asset}: " + "; ".join(faults[:FAULTS_SHOWN_MAX]) + more,
            asset=canvas.asset,
        )


def _class_fault(shape: Shape, canvas: Canvas) -> str:
    if len(shape.id) > SHAPE_ID_LENGTH_MAX:
        return f"its id is longer than {SHAPE_ID_LENGTH_MAX} characters"
    if shape.class_name in canvas.classes:
        return ""
    known = ", ".join(canvas.classes[:CLASSES_SHOWN_MAX])
    return f"class {shape.class_name!r} is not one of this job's ({known})"


def _geometry_fault(shape: Shape, canvas: Canvas) -> str:
    given = [g for g in (shape.bbox_xyxy, shape.polygon, shape.mask_rle) if g is not None]
    if len(given) > 1:
        return "it has more than one geometry"
    if canvas.kinds and kind_of(shape) not in canvas.kinds:
        return f"it is a {kind_of(shape)}; this job takes {', '.join(canvas.kinds)}"
    if shape.bbox_xyxy is not None:
        return _box_fault(shape.bbox_xyxy, canvas)
    if shape.polygon is not None:
        return _polygon_fault(shape.polygon, canvas)
    if shape.mask_rle is not None:
        return _mask_fault(shape.mask_rle, canvas)
    return ""


def _box_fault(box: tuple[float, float, float, float], canvas: Canvas) -> str:
    x_min, y_min, x_max, y_max = box
    if not all(math.isfinite(value) for value in box):
        return "a coordinate of its box is not a number"
    if x_min >= x_max or y_min >= y_max:
        return f"its box {list(box)} has no area"
    if x_min < 0 or y_min < 0 or x_max > canvas.width_px or y_max > canvas.height_px:
        return f"its box {list(box)} is outside the {canvas.width_px} x {canvas.height_px} image"
    return ""


def _polygon_fault(points: tuple[float, ...], canvas: Canvas) -> str:
    if len(points) % 2 or not 6 <= len(points) <= 2 * POLYGON_POINTS_MAX:
        return f"its polygon needs 3 to {POLYGON_POINTS_MAX} points as x0, y0, x1, y1, ..."
    if not all(math.isfinite(value) for value in points):
        return "a coordinate of its polygon is not a number"
    xs, ys = points[0::2], points[1::2]
    if min(xs) < 0 or min(ys) < 0 or max(xs) > canvas.width_px or max(ys) > canvas.height_px:
        return f"its polygon is outside the {canvas.width_px} x {canvas.height_px} image"
    return ""


def _mask_fault(rle: str, canvas: Canvas) -> str:
    if len(rle) > MASK_RLE_LENGTH_MAX:
        return f"its mask is longer than {MASK_RLE_LENGTH_MAX} characters"
    try:
        check_mask(rle, canvas.width_px, canvas.height_px)
    except ValueError as error:
        return f"its mask: {error}"
    return ""


def _repetitions(shapes: Sequence[Shape]) -> list[str]:
    faults: list[str] = []
    ids: set[str] = set()
    whole_image: set[str] = set()
    for index, shape in enumerate(shapes):
        if shape.id and shape.id in ids:
            faults.append(f"shape {index}: id {shape.id!r} is used twice")
        ids.add(shape.id)
        if is_whole_image(shape):
            if shape.class_name in whole_image:
                faults.append(f"shape {index}: the image is said to be {shape.class_name!r} twice")
            whole_image.add(shape.class_name)
    return faults


def is_whole_image(shape: Shape) -> bool:
    """Tell whether a shape speaks of the whole image (classification)."""
    return shape.bbox_xyxy is None and shape.polygon is None and shape.mask_rle is None


def kind_of(shape: Shape) -> str:
    """Return what a shape is: "whole_image", "box", "polygon" or "mask"."""
    if shape.bbox_xyxy is not None:
        return "box"
    if shape.polygon is not None:
        return "polygon"
    return "mask" if shape.mask_rle is not None else "whole_image"


def check_tags(asset: str, tags: Sequence[str]) -> None:
    """Refuse tags that no filter could name.

    Raises:
        Rejected: There are too many, or one is empty, too long or has control characters.
    """
    wrong = [tag for tag in tags if not 0 < len(tag) <= TAG_LENGTH_MAX or not tag.isprintable()]
    if len(tags) > TAGS_MAX or wrong:
        raise Rejected(
            f"asset {asset}: up to {TAGS_MAX} tags of 1 to {TAG_LENGTH_MAX} printable characters",
            asset=asset,
        )


def attribute(
    shapes: Sequence[Shape],
    labeler: str,
    predicted: Sequence[Shape],
    existing: Sequence[Shape] = (),
) -> tuple[Shape, ...]:
    """Return submitted shapes as they are kept: with ids, a source, and what they were edited from.

    Equal submissions give equal shapes, ids included, so that a repetition is recognised. What the
    dataset version says and nobody changed stays whose it was; a shape of its id that differs is
    an edit of it. A whole-image label is an edit of the whole-image prediction that was shown, or
    of the one there was; any other drawn shape is one only where the client says so.

    Args:
        shapes: As submitted, checked.
        labeler: Who submits.
        predicted: What was shown; empty if nothing was.
        existing: What the dataset version says of the image, as far as it was shown.
    """
    shown = top_whole_image(predicted) or top_whole_image(existing)
    own_ids = {shape.id for shape in existing}
    return tuple(
        _kept(shape, existing) or _attributed(shape, index, labeler, shown, own_ids)
        for index, shape in enumerate(shapes)
    )


def _kept(shape: Shape, existing: Sequence[Shape]) -> Shape | None:
    """Return the shape of the dataset version that a submitted one repeats, if it does.

    A whole-image label needs no id for that: two of one class say the same.
    """
    for one in existing:
        is_same = shape.id == one.id or (not shape.id and is_whole_image(shape))
        if is_same and _looks_like(shape, one):
            return one
    return None


def _looks_like(shape: Shape, other: Shape) -> bool:
    if (shape.class_name, shape.mask_rle) != (other.class_name, other.mask_rle):
        return False
    return _near(shape.bbox_xyxy, other.bbox_xyxy) and _near(shape.polygon, other.polygon)


def _near(a: Sequence[float] | None, b: Sequence[float] | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(abs(x - y) <= SAME_WITHIN_PX for x, y in zip(a, b, strict=True))


def _attributed(
    shape: Shape, index: int, labeler: str, shown: Shape | None, own_ids: AbstractSet[str]
) -> Shape:
    edited_from = shape.id if shape.id in own_ids else shape.edited_from
    if not edited_from and shown is not None and is_whole_image(shape):
        edited_from = shown.id
    kept = replace(
        shape, source=f"labeler:{labeler}", edited_from=edited_from, confidence=None, review=""
    )
    return kept if kept.id else replace(kept, id=_shape_id(kept, index))


def _shape_id(shape: Shape, index: int) -> str:
    return digest_of([index, shape_content(shape)])[:SHAPE_ID_LENGTH]


def shape_content(shape: Shape) -> dict[str, object]:
    """Return what a shape says, as JSON values; what is absent is left out."""
    values = {
        "id": shape.id,
        "class_name": shape.class_name,
        "bbox_xyxy": shape.bbox_xyxy,
        "polygon": shape.polygon,
        "mask_rle": shape.mask_rle,
        "confidence": shape.confidence,
        "source": shape.source,
        "edited_from": shape.edited_from,
        "review": shape.review,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def shape_from_content(content: dict[str, object]) -> Shape:
    """Return the shape that `shape_content` wrote."""
    values = dict(content)
    for name in ("bbox_xyxy", "polygon"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])  # type: ignore[arg-type]  # written above
    return Shape(**{"id": "", **values})  # type: ignore[arg-type]  # written above


def labels_digest(shapes: Sequence[Shape], tags: Sequence[str] = ()) -> str:
    """Return the digest of a submission: equal for equal shapes and tags by the same labeler."""
    said: list[object] = [shape_content(shape) for shape in shapes]
    return digest_of([*said, {"tags": list(tags)}] if tags else said)


def top_whole_image(shapes: Sequence[Shape]) -> Shape | None:
    """Return the most confident shape that speaks of the whole image, if there is one."""
    whole = [shape for shape in shapes if is_whole_image(shape)]
    return max(whole, key=lambda shape: shape.confidence or 0.0, default=None)
