"""How good a detector is: COCO's average precision, and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.evaluation import cells, confusions, figures, matching
from loopline.evaluation.boxes import Boxes, Flat, IntArray, Pairs, flatten, overlapping
from loopline.evaluation.cells import Cells
from loopline.evaluation.figures import BoolArray, FloatArray, ratios
from loopline.evaluation.findings import Findings
from loopline.evaluation.images import ImageFacts, Indices, facts_or_blank, slices
from loopline.evaluation.matching import AREAS, Matches
from loopline.evaluation.outcomes import DetectionOutcomes
from loopline.evaluation.report import (
    BACKGROUND,
    SHAPES_SHOWN_MAX,
    WORST_MAX,
    ClassFigures,
    Confusion,
    Curve,
    ErrorKind,
    ImageView,
    Report,
    ShapeView,
)

HEADLINE: Final = ("map50", "map", "map75", "recall", "precision")
CURVE_CLASSES_MAX: Final = 32
_LEVEL_75: Final = 5  # of matching.THRESHOLDS


def evaluate_detection(
    predicted: Sequence[Boxes],
    truth: Sequence[Boxes],
    classes: Sequence[str],
    images: Sequence[ImageFacts] = (),
) -> Findings:
    """Measure predicted boxes against the true ones, image by image.

    Args:
        predicted: N images' boxes with scores; the 100 surest of an image and class count.
        truth: N images' true boxes.
        classes: K names.
        images: N images, for slices and the list of the worst; may be left out.

    Returns:
        Metrics map (.50:.95), map50, map75, map_small, map_medium, map_large (by the object's area,
        COCO's limits; left out where there are no such objects), confidence (one threshold for all
        classes, where F1 is best), precision, recall and f1 at it, calibration_error, and ap, ap50,
        precision, recall, f1 and confidence of each class ("ap50:<class>"). Without any object all
        are 0.

    Raises:
        Rejected: A box or a score is not a number, or a label is none of the classes.
    """
    if len(predicted) != len(truth):
        raise Rejected(f"there are predictions of {len(predicted)} images, and {len(truth)} images")
    work = _Work(
        flatten(predicted, matching.PREDICTIONS_MAX), flatten(truth), tuple(classes), len(truth)
    )
    work.check()
    facts = facts_or_blank(images, len(truth))
    metrics = work.metrics()
    report = Report(
        task="detection",
        count=len(truth),
        classes=work.classes,
        metrics=metrics | work.class_metrics(),
        headline=tuple(name for name in HEADLINE if name in metrics),
        per_class=work.per_class(),
        confusion=work.confusion(facts),
        curves=work.curves(),
        calibration=figures.calibration(work.predicted.score, work.right),
        errors=work.error_breakdown(),
        worst=work.worst(facts) if images else (),
        slices=slices(facts, work.of_some),
    )
    return Findings(report, work.outcomes(tuple(image.asset for image in facts)))


@dataclass(frozen=True)
class _Work:
    """Arrays that several figures need, each made once."""

    predicted: Flat
    truth: Flat
    classes: tuple[str, ...]
    images: int

    def check(self) -> None:
        for boxes, whose in ((self.predicted, "the model's"), (self.truth, "the true")):
            if not (np.isfinite(boxes.xyxy).all() and np.isfinite(boxes.score).all()):
                raise Rejected(f"{whose} boxes are not all numbers (NaN or infinite)")
            if len(boxes) and not (0 <= boxes.label.min() <= boxes.label.max() < len(self.classes)):
                raise Rejected(f"{whose} boxes have a label that is none of the classes")

    @cached_property
    def pairs(self) -> Pairs:
        return overlapping(self.predicted, self.truth, self.images, confusions.FAR)

    @cached_property
    def candidates(self) -> Pairs:
        """Pairs of one class, near enough for the lowest threshold."""
        same = matching.same_class(self.pairs, self.predicted, self.truth)
        return same.taken(same.iou >= confusions.NEAR)

    @cached_property
    def matches(self) -> Matches:
        return self.matches_within("all")

    def matches_within(self, area: str) -> Matches:
        return matching.match(
            self.predicted, self.truth, self.candidates, len(self.classes), area=AREAS[area]
        )

    @cached_property
    def places(self) -> list[IntArray]:
        return matching.by_class(self.predicted, len(self.classes))

    @cached_property
    def precisions(self) -> FloatArray:
        """Average precision `(K, T)`; nan for a class without objects."""
        return matching.average_precisions(self.matches, self.places)

    @cached_property
    def right(self) -> BoolArray:
        """Whether each prediction found its object at IoU .5, `(M,)`."""
        return np.asarray(self.matches.truth[0] >= 0)

    @cached_property
    def objects(self) -> IntArray:
        return np.bincount(self.truth.label, minlength=len(self.classes))

    @cached_property
    def best(self) -> tuple[float, float, float, float]:
        """Confidence with the best F1 over all classes together; precision, recall and F1 there."""
        return _best_f1(self.predicted.score, self.right, int(self.objects.sum()))

    @cached_property
    def sure(self) -> BoolArray:
        """Predictions at least as sure as that confidence, `(M,)`."""
        return np.asarray(self.predicted.score >= self.best[0])

    @cached_property
    def errors(self) -> confusions.Errors:
        return confusions.find_errors(self.predicted, self.truth, self.pairs, self.matches.truth[0])

    def metrics(self) -> dict[str, float]:
        found = {
            "map": _mean(self.precisions),
            "map50": _mean(self.precisions[:, 0]),
            "map75": _mean(self.precisions[:, _LEVEL_75]),
        }
        for area in ("small", "medium", "large"):
            matches = self.matches_within(area)
            if matches.positives.any():
                found[f"map_{area}"] = _mean(matching.average_precisions(matches, self.places))
        names = ("confidence", "precision", "recall", "f1")
        found |= dict(zip(names, self.best, strict=True))
        found["calibration_error"] = figures.calibration(self.predicted.score, self.right).error
        return found

    def class_metrics(self) -> dict[str, float]:
        return {
            f"{name}:{one.class_name}": value
            for one in self.per_class()
            for name, value in one.metrics.items()
        }

    def per_class(self) -> tuple[ClassFigures, ...]:
        found = []
        for index, name in enumerate(self.classes):
            places = self.places[index]
            best = _best_f1(
                self.predicted.score[places], self.right[places], int(self.objects[index])
            )
            metrics = dict(zip(("confidence", "precision", "recall", "f1"), best, strict=True))
            if self.objects[index]:
                of_class = self.precisions[index]
                metrics["ap"] = float(of_class.mean())
                metrics["ap50"], metrics["ap75"] = float(of_class[0]), float(of_class[_LEVEL_75])
            count = int(self.objects[index])
            found.append(ClassFigures(class_name=name, count=count, metrics=metrics))
        return tuple(found)

    @cached_property
    def cells(self) -> Cells:
        return confusions.confused(
            self.predicted, self.truth, self.pairs, len(self.classes), self.sure
        )

    def confusion(self, images: Sequence[ImageFacts]) -> Confusion:
        labels = (*self.classes, BACKGROUND)
        return Confusion(
            labels=labels,
            counts=tuple(map(tuple, cells.matrix(self.cells, len(labels)).tolist())),
            unit="boxes",
            confidence=self.best[0],
            images=cells.named(self.cells, labels, [image.asset for image in images]),
        )

    def curves(self) -> tuple[Curve, ...]:
        """Return precision by recall and F1 by confidence at IoU .5: all, then frequent classes."""
        shown = sorted(np.argsort(-self.objects, kind="stable")[:CURVE_CLASSES_MAX].tolist())
        found = [*self._curves_of("all", np.arange(len(self.predicted)), self.objects.sum())]
        for index in shown:
            if self.objects[index]:
                name, places = self.classes[index], self.places[index]
                found.extend(self._curves_of(name, places, self.objects[index]))
        return tuple(found)

    def _curves_of(self, name: str, places: IntArray, objects: int) -> list[Curve]:
        score, right = self.predicted.score[places], self.right[places]
        if not len(places) or not objects:
            return []
        order = np.argsort(-score, kind="stable")
        precision = matching.precision_at_recalls(
            np.cumsum(right[order]), np.arange(1, len(order) + 1), float(objects)
        )
        confidence, _, _, f1 = _f1_by_confidence(score, right, objects)
        recalls = tuple(map(float, matching.RECALLS))
        x, y = figures.sampled(confidence[::-1], f1[::-1])
        return [
            Curve(
                kind="precision_recall",
                name=name,
                x=recalls,
                y=tuple(map(float, precision)),
                area=float(precision.mean()),
            ),
            Curve(kind="f1_confidence", name=name, x=x, y=y),
        ]

    def error_breakdown(self) -> tuple[ErrorKind, ...]:
        found = np.zeros(len(self.truth), bool)
        found[self.matches.truth[0][self.right & self.sure]] = True
        ledger = confusions.Ledger(self.predicted, self.truth, self.errors, len(self.classes))
        return ledger.breakdown(self.sure, int((~found).sum()))

    def worst(self, images: Sequence[ImageFacts]) -> tuple[ImageView, ...]:
        """Return the images with the most errors at the best confidence, the worst first."""
        found = np.zeros(len(self.truth), bool)
        found[self.matches.truth[0][self.right & self.sure]] = True
        missed = np.bincount(self.truth.image[~found], minlength=self.images)
        wrong = np.bincount(self.predicted.image[self.sure & ~self.right], minlength=self.images)
        order = np.argsort(-(missed + wrong), kind="stable")[:WORST_MAX]
        return tuple(
            self._view(images[place], place, found, int(missed[place]), int(wrong[place]))
            for place in order
            if missed[place] + wrong[place]
        )

    def _view(
        self, image: ImageFacts, place: int, found: BoolArray, missed: int, wrong: int
    ) -> ImageView:
        truth = np.flatnonzero(self.truth.image == place)
        truth = truth[np.argsort(found[truth], kind="stable")][:SHAPES_SHOWN_MAX]
        said = np.flatnonzero((self.predicted.image == place) & self.sure)
        said = said[np.argsort(-self.predicted.score[said], kind="stable")][:SHAPES_SHOWN_MAX]
        return ImageView(
            asset=image.asset,
            width_px=image.width_px,
            height_px=image.height_px,
            badness=float(missed + wrong),
            reason=f"{missed} missed, {wrong} wrong",
            truth=tuple(
                ShapeView(
                    class_name=self.classes[self.truth.label[at]],
                    bbox_xyxy=_corners(self.truth.xyxy[at]),
                    verdict="" if found[at] else "missed",
                )
                for at in truth
            ),
            predicted=tuple(
                ShapeView(
                    class_name=self.classes[self.predicted.label[at]],
                    confidence=float(self.predicted.score[at]),
                    bbox_xyxy=_corners(self.predicted.xyxy[at]),
                    verdict="right" if self.right[at] else "wrong",
                )
                for at in said
            ),
        )

    def of_some(self, places: Indices) -> dict[str, float]:
        """Return the headline's figures of some of the images, at the confidence of all."""
        wanted = np.zeros(self.images, bool)
        wanted[places] = True
        said, there = wanted[self.predicted.image], wanted[self.truth.image]
        objects = np.bincount(self.truth.label[there], minlength=len(self.classes))
        some = Matches(self.matches.truth[:, said], self.matches.ignored[:, said], objects)
        precisions = matching.average_precisions(
            some, matching.by_class(self.predicted.taken(said), len(self.classes))
        )
        hits = int((self.right & self.sure & said).sum())
        return {
            "map50": _mean(precisions[:, 0]),
            "map": _mean(precisions),
            "precision": float(ratios(hits, int((self.sure & said).sum()))),
            "recall": float(ratios(hits, int(there.sum()))),
        }

    def outcomes(self, assets: tuple[str, ...]) -> DetectionOutcomes:
        order = np.lexsort((-self.predicted.score,))
        positives = np.zeros((self.images, len(self.classes)), np.int64)
        np.add.at(positives, (self.truth.image, self.truth.label), 1)
        return DetectionOutcomes(
            assets,
            self.predicted.image[order],
            self.predicted.label[order],
            self.predicted.score[order],
            np.asarray(self.matches.hits.T[order]),
            positives,
            self.cells,
        )


def _f1_by_confidence(
    score: FloatArray, right: BoolArray, objects: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return each distinct confidence, falling, with precision, recall and F1 at it."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    hits = np.cumsum(right[order])[ends]
    precision, recall = ratios(hits, ends + 1), ratios(hits, objects)
    return ordered[ends], precision, recall, ratios(2 * hits, ends + 1 + objects)


def _best_f1(
    score: FloatArray, right: BoolArray, objects: int
) -> tuple[float, float, float, float]:
    """Return the confidence where F1 is best, the precision, recall and F1 there."""
    if not len(score) or not objects:
        return 0.5, 0.0, 0.0, 0.0
    curves = _f1_by_confidence(score, right, objects)
    best = int(curves[3].argmax())
    if not curves[3][best]:
        return 0.5, 0.0, 0.0, 0.0
    confidence, precision, recall, f1 = (float(curve[best]) for curve in curves)
    return confidence, precision, recall, f1


def _mean(precisions: FloatArray) -> float:
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if known.size else 0.0


def _corners(xyxy: FloatArray) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(float(value), 2) for value in xyxy)
    return left, top, right, bottom
