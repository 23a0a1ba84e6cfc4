"""From a network's outputs and an item's labels to an evaluation: one evaluator for each task.

A training's own evaluation, a run that evaluates, and a program of a user feed images to one of
these in the same way, so their figures mean the same. Predictions are brought to the image's own
pixels first: models with different inputs are measured on the same truth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.evaluation.boxes import Boxes
from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.detection import evaluate_detection
from loopline.evaluation.findings import Findings
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.segmentation import SegmentationTally
from loopline.vision import masks
from loopline.vision.geometry import Placement

Outputs = Mapping[str, npt.NDArray[Any]]


class Annotation(Protocol):
    """What is known of an image or of a part of it; a `loopline.store.items.Shape` is one."""

    @property
    def class_name(self) -> str:
        """One of the classes."""

    @property
    def bbox_xyxy(self) -> tuple[float, float, float, float] | None:
        """Its box, px of the image."""

    @property
    def polygon(self) -> tuple[float, ...] | None:
        """Its ring, x0, y0, x1, y1, ... px of the image."""

    @property
    def mask_rle(self) -> str | None:
        """Its mask, of the image's size."""


class Evaluator(ABC):
    """Takes images one by one and says what was found.

    Args:
        classes: The model's classes, in the order of its outputs.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.unusable = 0
        self._index = {name: index for index, name in enumerate(self.classes)}

    def add(
        self,
        image: ImageFacts,
        annotations: Sequence[Annotation],
        outputs: Outputs,
        index: int,
        placement: Placement,
    ) -> bool:
        """Take an image.

        Args:
            image: What is known of it, its size with it.
            annotations: The truth.
            outputs: The network's outputs by name, each with the batch first.
            index: Which image of the batch.
            placement: Where the image lies in the network's input.

        Returns:
            Whether its labels say what this task needs; else it is left out, and counted.

        Raises:
            Rejected: A label is none of the model's classes, or cannot be read.
        """
        for annotation in annotations:
            if annotation.class_name not in self._index:
                raise Rejected(
                    f"image {image.asset[:12]} is labeled {annotation.class_name!r}, which the "
                    f"model does not know; it knows {', '.join(self.classes)}",
                    asset=image.asset,
                )
        try:
            taken = self._add(image, annotations, outputs, index, placement)
        except ValueError as error:
            raise Rejected(f"image {image.asset[:12]}: {error}", asset=image.asset) from error
        self.unusable += not taken
        return taken

    def finish(self) -> Findings:
        """Return what was found; Rejected if no image could be used."""
        findings = self._finish()
        if not findings.report.count:
            raise Rejected("there is no image whose labels can be used to measure this model")
        if not self.unusable:
            return findings
        plural = "s" if self.unusable > 1 else ""
        note = f"{self.unusable} image{plural} left out: the labels do not say what the task needs"
        return Findings(
            findings.report.model_copy(update={"notes": (*findings.report.notes, note)}),
            findings.outcomes,
        )

    @abstractmethod
    def _add(
        self,
        image: ImageFacts,
        annotations: Sequence[Annotation],
        outputs: Outputs,
        index: int,
        placement: Placement,
    ) -> bool: ...

    @abstractmethod
    def _finish(self) -> Findings: ...


class ClassificationEvaluator(Evaluator):
    """One class for an image; one that its labels give no class or several is left out."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self._images: list[ImageFacts] = []
        self._targets: list[int] = []
        self._probabilities: list[npt.NDArray[np.floating[Any]]] = []

    def _add(
        self,
        image: ImageFacts,
        annotations: Sequence[Annotation],
        outputs: Outputs,
        index: int,
        placement: Placement,
    ) -> bool:
        names = {a.class_name for a in annotations if _is_whole_image(a)}
        if len(names) != 1:
            return False
        self._images.append(image)
        self._targets.append(self._index[names.pop()])
        self._probabilities.append(outputs["probabilities"][index])
        return True

    def _finish(self) -> Findings:
        probabilities = np.asarray(self._probabilities).reshape(-1, len(self.classes))
        targets = np.asarray(self._targets, np.int64)
        return evaluate_classification(probabilities, targets, self.classes, self._images)


