"""Which figures of a version a card shows, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict
from urllib.parse import unquote

MAIN_METRICS = (
    "accuracy", "map", "map50", "map_50", "mean_iou", "miou", "iou", "dice", "macro_f1", "f1",
)  # fmt: skip
"""Metrics a model is told by, the first that it has."""
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "dataset": ("items", "labeled"),
    "run": ("images_per_s", "added", "dropped", "delivered", "relabeled", "accuracy"),
    "predictions": ("predictions", "inferred"),
    "labeling_job": ("items",),
    "delivery": ("delivered", "relabeled", "unrouted"),
    "evaluation": ("count",),
}
_LABELS = {
    "map": "mAP", "map50": "mAP50", "map_50": "mAP50", "mean_iou": "mean IoU", "miou": "mean IoU",
    "iou": "IoU", "macro_f1": "macro F1", "f1": "F1", "images_per_s": "images/s",
    "items": "images",
}  # fmt: skip
CLASS = "class:"


class Figure(TypedDict):
    """A figure of a card."""

    name: str
    value: float
    label: str


def main_metric(figures: Mapping[str, float], splits: tuple[str, ...] = ("test", "val")) -> str:
    """Return the name of the metric that a model is told by; "" if it has none.

    >>> main_metric({"macro_f1": 0.8, "accuracy": 0.9}), main_metric({"test:map50": 0.5})
    ('accuracy', 'test:map50')
    """
    for metric in MAIN_METRICS:
        for name in (metric, *(f"{split}:{metric}" for split in splits)):
            if name in figures:
                return name
    return ""


def card_figures(kind: str, figures: Mapping[str, float]) -> list[Figure]:
    """Return what a card shows, the most important first."""
    names = [name for name in _SHOWN.get(kind, ()) if name in figures]
    if kind in ("model", "evaluation") and (main := main_metric(figures)):
        names = [main, *names]
    return [Figure(name=name, value=figures[name], label=label_of(name)) for name in names]


def label_of(name: str) -> str:
    """Return what people call a figure.

    >>> label_of("test:map50"), label_of("calibration_error")
    ('mAP50', 'calibration error')
    """
    plain = name.rpartition(":")[2] if not name.startswith(CLASS) else name
    return _LABELS.get(plain, plain.replace("_", " "))


def place_label(uri: str, uploads: str = "uploads") -> str:
    """Return what people call a place in somebody's storage.

    >>> place_label("s3://customer/photos/shoes/"), place_label("s3://uploads/files/0a1b2c3d4e/")
    ('customer: photos/shoes', 'upload 0a1b2c3d')
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "s3":
        return uri
    connection, _, path = rest.strip("/").partition("/")
    if connection == uploads and "/" in path:
        return f"upload {path.partition('/')[2][:8]}"
    return f"{connection}: {unquote(path)}"


def histogram(statistics: Mapping[str, float]) -> dict[str, int]:
    """Return how many items carry each class, the largest first."""
    found = {
        name.removeprefix(CLASS): int(count)
        for name, count in statistics.items()
        if name.startswith(CLASS)
    }
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
