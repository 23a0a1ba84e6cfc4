"""What was found on each image: enough to measure again on any choice of the images.

That is what two models are compared by (`comparison`), and why an evaluation keeps it. A file of
numpy arrays without Python objects in it; equal outcomes give equal bytes.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.evaluation import cells
from loopline.evaluation.cells import Cells
from loopline.evaluation.figures import FloatArray, IntArray, ratios
from loopline.evaluation.matching import THRESHOLDS, interpolated_precision

FORMAT: Final = 2
_CELLS_AT_ONCE: Final = 4_000_000  # numbers in one array while resampling


class Outcomes(ABC):
    """What was found on each of N images by a model of one task."""

    __slots__ = ()
    task: ClassVar[str]

    @property
    @abstractmethod
    def images(self) -> tuple[str, ...]:
        """Their assets."""

    @abstractmethod
    def measure(self, weights: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
        """Return figures `(R,)` by name where image n counts `weights[r, n]` times."""

    @abstractmethod
    def taken(self, places: IntArray) -> Outcomes:
        """Return those of some of the images, in that order."""

    @abstractmethod
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays to keep."""

    @abstractmethod
    def confused(self) -> Cells:
        """Return what was taken for what on each image, as the report's matrix counts it."""

    def in_cell(self, truth: int, predicted: int) -> tuple[str, ...]:
        """Return the images of a cell of that matrix, those that count most in it first."""
        return tuple(self.images[i] for i in cells.images_of(self.confused(), truth, predicted))