class DetectionEvaluator(Evaluator):
    """Boxes; of polygons and masks those around them. An image without shapes shows nothing."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self._images: list[ImageFacts] = []
        self._truth: list[Boxes] = []
        self._predicted: list[Boxes] = []

    def _add(
        self,
        image: ImageFacts,
        annotations: Sequence[Annotation],
        outputs: Outputs,
        index: int,
        placement: Placement,
    ) -> bool:
        if annotations and all(_is_whole_image(a) for a in annotations):
            return False
        shapes = [(a, box) for a in annotations if (box := _box(a, image)) is not None]
        self._images.append(image)
        self._truth.append(
            Boxes(
                np.asarray([box for _, box in shapes], np.float64).reshape(-1, 4),
                np.asarray([self._index[a.class_name] for a, _ in shapes], np.int64),
            )
        )
        self._predicted.append(_predicted(outputs, index, placement))
        return True

    def _finish(self) -> Findings:
        return evaluate_detection(self._predicted, self._truth, self.classes, self._images)


class SegmentationEvaluator(Evaluator):
    """Masks at the image's own size; polygons are filled. What is labeled later lies on top."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self._tally = SegmentationTally(classes)

    def _add(
        self,
        image: ImageFacts,
        annotations: Sequence[Annotation],
        outputs: Outputs,
        index: int,
        placement: Placement,
    ) -> bool:
        outlined = [a for a in annotations if a.mask_rle or a.polygon]
        if annotations and not outlined:
            return False
        truth = np.zeros((image.height_px, image.width_px), np.uint8)
        for annotation in outlined:
            truth[_mask(annotation, image)] = self._index[annotation.class_name] + 1
        predicted = placement.mask_to_image(np.asarray(outputs["mask"][index], np.uint8))
        confidence = placement.mask_to_image(np.asarray(outputs["confidence"][index]))
        self._tally.add(predicted, truth, confidence, image)
        return True

    def _finish(self) -> Findings:
        return self._tally.finish()


EVALUATORS: Final[Mapping[str, type[Evaluator]]] = {
    "classification": ClassificationEvaluator,
    "detection": DetectionEvaluator,
    "segmentation": SegmentationEvaluator,
}
"""By task."""


def evaluator(task: str, classes: Sequence[str]) -> Evaluator:
    """Return the evaluator of a task; Rejected if there is none."""
    if task not in EVALUATORS:
        raise Rejected(f"task {task!r} is not known; there are {', '.join(EVALUATORS)}")
    return EVALUATORS[task](classes)


def _predicted(outputs: Outputs, index: int, placement: Placement) -> Boxes:
    scores = np.asarray(outputs["scores"][index], np.float64)
    kept = scores > 0  # the rest is padding
    corners = placement.boxes_to_image(outputs["boxes"][index][kept])
    labels = np.asarray(outputs["labels"][index][kept], np.int64)
    there = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return Boxes(corners[there], labels[there], scores[kept][there])


def _is_whole_image(annotation: Annotation) -> bool:
    return not (annotation.bbox_xyxy or annotation.polygon or annotation.mask_rle)


def _box(annotation: Annotation, image: ImageFacts) -> tuple[float, float, float, float] | None:
    if annotation.bbox_xyxy:
        return annotation.bbox_xyxy
    if annotation.polygon:
        return masks.box_of_polygon(annotation.polygon)
    if annotation.mask_rle:
        return masks.box_of(annotation.mask_rle, image.width_px, image.height_px)
    return None


def _mask(annotation: Annotation, image: ImageFacts) -> npt.NDArray[np.bool_]:
    if annotation.mask_rle:
        return masks.decode(annotation.mask_rle, image.width_px, image.height_px)
    return masks.from_polygons([annotation.polygon or ()], image.width_px, image.height_px)
