"""From commits and rows to what rules see: one function per documented variable of `contexts`.

Types of the store are named, not imported, at run time: a client that only checks a flow needs no
pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from loopline.contracts import ArtefactRef, DatasetCommitted, Evaluation, ModelCommitted
from loopline.flows.contexts import Value

if TYPE_CHECKING:
    from loopline.evaluation.report import Comparison
    from loopline.store.items import Item, Prediction, Shape

TEST_SPLIT = "test"


def dataset(committed: DatasetCommitted) -> dict[str, Value]:
    """Return `dataset` as train rules see it."""
    return {
        **version(committed.commit.artefact),
        "statistics": dict(committed.statistics),
        "changes": dict(committed.changes),
        "classes": list(committed.classes),
        "tags": dict(committed.tags),
        "test_split_digest": committed.test_split_digest,
    }


def version(ref: ArtefactRef) -> dict[str, Value]:
    """Return the name, version and digest of an artefact."""
    return {"name": ref.name, "version": ref.version, "digest": ref.digest}


def model(committed: ModelCommitted) -> dict[str, Value]:
    """Return `model` as route rules see it."""
    return {
        **version(committed.commit.artefact),
        "recipe": committed.recipe,
        "task": committed.task,
        "classes": list(committed.classes),
    }


def evaluated_model(
    committed: ModelCommitted, evaluation: Evaluation | None = None
) -> dict[str, Value]:
    """Return `candidate` or `champion` as promote rules see it; it may have no metrics.

    Args:
        committed: The version.
        evaluation: Whose figures it has; by default its training's own on the test split.
    """
    evaluation = evaluation or frozen_evaluation(committed)
    return {
        **model(committed),
        "count": evaluation.count if evaluation else 0,
        "metrics": dict(evaluation.metrics) if evaluation else {},
    }


def comparison(found: Comparison) -> dict[str, Value]:
    """Return `comparison` as promote rules see it; the champion is its first model."""
    return {
        name: {
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "better": one.better,
        }
        for name, one in found.metrics.items()
    }


def frozen_evaluation(committed: ModelCommitted) -> Evaluation | None:
    """Return what was measured on the frozen test split, or None."""
    return next((e for e in committed.evaluations if e.split == TEST_SPLIT), None)


def item(row: Item) -> dict[str, Value]:
    """Return `item` as apply and route rules see it."""
    return {
        "asset": row.asset,
        "source": row.source,
        "file_name": file_name(row.source),
        "media_type": row.media_type,
        "size_bytes": row.size_bytes,
        "width_px": row.width_px,
        "height_px": row.height_px,
        "split": row.split,
        "tags": list(row.tags),
        "labeled": row.labeled,
        "classes": sorted({shape.class_name for shape in row.shapes}),
        "parent": row.parent,
    }


def file_name(uri: str) -> str:
    """Return the last part of a URI's path, decoded.

    >>> file_name("s3://customer/photos/blue%20coat.png")
    'blue coat.png'
    """
    return unquote(urlsplit(uri).path.rpartition("/")[2])


def found(row: Prediction, threshold: float) -> tuple[Shape, ...]:
    """Return the shapes that count: a classifier's, and those at least as sure as `threshold`."""
    if row.scores:
        return row.shapes
    return tuple(shape for shape in row.shapes if (shape.confidence or 0.0) >= threshold)


def prediction(row: Prediction, classes: Sequence[str], threshold: float = 0.0) -> dict[str, Value]:
    """Return `prediction` as route rules see it.

    Args:
        row: The prediction.
        classes: The model's classes, in the order of its scores.
        threshold: The flow's: boxes and masks that are less sure do not count.
    """
    shapes = found(row, threshold)
    class_name, confidence = surest(row, classes, threshold)
    return {
        "class_name": class_name,
        "confidence": confidence,
        "count": len(shapes),
        "classes": sorted({shape.class_name for shape in shapes}),
        "doubt": 0.0 if row.scores else _doubt(row, threshold),
        "margin": _margin(row.scores, confidence),
        "scores": dict(zip(classes, row.scores, strict=False)),
        "shapes": [_shape(shape) for shape in shapes],
    }


def surest(row: Prediction, classes: Sequence[str], threshold: float = 0.0) -> tuple[str, float]:
    """Return the class the model is surest of, and the confidence of the prediction as a whole.

    With scores (classification) both are of the best score. Without (detection, segmentation) the
    class is that of the surest shape and the confidence that of the least sure one, since the
    result is as good as its worst shape. Nothing found: no class, and the more confident the less
    likely the best of the shapes that do not count.
    """
    if row.scores:
        best = max(range(len(row.scores)), key=lambda i: (row.scores[i], -i))
        return (classes[best] if best < len(classes) else ""), row.scores[best]
    shapes = found(row, threshold)
    if not shapes:
        return "", 1.0 - _doubt(row, threshold)
    sure = max(shapes, key=lambda shape: shape.confidence or 0.0)
    return sure.class_name, min(shape.confidence or 0.0 for shape in shapes)


def _doubt(row: Prediction, threshold: float) -> float:
    below = (shape.confidence or 0.0 for shape in row.shapes)
    return max((score for score in below if score < threshold), default=0.0)


def _margin(scores: Sequence[float], confidence: float) -> float:
    if len(scores) < 2:
        return confidence
    best, second = sorted(scores, reverse=True)[:2]
    return best - second


def _shape(shape: Shape) -> dict[str, Value]:
    return {
        "class_name": shape.class_name,
        "confidence": shape.confidence or 0.0,
        "geometry": _geometry(shape),
        "bbox_xyxy": list(shape.bbox_xyxy or ()),
    }


def _geometry(shape: Shape) -> str:
    if shape.bbox_xyxy:
        return "box"
    if shape.polygon:
        return "polygon"
    return "mask" if shape.mask_rle else "image"
