"""A delivered object, read back: what it says it comes from, and what it says of its image.

The proof must not trust the code that wrote the object, so this reads the documented JSON
(docs/lineage.md) and compares it with the prediction by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from loopline.digests import is_digest
from loopline.errors import Rejected
from loopline.store.items import Item, Prediction
from loopline.store.shapes import Shape

TOLERANCE = 1e-9  # relative: numbers went through JSON, not through arithmetic
Json = Mapping[str, Any]  # parsed JSON


@dataclass(frozen=True, slots=True)
class Origin:
    """What the objects of one delivery have in common: the artefacts they come from."""

    workspace: str
    flow: str
    flow_version: int
    flow_digest: str
    run: str
    predictions: str
    model: str
    model_version: int
    model_digest: str
    dataset: str
    dataset_version: int
    dataset_digest: str


@dataclass(frozen=True, slots=True)
class Found:
    """One annotation of a delivered object."""

    class_name: str
    score: float
    bbox_xywh: tuple[float, ...] | None
    segmentation: Any  # COCO's polygons, or a run-length encoding


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivered object.

    Args:
        origin: What it comes from.
        asset: sha256 of the image.
        uri: Where the image came from.
        size_px: Width and height.
        found: Its annotations.
        confidence: Of the prediction as a whole.
    """

    origin: Origin
    asset: str
    uri: str
    size_px: tuple[int, int]
    found: tuple[Found, ...]
    confidence: float

    @classmethod
    def parse(cls, data: bytes) -> Delivered:
        """Read an object's bytes.

        Raises:
            Rejected: It is not one that Loopline delivers.
        """
        try:
            document = orjson.loads(data)
            origin, image = document["loopline"], document["image"]
            return cls(
                Origin(**{field.name: origin[field.name] for field in fields(Origin)}),
                _digest(origin["asset"]),
                str(image["uri"]),
                (int(image["width"]), int(image["height"])),
                _found(document["coco"]),
                float(document["confidence"]),
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Rejected(f"it is not a delivered object: {reason}") from error

    def differs_from(
        self, prediction: Prediction, classes: Sequence[str], threshold: float = 0.0
    ) -> str:
        """Return how it differs from the committed prediction, or "".

        Args:
            prediction: The committed one.
            classes: The model's, in the order of its scores.
            threshold: The flow's: boxes and masks that are less sure were not found.
        """
        shapes, confidence = _predicted(prediction, classes, threshold)
        if not math.isclose(self.confidence, confidence, rel_tol=TOLERANCE):
            return f"it says confidence {self.confidence}, the prediction {confidence}"
        expected = [_shown(shape) for shape in shapes]
        if len(expected) != len(self.found):
            return f"it has {len(self.found)} annotations, the prediction {len(expected)}"
        for number, (said, meant) in enumerate(zip(self.found, expected, strict=True), start=1):
            if not _same(said, meant):
                return f"annotation {number} says {said.class_name}, not what was predicted"
        return ""

    def differs_from_item(self, item: Item) -> str:
        """Return how what it says of its image differs from the dataset's item, or ""."""
        if self.uri != item.source:
            return f"it says {self.uri}, the dataset {item.source}"
        if self.size_px != (item.width_px, item.height_px):
            return f"it says {self.size_px} px, the dataset {(item.width_px, item.height_px)}"
        return ""


def _digest(value: object) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(f"{value!r} is no digest")
    return value


def _found(coco: Json) -> tuple[Found, ...]:
    names = {category["id"]: str(category["name"]) for category in coco["categories"]}
    return tuple(
        Found(
            names.get(one["category_id"], ""),
            float(one["score"] or 0.0),
            tuple(one["bbox"]) if "bbox" in one else None,
            one.get("segmentation"),
        )
        for one in coco["annotations"]
    )


def _predicted(
    prediction: Prediction, classes: Sequence[str], threshold: float
) -> tuple[list[Shape], float]:
    """Return the shapes a prediction stands for, and its confidence as a whole."""
    scores = prediction.scores
    if scores:
        best = max(range(len(scores)), key=lambda i: (scores[i], -i))
        name = classes[best] if best < len(classes) else ""
        whole = [Shape("", name, confidence=scores[best])]
        return list(prediction.shapes) or whole, scores[best]
    found = [shape for shape in prediction.shapes if (shape.confidence or 0.0) >= threshold]
    if found:
        return found, min(shape.confidence or 0.0 for shape in found)
    doubts = (shape.confidence or 0.0 for shape in prediction.shapes)
    return [], 1.0 - max(doubts, default=0.0)


def _shown(shape: Shape) -> Found:
    box: tuple[float, ...] | None = None
    segmentation: Any = None  # COCO's
    if shape.bbox_xyxy:
        x_min, y_min, x_max, y_max = shape.bbox_xyxy
        box = (x_min, y_min, x_max - x_min, y_max - y_min)
    elif shape.polygon:
        xs, ys = shape.polygon[0::2], shape.polygon[1::2]
        box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        segmentation = [list(shape.polygon)]
    elif shape.mask_rle:
        segmentation = {"counts": shape.mask_rle}
    return Found(shape.class_name, shape.confidence or 0.0, box, segmentation)


def _same(said: Found, meant: Found) -> bool:
    if said.class_name != meant.class_name or (said.bbox_xywh is None) != (meant.bbox_xywh is None):
        return False
    if not _close((said.score,), (meant.score,)):
        return False
    if said.bbox_xywh and not _close(said.bbox_xywh, meant.bbox_xywh or ()):
        return False
    if isinstance(meant.segmentation, dict):  # a run-length encoding; the size is the image's
        counts = said.segmentation["counts"] if isinstance(said.segmentation, dict) else None
        return bool(counts == meant.segmentation["counts"])
    return bool((said.segmentation or None) == meant.segmentation)


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) == len(b) and all(
        math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for x, y in zip(a, b, strict=True)
    )
