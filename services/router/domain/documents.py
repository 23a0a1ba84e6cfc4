"""What the customer gets: one JSON object per image and a manifest, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from loopline.digests import canonical_json
from loopline.flows import observations
from loopline.store.items import Item, Prediction
from loopline.store.shapes import Shape
from services.router.domain.plan import RoutingPlan
from services.router.domain.results import Routed

MANIFEST = "manifest.json"
Json = dict[str, Any]  # JSON is a union that no type here narrows


def object_key(prefix: str, asset: str) -> str:
    """Return the key of an image's result."""
    return f"{prefix}{asset}.json"


def manifest_key(prefix: str) -> str:
    """Return the key of a delivery's manifest."""
    return f"{prefix}{MANIFEST}"


def delivered_object(
    plan: RoutingPlan, item: Item, prediction: Prediction, threshold: float = 0.0
) -> bytes:
    """Return the canonical bytes of an image's result: where it comes from, and a COCO record.

    Args:
        plan: The run that delivers; its class `i` becomes category `i + 1`.
        item: The image.
        prediction: What the model says of it.
        threshold: Boxes and masks that are less sure are left out.
    """
    _, confidence = observations.surest(prediction, plan.classes, threshold)
    prediction = replace(prediction, shapes=observations.found(prediction, threshold))
    image = {
        "uri": item.source,
        "file_name": observations.file_name(item.source),
        "width": item.width_px,
        "height": item.height_px,
    }
    return canonical_json(
        {
            "loopline": {**_provenance(plan), "asset": item.asset},
            "image": image,
            "coco": _coco(image, plan.classes, prediction),
            "confidence": confidence,
        }
    )


def manifest(plan: RoutingPlan, delivered: Sequence[Routed], tree_digest: str) -> bytes:
    """Return the canonical bytes of the manifest: what this run delivered, written last.

    Args:
        plan: The run.
        delivered: What it delivered.
        tree_digest: Digest of everything the flow has delivered so far.
    """
    objects = [
        {"key": one.key, "sha256": one.digest, "size_bytes": one.size_bytes, "asset": one.asset}
        for one in sorted(delivered, key=lambda one: one.key)
    ]
    return canonical_json(
        {
            "loopline": {**_provenance(plan), "delivery_digest": tree_digest},
            "count": len(objects),
            "objects": objects,
        }
    )


def _provenance(plan: RoutingPlan) -> Json:
    return {
        "workspace": plan.workspace,
        "flow": plan.flow.name,
        "flow_version": plan.flow.version,
        "flow_digest": plan.flow.digest,
        "run": plan.run_id,
        "predictions": plan.predictions.digest,
        "model": plan.model.name,
        "model_version": plan.model.version,
        "model_digest": plan.model.digest,
        "dataset": plan.dataset.name,
        "dataset_version": plan.dataset.version,
        "dataset_digest": plan.dataset.digest,
    }


def _coco(image: Json, classes: Sequence[str], prediction: Prediction) -> Json:
    """Return a COCO record of one image (https://cocodataset.org/#format-data), id 1.

    An annotation of the whole image (classification) has neither bbox nor segmentation.
    """
    categories = {name: index + 1 for index, name in enumerate(classes)}
    size = [image["height"], image["width"]]
    return {
        "images": [
            {
                "id": 1,
                "file_name": image["file_name"],
                "width": image["width"],
                "height": image["height"],
            }
        ],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": categories.get(shape.class_name, 0),
                "score": shape.confidence,
                **_geometry(shape, size),
            }
            for number, shape in enumerate(_shapes(prediction, classes), start=1)
        ],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _shapes(prediction: Prediction, classes: Sequence[str]) -> Sequence[Shape]:
    if prediction.shapes or not prediction.scores:
        return prediction.shapes
    class_name, confidence = observations.surest(prediction, classes)
    return [Shape(id="", class_name=class_name, confidence=confidence)]


def _geometry(shape: Shape, size: list[int]) -> Json:
    if shape.bbox_xyxy:
        x_min, y_min, x_max, y_max = shape.bbox_xyxy
        return _box(x_min, y_min, x_max, y_max, (x_max - x_min) * (y_max - y_min))
    if shape.polygon:
        xs, ys = shape.polygon[0::2], shape.polygon[1::2]
        box = _box(min(xs), min(ys), max(xs), max(ys), _polygon_area(xs, ys))
        return {**box, "segmentation": [list(shape.polygon)]}
    if shape.mask_rle:
        return {"segmentation": {"size": size, "counts": shape.mask_rle}, "iscrowd": 0}
    return {"iscrowd": 0}


def _box(x_min: float, y_min: float, x_max: float, y_max: float, area: float) -> Json:
    return {"bbox": [x_min, y_min, x_max - x_min, y_max - y_min], "area": area, "iscrowd": 0}


def _polygon_area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the area inside a closed ring (shoelace formula)."""
    ring = [*zip(xs, ys, strict=True), (xs[0], ys[0])]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))) / 2
