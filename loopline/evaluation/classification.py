"""How good a classifier is.

Definitions are scikit-learn's with `zero_division=0` (tested against it); averages are over the
classes that are there or were predicted. The calibration error is that of Guo et al., "On
calibration of modern neural networks" (2017), over 15 bins of equal width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.evaluation import cells, figures
from loopline.evaluation.figures import FloatArray, IntArray, mean, ratios
from loopline.evaluation.findings import Findings
from loopline.evaluation.images import ImageFacts, Indices, facts_or_blank, slices
from loopline.evaluation.outcomes import ClassificationOutcomes
from loopline.evaluation.report import (
    WORST_MAX,
    Calibration,
    ClassFigures,
    Confusion,
    Curve,
    ImageView,
    Report,
    ShapeView,
)

TOP: Final = (3, 5)
HEADLINE: Final = ("accuracy", "macro_f1", "roc_auc", "calibration_error")
CURVE_CLASSES_MAX: Final = 32
TEMPERATURE_IMAGES_MAX: Final = 20_000
_TINY: Final = 1e-12  # below which a probability is taken to be this


def evaluate_classification(
    probabilities: FloatArray,
    targets: IntArray,
    classes: Sequence[str],
    images: Sequence[ImageFacts] = (),
) -> Findings:
    """Measure predicted probabilities against the truth.

    Args:
        probabilities: `(N, K)`, rows summing to 1.
        targets: `(N,)` true class indices.
        classes: K names.
        images: N images, for slices and the list of the worst; may be left out.

    Returns:
        Metrics accuracy, top_3_accuracy and top_5_accuracy (where there are more classes than
        that), balanced_accuracy, macro_ and weighted_ precision, recall and f1, roc_auc (mean of
        one class against the rest), log_loss, calibration_error, temperature, and precision,
        recall, f1 and auc of each class ("recall:<class>"). No images give zeros.

    Raises:
        Rejected: Shapes do not fit together, or a probability is not a number.
    """
    _check(probabilities, targets, classes)
    work = _Work(np.asarray(probabilities, np.float64), targets, tuple(classes))
    facts = facts_or_blank(images, len(targets))
    assets = tuple(image.asset for image in facts)
    outcomes = ClassificationOutcomes(
        assets, targets, work.predicted, work.rank_of_truth, len(work.classes)
    )
    metrics = work.metrics()
    report = Report(
        task="classification",
        count=len(targets),
        classes=work.classes,
        metrics=metrics | work.class_metrics(),
        headline=tuple(name for name in HEADLINE if name in metrics),
        per_class=work.per_class(),
        confusion=Confusion(
            labels=work.classes,
            counts=tuple(map(tuple, work.confusion.tolist())),
            unit="images",
            images=cells.named(outcomes.confused(), work.classes, assets),
        ),
        curves=work.curves(),
        calibration=work.calibration(),
        worst=work.worst(facts) if images else (),
        slices=slices(facts, work.of_some),
    )
    return Findings(report, outcomes)


def _check(probabilities: FloatArray, targets: IntArray, classes: Sequence[str]) -> None:
    if probabilities.shape != (len(targets), len(classes)):
        raise Rejected(
            f"probabilities are {probabilities.shape}; {len(targets)} images and {len(classes)} "
            "classes were expected"
        )
    if not np.isfinite(probabilities).all():
        raise Rejected("the model's probabilities are not all numbers (NaN or infinite)")


@dataclass(frozen=True)
class _Work:
    """Arrays that several figures need, each made once."""

    probabilities: FloatArray
    targets: IntArray
    classes: tuple[str, ...]

    @cached_property
    def predicted(self) -> IntArray:
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def of_truth(self) -> FloatArray:
        """The probability of the true class, `(N,)`."""
        return np.asarray(self.probabilities[np.arange(len(self.targets)), self.targets])

    @cached_property
    def rank_of_truth(self) -> IntArray:
        """How many classes come before the true one: surer, or as sure and earlier."""
        own = self.of_truth[:, None]
        earlier = np.arange(len(self.classes))[None, :] < self.targets[:, None]
        before = (self.probabilities > own) | ((self.probabilities == own) & earlier)
        return np.asarray(before.sum(axis=1))

    @cached_property
    def confusion(self) -> IntArray:
        count = len(self.classes)
        cells = np.bincount(self.targets * count + self.predicted, minlength=count * count)
        return cells.reshape(count, count)

    @cached_property
    def scores(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Precision, recall and F1, `(K,)` each."""
        hits = np.diag(self.confusion)
        truly, said = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return ratios(hits, said), ratios(hits, truly), ratios(2 * hits, truly + said)

    @cached_property
    def rates(self) -> list[tuple[FloatArray, FloatArray] | None]:
        """False and true positive rates of each class; None where it is all or nothing."""
        found: list[tuple[FloatArray, FloatArray] | None] = []
        for index in range(len(self.classes)):
            positive = self.targets == index
            one_sided = not len(positive) or positive.all() or not positive.any()
            found.append(None if one_sided else figures.roc(self.probabilities[:, index], positive))
        return found

    @cached_property
    def aucs(self) -> list[float | None]:
        return [rate and figures.area_under(*rate) for rate in self.rates]

    def metrics(self) -> dict[str, float]:
        counts = self.confusion.sum(axis=1)
        occurs = counts + self.confusion.sum(axis=0) > 0
        precision, recall, f1 = self.scores
        found = {"accuracy": mean(self.predicted == self.targets)}
        found |= {
            f"top_{k}_accuracy": mean(self.rank_of_truth < k) for k in TOP if k < len(self.classes)
        }
        found["balanced_accuracy"] = mean(recall[counts > 0])
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            found[f"macro_{name}"] = mean(values[occurs])
            found[f"weighted_{name}"] = float(ratios(values @ counts, counts.sum()))
        if known := [auc for auc in self.aucs if auc is not None]:
            found["roc_auc"] = mean(known)
        found["log_loss"] = mean(-np.log(np.maximum(self.of_truth, _TINY)))
        calibration = self.calibration()
        found["calibration_error"] = calibration.error
        if calibration.temperature is not None:
            found["temperature"] = calibration.temperature
        return found

    def class_metrics(self) -> dict[str, float]:
        return {
            f"{name}:{figures_.class_name}": value
            for figures_ in self.per_class()
            for name, value in figures_.metrics.items()
        }

    def per_class(self) -> tuple[ClassFigures, ...]:
        counts = self.confusion.sum(axis=1)
        found = []
        for index, name in enumerate(self.classes):
            precision, recall, f1 = (float(values[index]) for values in self.scores)
            metrics = {"precision": precision, "recall": recall, "f1": f1}
            if (auc := self.aucs[index]) is not None:
                metrics["auc"] = auc
            found.append(ClassFigures(class_name=name, count=int(counts[index]), metrics=metrics))
        return tuple(found)

    def curves(self) -> tuple[Curve, ...]:
        """Return PR and ROC of the most frequent classes, in the order of the classes."""
        counts = self.confusion.sum(axis=1)
        shown = sorted(np.argsort(-counts, kind="stable")[:CURVE_CLASSES_MAX].tolist())
        found: list[Curve] = []
        for index in shown:
            rates = self.rates[index]
            if rates is None:
                continue
            name = self.classes[index]
            positive = self.targets == index
            recall, precision = figures.precision_recall(self.probabilities[:, index], positive)
            area = figures.average_precision(recall, precision)
            x, y = figures.sampled(recall, precision)
            found.append(Curve(kind="precision_recall", name=name, x=x, y=y, area=area))
            x, y = figures.sampled(*rates)
            found.append(Curve(kind="roc", name=name, x=x, y=y, area=self.aucs[index]))
        return tuple(found)

    @cached_property
    def _calibration(self) -> Calibration:
        confidence = self.probabilities.max(axis=1) if len(self.targets) else np.zeros(0)
        plain = figures.calibration(confidence, self.predicted == self.targets)
        if not len(self.targets):
            return plain
        logits = np.log(np.maximum(self.probabilities, _TINY))
        step = -(-len(logits) // TEMPERATURE_IMAGES_MAX)
        temperature = figures.best_temperature(logits[::step], self.targets[::step])
        after = figures.tempered(logits, temperature).max(axis=1)
        bins = figures.calibration_bins(after, self.predicted == self.targets)
        return Calibration(
            bins=plain.bins,
            error=plain.error,
            temperature=temperature,
            error_after=figures.calibration_error(bins),
        )

    def calibration(self) -> Calibration:
        return self._calibration

    def worst(self, images: Sequence[ImageFacts]) -> tuple[ImageView, ...]:
        """Return the images that are wrong, the surest first."""
        loss = -np.log(np.maximum(self.of_truth, _TINY))
        order = np.argsort(-loss, kind="stable")[:WORST_MAX]
        wrong = [place for place in order if self.predicted[place] != self.targets[place]]
        return tuple(self._view(images[place], place, float(loss[place])) for place in wrong)

    def _view(self, image: ImageFacts, place: int, loss: float) -> ImageView:
        truth, said = self.classes[self.targets[place]], self.classes[self.predicted[place]]
        sure = float(self.probabilities[place, self.predicted[place]])
        return ImageView(
            asset=image.asset,
            width_px=image.width_px,
            height_px=image.height_px,
            badness=loss,
            reason=f"{truth}, taken for {said} ({sure:.2f})",
            truth=(ShapeView(class_name=truth),),
            predicted=(ShapeView(class_name=said, confidence=sure, verdict="wrong"),),
        )

    def of_some(self, places: Indices) -> dict[str, float]:
        """Return the headline's figures of some of the images."""
        some = _Work(self.probabilities[places], self.targets[places], self.classes)
        f1 = some.scores[2]
        occurs = some.confusion.sum(axis=1) + some.confusion.sum(axis=0) > 0
        confidence = some.probabilities.max(axis=1)
        return {
            "accuracy": mean(some.predicted == some.targets),
            "macro_f1": mean(f1[occurs]),
            "calibration_error": figures.calibration(
                confidence, some.predicted == some.targets
            ).error,
        }
