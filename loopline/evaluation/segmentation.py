"""How good masks are: IoU and Dice by class, how near the outlines are, pixel accuracy.

Figures are over all pixels of all images together (as the Cityscapes and Pascal VOC benchmarks
count), tested against scikit-learn's Jaccard and F1 scores. The boundary F1 is that of Csurka et
al., "What is a good evaluation measure for semantic segmentation?" (2013): a pixel of an outline is
right if the other outline passes within .75% of the image's diagonal.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.evaluation import cells, figures
from loopline.evaluation.figures import CALIBRATION_BINS, FloatArray, IntArray, ratios
from loopline.evaluation.findings import Findings
from loopline.evaluation.images import ImageFacts, Indices, slices
from loopline.evaluation.outcomes import SegmentationOutcomes
from loopline.evaluation.report import (
    BACKGROUND,
    WORST_MAX,
    Calibration,
    ClassFigures,
    Confusion,
    Curve,
    ImageView,
    Report,
    ShapeView,
)
from loopline.vision import masks

Labels = npt.NDArray[np.uint8]

HEADLINE: Final = ("mean_iou", "mean_dice", "boundary_f1", "pixel_accuracy")
UNKNOWN: Final = 255  # a pixel of the truth of which nothing is known: not counted
BOUNDARY_SHARE: Final = 0.0075  # of the diagonal
CONFIDENCES: Final = 1000  # thresholds that are told apart
CURVE_CLASSES_MAX: Final = 32
_NEIGHBOURS: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """What a threshold on the confidence of pixels gives, the highest first.

    Args:
        confidence: `(T,)` the threshold.
        precision: `(T,)` of the pixels that are at least so sure.
        recall: `(T,)`.
        f1: `(T,)`.
    """

    confidence: FloatArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray

    @classmethod
    def of(cls, counts: IntArray, there: int) -> _Sweep:
        """Count from `(2, CONFIDENCES)`: pixels at each confidence, and those that are right."""
        said, right = counts
        kept = np.flatnonzero(said)[::-1]
        total, hits = np.cumsum(said[kept]), np.cumsum(right[kept])
        f1 = ratios(2 * hits, total + there)
        return cls(kept / CONFIDENCES, ratios(hits, total), ratios(hits, there), f1)

    @property
    def best(self) -> dict[str, float]:
        """The confidence where F1 is best, and F1 there."""
        if not len(self.f1) or not self.f1.max():
            return {"confidence": 0.5, "f1": 0.0}
        place = int(self.f1.argmax())
        return {"confidence": float(self.confidence[place]), "f1": float(self.f1[place])}

    def curves(self, name: str) -> tuple[Curve, ...]:
        """Return precision by recall and F1 by confidence."""
        if not len(self.f1):
            return ()
        recall, precision = figures.sampled(self.recall, self.precision)
        confidence, f1 = figures.sampled(self.confidence[::-1], self.f1[::-1])
        area = figures.average_precision(self.recall, self.precision)
        return (
            Curve(kind="precision_recall", name=name, x=recall, y=precision, area=area),
            Curve(kind="f1_confidence", name=name, x=confidence, y=f1),
        )


class SegmentationTally:
    """Counts image by image, so that no mask is kept.

    Args:
        classes: K names; label k of a mask is `classes[k - 1]`, 0 the background.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._images: list[ImageFacts] = []
        self._confusions: list[npt.NDArray[np.int64]] = []
        self._edges: list[npt.NDArray[np.int64]] = []
        self._bins = np.zeros((3, CALIBRATION_BINS))
        self._by_confidence = np.zeros((len(self._classes), 2, CONFIDENCES), np.int64)
        self._worst: list[tuple[float, int, ImageView]] = []

    def add(
        self,
        predicted: Labels,
        truth: Labels,
        confidence: FloatArray | None = None,
        image: ImageFacts | None = None,
    ) -> None:
        """Count an image.

        Args:
            predicted: `(H, W)` labels, 0 to K.
            truth: `(H, W)` labels, 0 to K, or `UNKNOWN`.
            confidence: `(H, W)` of the predicted labels, in [0, 1].
            image: What is known of it.

        Raises:
            Rejected: The masks are of different sizes, or a label is none of the classes.
        """
        count = len(self._classes) + 1
        if predicted.shape != truth.shape:
            raise Rejected(f"the mask is {predicted.shape}, the true one {truth.shape}")
        known = truth != UNKNOWN
        if predicted.max(initial=0) >= count or truth[known].max(initial=0) >= count:
            raise Rejected("a mask has a label that is none of the classes")
        cells = truth[known].astype(np.int64) * count + predicted[known]
        confusion = np.bincount(cells, minlength=count * count).reshape(count, count)
        self._confusions.append(confusion)
        self._edges.append(
            self._boundaries(np.where(known, predicted, 0), np.where(known, truth, 0))
        )
        self._images.append(image or ImageFacts())
        if confidence is not None:
            self._calibrate(confidence[known], (predicted == truth)[known])
            self._rank(confidence[known], predicted[known], (predicted == truth)[known])
        if image is not None:
            self._consider(image, confusion, predicted, truth)

    def finish(self) -> Findings:
        """Return what was found.

        Metrics mean_iou and mean_dice (over the classes that are there or were predicted, the
        background left out), boundary_f1, pixel_accuracy, background_iou, calibration_error (of
        pixels, where confidences were given), and iou, dice, precision, recall and boundary_f1 of
        each class ("iou:<class>"). Where confidences were given also confidence, of all classes
        ("confidence") and of each ("confidence:<class>"): pixels that are less sure had better be
        background, F1 is best there ("f1"). Without images all are 0.
        """
        outcomes = self._outcomes()
        sweeps = self._sweeps(outcomes)
        per_class = self._per_class(outcomes, sweeps)
        calibration = self._calibration()
        metrics = self._metrics(outcomes) | (sweeps[""].best if sweeps else {})
        if calibration is not None:
            metrics["calibration_error"] = calibration.error
        for one in per_class:
            metrics |= {f"{name}:{one.class_name}": value for name, value in one.metrics.items()}

        def of_some(places: Indices) -> dict[str, float]:
            found = self._metrics(outcomes.taken(places))
            return {name: found[name] for name in HEADLINE}

        report = Report(
            task="segmentation",
            count=len(self._images),
            classes=self._classes,
            metrics=metrics,
            headline=HEADLINE,
            per_class=per_class,
            confusion=self._confusion(outcomes),
            curves=self._curves(sweeps),
            calibration=calibration,
            worst=tuple(view for _, _, view in sorted(self._worst, key=lambda w: (-w[0], -w[1]))),
            slices=slices(self._images, of_some),
        )
        return Findings(report, outcomes)

    def _outcomes(self) -> SegmentationOutcomes:
        count = len(self._classes) + 1
        confusions = np.asarray(self._confusions, np.int64).reshape(-1, count, count)
        order = _background_last(count)
        return SegmentationOutcomes(
            assets=tuple(image.asset for image in self._images),
            both=np.diagonal(confusions, axis1=1, axis2=2).copy(),
            truth=confusions.sum(axis=2),
            predicted=confusions.sum(axis=1),
            edges=np.asarray(self._edges, np.int64).reshape(-1, count - 1, 4),
            cells=cells.of_matrices(confusions[:, order][:, :, order]),
        )

    def _metrics(self, outcomes: SegmentationOutcomes) -> dict[str, float]:
        once = np.ones((1, len(outcomes.images)), np.int64)
        found = {name: float(values[0]) for name, values in outcomes.measure(once).items()}
        both, union = outcomes.both.sum(axis=0), (outcomes.truth + outcomes.predicted).sum(axis=0)
        found["background_iou"] = float(ratios(both[0], union[0] - both[0]))
        return found

    def _per_class(
        self, outcomes: SegmentationOutcomes, sweeps: dict[str, _Sweep]
    ) -> tuple[ClassFigures, ...]:
        both = outcomes.both.sum(axis=0)[1:]
        truth, said = outcomes.truth.sum(axis=0)[1:], outcomes.predicted.sum(axis=0)[1:]
        edges = outcomes.edges.sum(axis=0)
        near, near_truth = ratios(edges[:, 0], edges[:, 1]), ratios(edges[:, 2], edges[:, 3])
        columns = {
            "iou": ratios(both, truth + said - both),
            "dice": ratios(2 * both, truth + said),
            "precision": ratios(both, said),
            "recall": ratios(both, truth),
            "boundary_f1": ratios(2 * near * near_truth, near + near_truth),
        }
        return tuple(
            ClassFigures(
                class_name=name,
                count=int(truth[index]),
                metrics={column: float(values[index]) for column, values in columns.items()}
                | (sweeps[name].best if name in sweeps else {}),
            )
            for index, name in enumerate(self._classes)
        )

    def _confusion(self, outcomes: SegmentationOutcomes) -> Confusion:
        labels = (*self._classes, BACKGROUND)
        return Confusion(
            labels=labels,
            counts=tuple(map(tuple, cells.matrix(outcomes.cells, len(labels)).tolist())),
            unit="pixels",
            images=cells.named(outcomes.cells, labels, outcomes.assets),
        )

    def _rank(
        self, confidence: FloatArray, predicted: Labels, right: npt.NDArray[np.bool_]
    ) -> None:
        """Count the pixels of each class by confidence: those that were said, and are right."""
        step = np.clip((confidence * CONFIDENCES).astype(np.int64), 0, CONFIDENCES - 1)
        for index in range(len(self._classes)):
            said = predicted == index + 1
            for row, which in enumerate((said, said & right)):
                self._by_confidence[index, row] += np.bincount(step[which], minlength=CONFIDENCES)

    def _sweeps(self, outcomes: SegmentationOutcomes) -> dict[str, _Sweep]:
        """Return the sweep of all classes together ("") and of each that is there."""
        there = outcomes.truth.sum(axis=0)[1:]
        if not self._by_confidence.any():
            return {}
        found = {"": _Sweep.of(self._by_confidence.sum(axis=0), int(there.sum()))}
        for index, name in enumerate(self._classes):
            if there[index]:
                found[name] = _Sweep.of(self._by_confidence[index], int(there[index]))
        return found

    def _curves(self, sweeps: dict[str, _Sweep]) -> tuple[Curve, ...]:
        """Return precision by recall and F1 by confidence, of all and of the first classes."""
        shown = list(sweeps.items())[: CURVE_CLASSES_MAX + 1]
        return tuple(curve for name, sweep in shown for curve in sweep.curves(name or "all"))

    def _boundaries(self, predicted: Labels, truth: Labels) -> npt.NDArray[np.int64]:
        """Return `(K, 4)` boundary pixels; see `SegmentationOutcomes.edges`."""
        near_px = max(1.0, BOUNDARY_SHARE * float(np.hypot(*truth.shape)))
        found = np.zeros((len(self._classes), 4), np.int64)
        for index in range(len(self._classes)):
            said, true = _outline(predicted == index + 1), _outline(truth == index + 1)
            found[index] = (
                _within(said, true, near_px),
                said.sum(),
                _within(true, said, near_px),
                true.sum(),
            )
        return found

    def _calibrate(self, confidence: FloatArray, right: npt.NDArray[np.bool_]) -> None:
        index = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
        index = np.clip(index, 0, CALIBRATION_BINS - 1)
        for row, weights in enumerate((None, confidence, right)):
            self._bins[row] += np.bincount(index, weights, CALIBRATION_BINS)

    def _calibration(self) -> Calibration | None:
        if not self._bins[0].any():
            return None
        bins = figures.binned(*self._bins)
        return Calibration(bins=bins, error=figures.calibration_error(bins))

    def _consider(
        self, image: ImageFacts, confusion: npt.NDArray[Any], predicted: Labels, truth: Labels
    ) -> None:
        """Keep the image if it is among the worst so far: one minus its own mean IoU."""
        both, union = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
        occurs = union[1:] > 0
        iou = ratios(both, union - both)[1:][occurs]
        badness = 1.0 - float(iou.mean()) if iou.size else 0.0
        full = len(self._worst) == WORST_MAX
        if not badness or (full and badness <= self._worst[0][0]):
            return
        entry = (badness, -len(self._images), self._view(image, badness, predicted, truth))
        (heapq.heapreplace if full else heapq.heappush)(self._worst, entry)

    def _view(
        self, image: ImageFacts, badness: float, predicted: Labels, truth: Labels
    ) -> ImageView:
        return ImageView(
            asset=image.asset,
            width_px=truth.shape[1],
            height_px=truth.shape[0],
            badness=badness,
            reason=f"IoU {1 - badness:.2f}",
            truth=self._shapes(truth),
            predicted=self._shapes(predicted),
        )

    def _shapes(self, labels: Labels) -> tuple[ShapeView, ...]:
        return tuple(
            ShapeView(class_name=name, mask_rle=masks.encode(labels == index + 1))
            for index, name in enumerate(self._classes)
            if (labels == index + 1).any()
        )


def _background_last(labels: int) -> list[int]:
    """Return the order of labels that a detector's matrix has, too."""
    return [*range(1, labels), 0]


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a mask that touch what is not in it; the image's edge is no outline."""
    plain = mask.astype(np.uint8)
    return np.asarray(mask & ~cv2.erode(plain, _NEIGHBOURS).astype(bool))


def _within(outline: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], near_px: float) -> int:
    """Return how many pixels of an outline lie within `near_px` of the other."""
    if not outline.any() or not other.any():
        return 0
    away = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int((away[outline] <= near_px).sum())