@dataclass(frozen=True, slots=True)
class ClassificationOutcomes(Outcomes):
    """What a classifier said of each image.

    Args:
        assets: N images.
        targets: `(N,)` the true classes.
        predicted: `(N,)` the surest classes.
        rank: `(N,)` the true class's place by confidence, from 0.
        classes: How many there are.
    """

    task: ClassVar[str] = "classification"
    assets: tuple[str, ...]
    targets: IntArray
    predicted: IntArray
    rank: IntArray
    classes: int

    @property
    def images(self) -> tuple[str, ...]:
        """See `Outcomes`."""
        return self.assets

    def measure(self, weights: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
        """See `Outcomes`: accuracy, macro_f1, and top_3_accuracy and so on as in the report."""
        total = weights.sum(axis=1)
        count = self.classes
        counted = np.zeros((len(weights), count * count))
        cells = self.targets.astype(np.int64) * count + self.predicted
        for row, weight in enumerate(weights):
            counted[row] = np.bincount(cells, weight, count * count)
        confusion = counted.reshape(-1, count, count)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        truly, said = confusion.sum(axis=2), confusion.sum(axis=1)
        f1 = ratios(2 * hits, truly + said)
        return {
            "accuracy": ratios(hits.sum(axis=1), total),
            "macro_f1": ratios(f1.sum(axis=1), (truly + said > 0).sum(axis=1)),
            **{
                f"top_{k}_accuracy": ratios((weights * (self.rank < k)).sum(axis=1), total)
                for k in (3, 5)
                if k < self.classes
            },
        }

    def taken(self, places: IntArray) -> ClassificationOutcomes:
        """See `Outcomes`."""
        return ClassificationOutcomes(
            tuple(self.assets[place] for place in places),
            self.targets[places],
            self.predicted[places],
            self.rank[places],
            self.classes,
        )

    def confused(self) -> Cells:
        """See `Outcomes`."""
        return cells.counted(np.arange(len(self.assets)), self.targets, self.predicted)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Outcomes`."""
        return {
            "targets": self.targets.astype(np.int32),
            "predicted": self.predicted.astype(np.int32),
            "rank": self.rank.astype(np.int32),
            "classes": np.asarray(self.classes),
        }


@dataclass(frozen=True, slots=True)
class DetectionOutcomes(Outcomes):
    """What a detector found on each image.

    Args:
        assets: N images.
        image: `(M,)` the prediction's image.
        label: `(M,)` its class.
        score: `(M,)` its confidence; the surest first.
        found: `(M, T)` whether it is right at each of COCO's thresholds.
        positives: `(N, K)` objects of each class.
        cells: What was taken for what where F1 is best; label K is the background.
    """

    task: ClassVar[str] = "detection"
    assets: tuple[str, ...]
    image: IntArray
    label: IntArray
    score: FloatArray
    found: npt.NDArray[np.bool_]
    positives: IntArray
    cells: Cells

    @property
    def images(self) -> tuple[str, ...]:
        """See `Outcomes`."""
        return self.assets

    def measure(self, weights: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
        """See `Outcomes`: map, map50 and map75."""
        objects = (weights @ self.positives).astype(np.float64)
        total = np.zeros((len(THRESHOLDS), len(weights)))
        for label in range(self.positives.shape[1]):
            places = np.flatnonzero(self.label == label)
            at_once = max(1, _CELLS_AT_ONCE // max(1, len(places)))
            for start in range(0, len(weights), at_once):
                rows = slice(start, start + at_once)
                counted = weights[rows][:, self.image[places]]
                total[:, rows] += self._precisions(counted, places, objects[rows, label])
        per_level = ratios(total, (objects > 0).sum(axis=1))
        return {"map": per_level.mean(axis=0), "map50": per_level[0], "map75": per_level[5]}

    def _precisions(
        self, counted: npt.NDArray[np.int64], places: IntArray, objects: FloatArray
    ) -> FloatArray:
        """Return the average precision `(T, R)` of one class; 0 where it has no objects."""
        made = np.cumsum(counted, axis=1)
        found = np.zeros((len(THRESHOLDS), len(counted)))
        for level in range(len(THRESHOLDS)):
            hits = np.flatnonzero(self.found[places, level])
            right = np.cumsum(counted[:, hits], axis=1)
            found[level] = interpolated_precision(right, made[:, hits], objects)
        return np.nan_to_num(found, nan=0.0)

    def taken(self, places: IntArray) -> DetectionOutcomes:
        """See `Outcomes`."""
        new = np.full(len(self.assets), -1)
        new[places] = np.arange(len(places))
        kept = new[self.image] >= 0
        return DetectionOutcomes(
            tuple(self.assets[place] for place in places),
            new[self.image[kept]],
            self.label[kept],
            self.score[kept],
            self.found[kept],
            self.positives[places],
            cells.taken(self.cells, places, len(self.assets)),
        )

    def confused(self) -> Cells:
        """See `Outcomes`."""
        return self.cells

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Outcomes`."""
        return {
            "image": self.image.astype(np.int32),
            "label": self.label.astype(np.int32),
            "score": self.score.astype(np.float32),
            "found": self.found,
            "positives": self.positives.astype(np.int32),
            "cells": self.cells.astype(np.int32),
        }


@dataclass(frozen=True, slots=True)
class SegmentationOutcomes(Outcomes):
    """How the masks of each image agree.

    Args:
        assets: N images.
        both: `(N, K + 1)` pixels where prediction and truth say the class; 0 is the background.
        truth: `(N, K + 1)` pixels of the truth.
        predicted: `(N, K + 1)` pixels of the prediction.
        edges: `(N, K, 4)` boundary pixels: predicted and near the truth's, predicted, of the truth
            and near the predicted, of the truth.
        cells: Pixels that were taken for what; label K is the background.
    """

    task: ClassVar[str] = "segmentation"
    assets: tuple[str, ...]
    both: IntArray
    truth: IntArray
    predicted: IntArray
    edges: IntArray
    cells: Cells

    @property
    def images(self) -> tuple[str, ...]:
        """See `Outcomes`."""
        return self.assets

    def measure(self, weights: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
        """See `Outcomes`: mean_iou, mean_dice, boundary_f1, pixel_accuracy."""
        w = weights.astype(np.float64)  # exact up to 2**53 pixels
        both, truth, said = w @ self.both, w @ self.truth, w @ self.predicted
        occurs = (truth + said)[:, 1:] > 0
        edges = np.tensordot(w, self.edges.astype(np.float64), axes=1)
        precision, recall = (
            ratios(edges[..., 0], edges[..., 1]),
            ratios(edges[..., 2], edges[..., 3]),
        )
        return {
            "mean_iou": _mean_where(occurs, ratios(both, truth + said - both)[:, 1:]),
            "mean_dice": _mean_where(occurs, ratios(2 * both, truth + said)[:, 1:]),
            "boundary_f1": _mean_where(occurs, ratios(2 * precision * recall, precision + recall)),
            "pixel_accuracy": ratios(both.sum(axis=1), truth.sum(axis=1)),
        }

    def taken(self, places: IntArray) -> SegmentationOutcomes:
        """See `Outcomes`."""
        return SegmentationOutcomes(
            tuple(self.assets[place] for place in places),
            self.both[places],
            self.truth[places],
            self.predicted[places],
            self.edges[places],
            cells.taken(self.cells, places, len(self.assets)),
        )

    def confused(self) -> Cells:
        """See `Outcomes`."""
        return self.cells

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Outcomes`."""
        return {
            "both": self.both,
            "truth": self.truth,
            "predicted": self.predicted,
            "edges": self.edges,
            "cells": self.cells,
        }


def to_bytes(outcomes: Outcomes) -> bytes:
    """Return the file of outcomes; equal outcomes give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        format=np.asarray(FORMAT),
        task=np.asarray(outcomes.task),
        assets=np.asarray(outcomes.images, dtype="S64"),
        **outcomes.arrays(),  # type: ignore[arg-type]  # numpy types them as allow_pickle
    )
    return buffer.getvalue()


def from_bytes(data: bytes) -> Outcomes:
    """Read a file of outcomes; Rejected if it is none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        assets = tuple(kept.pop("assets").astype(str).tolist())
        task, format_ = str(kept.pop("task")), int(kept.pop("format"))
        if format_ != FORMAT:
            raise Rejected(f"outcomes have format {format_}; this program reads {FORMAT}")
        return _KINDS[task](assets, kept)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise Rejected(f"this is no file of outcomes: {error}") from error


def _classification(assets: tuple[str, ...], kept: dict[str, Any]) -> Outcomes:
    kept["classes"] = int(kept["classes"])
    return ClassificationOutcomes(assets, **kept)


def _detection(assets: tuple[str, ...], kept: dict[str, Any]) -> Outcomes:
    return DetectionOutcomes(assets, **kept)


def _segmentation(assets: tuple[str, ...], kept: dict[str, Any]) -> Outcomes:
    return SegmentationOutcomes(assets, **kept)


_KINDS: Final = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
}


def _mean_where(which: npt.NDArray[np.bool_], values: FloatArray) -> FloatArray:
    return ratios((values * which).sum(axis=1), which.sum(axis=1))


def in_order_of(outcomes: Outcomes, assets: Sequence[str]) -> Outcomes:
    """Return the outcomes of these images in this order; Rejected if they are not the same ones."""
    if outcomes.images == tuple(assets):
        return outcomes
    place = {asset: index for index, asset in enumerate(outcomes.images)}
    missing = [asset for asset in assets if asset not in place]
    if missing or len(place) != len(assets):
        raise Rejected(
            f"the models were not measured on the same images: {len(place)} and {len(assets)}, "
            f"{len(missing)} of them only on one side"
        )
    return outcomes.taken(np.asarray([place[asset] for asset in assets], np.int64))
