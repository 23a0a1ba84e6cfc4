"""Detection: a box and a class for each object, with a backbone of timm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from loopline.errors import Rejected
from loopline.evaluation.boxes import Boxes, iou_matrix
from loopline.evaluation.detection import evaluate_detection
from loopline.vision.augmentation import Augmentation, Augmenter, Scene
from loopline.vision.geometry import BORDER
from loopline.vision.images import UInt8Image
from loopline.vision.outputs import OUTPUTS
from services.trainer.domain.evaluation import Judgement
from services.trainer.domain.examples import Annotation, Example
from services.trainer.recipes.box_targets import centre_targets, padded_boxes
from services.trainer.recipes.interface import Batch, Draw, Export, Outputs, Recipe, Survey
from services.trainer.recipes.objects import Objects, objects_of
from services.trainer.recipes.parameters import RecipeParameters

if TYPE_CHECKING:
    import torch

SIDE_STEP_PX: Final = 32  # the coarsest features' stride
FCOS_WIDTH_STEP: Final = 32  # its layers are normalised in so many groups
SURE: Final = 0.05
"""Boxes that are less sure are not compared between torch and ONNX.

A network that has learned little gives all of them one score: the last bit says which come first.
"""


class DetectionAugmentation(Augmentation):
    """Stronger than a classifier's: boxes do not follow from a single view of each object."""

    rotate_degrees: float = Field(0.0, ge=0, le=180, description="Turn by up to this, either way.")
    translate: float = Field(
        0.1, ge=0, le=0.5, description="Shift by up to this share, either way."
    )
    scale: float = Field(0.25, ge=0, lt=1, description="Zoom by 1 - scale to 1 + scale.")
    brightness: float = Field(0.1, ge=0, le=1, description="Add up to this, either way.")
    contrast: float = Field(
        0.2, ge=0, lt=1, description="Multiply by 1 - contrast to 1 + contrast."
    )


class DetectionParameters(RecipeParameters):
    """Parameters of the recipe "detection"."""

    epochs: int = Field(40, ge=1, le=1000, description="Passes over the training split.")
    batch_size: int = Field(8, ge=1, le=4096, description="Images per step.")
    learning_rate: float = Field(4e-3, gt=0, le=10, description="Its peak.")
    weight_decay: float = Field(0.05, ge=0, le=10, description="Of weights, not of biases.")
    clip_gradient: float = Field(10.0, ge=0, description="Largest norm of a step's gradient.")
    average: float = Field(0.99, ge=0, lt=1, description="Decay of the moving average (EMA).")
    augmentation: DetectionAugmentation = DetectionAugmentation()

    architecture: Literal["centre", "fcos"] = Field(
        "centre", description="A light centre head, or torchvision's FCOS for larger hardware."
    )
    backbone: str = Field("lcnet_050", description="A model name of timm.")
    width: int = Field(64, ge=8, le=1024, description="Channels of the head.")
    boxes_max: int = Field(200, ge=1, le=2000, description="Boxes of an image, at most.")


class DetectionRecipe(Recipe[DetectionParameters]):
    """Boxes by their centres."""

    task = "detection"
    headline = "map50"
    needs = "boxes, polygons or masks"
    parameters_class = DetectionParameters

    def __init__(
        self, parameters: DetectionParameters, classes: Sequence[str], survey: Survey
    ) -> None:
        super().__init__(parameters, classes, survey)
        _check_fcos(parameters)
        self._index = {name: index for index, name in enumerate(self.classes)}
        self._side_px = self.input_format.height_px, self.input_format.width_px
        self._augmenter = Augmenter(
            parameters.augmentation, *self._side_px, parameters.seed, BORDER
        )

    def automatic_side_px(self, survey: Survey) -> int:
        """Choose by the images: at least 128 px, at most 640 px."""
        return input_side_px(survey)

    @classmethod
    def load(cls) -> None:
        """See `Recipe`."""
        import timm  # noqa: F401

    def learns(self, annotation: Annotation) -> bool:
        """See `Recipe`."""
        return not annotation.is_whole_image

    def target(self, example: Example) -> Objects | None:
        """See `Recipe`: a mask or polygon is as good as its box."""
        turned = bool(self.parameters.augmentation.rotate_degrees)
        return objects_of(example, self.input_format, self._index, turned=turned)

    def build_model(self) -> torch.nn.Module:
        """See `Recipe`."""
        p, channels = self.parameters, self.input_format.channels
        if p.architecture == "fcos":
            from services.trainer.recipes.fcos import FcosDetector

            return FcosDetector(p.backbone, len(self.classes), channels, p.width, self._side_px)
        from services.trainer.recipes.centre import CentreDetector

        return CentreDetector(p.backbone, len(self.classes), channels, p.width)

    def transform(
        self, images: Sequence[UInt8Image], targets: Sequence[Objects], draw: Draw | None
    ) -> Batch:
        """See `Recipe`: boxes move with the pixels."""
        if draw is None:
            return Batch(np.stack(images), list(targets))
        scenes = [objects.on(image) for image, objects in zip(images, targets, strict=True)]
        other = draw.other

        def scene_at(place: int) -> Scene:
            assert other is not None
            image, objects = other(place)
            scene: Scene = objects.on(image)
            return scene

        scenes = self._augmenter.scenes(
            scenes,
            draw.epoch,
            draw.indices,
            scene_at if other is not None and self.parameters.augmentation.mosaic else None,
            draw.count,
        )
        return Batch(np.stack([scene.image for scene in scenes]), self._wanted(scenes))

    def _wanted(self, scenes: Sequence[Scene]) -> dict[str, Any]:
        boxes, labels = [scene.boxes() for scene in scenes], [scene.labels for scene in scenes]
        if self.parameters.architecture == "fcos":
            return dict(zip(("boxes", "labels"), padded_boxes(boxes, labels), strict=True))
        drawn = [
            centre_targets(some, of_some, len(self.classes), self._side_px)
            for some, of_some in zip(boxes, labels, strict=True)
        ]
        parts = (np.stack(part) for part in zip(*drawn, strict=True))
        return dict(zip(("heat", "boxes", "weights"), parts, strict=True))

    def step(
        self, model: torch.nn.Module, images: torch.Tensor, targets: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """See `Recipe`."""
        import torch

        counts = self.class_weights()
        weights = None if counts is None else torch.tensor(counts, device=images.device)
        detector: Any = getattr(model, "module", model)  # where several processes share it
        loss: torch.Tensor = detector.loss(model(images), targets, weights)
        return loss

    def export(self, model: torch.nn.Module) -> Export:
        """Return the model with its choice of boxes; see `loopline.vision.outputs`."""
        from services.trainer.recipes.detectors import ChosenBoxes, Detector

        assert isinstance(model, Detector)
        return Export(ChosenBoxes(model, self.parameters.boxes_max), OUTPUTS[self.task])

    def judge(
        self, outputs: Iterable[Outputs], targets: Sequence[Objects], assets: Sequence[str]
    ) -> Judgement:
        """Return COCO's average precisions, in pixels of the network's input."""
        predicted = [boxes for some in outputs for boxes in _predicted(some)]
        truth = [Boxes(o.boxes, np.asarray(o.labels, np.int64)) for o in targets]
        report = evaluate_detection(predicted, truth, self.classes).report
        return Judgement(dict(report.metrics))

    def difference(self, ours: Outputs, theirs: Outputs) -> float:
        """Return the largest difference of a score, or of an edge as a share of the input's side.

        Boxes of nearly equal scores may come in another order: each is compared with the one of its
        class that it overlaps most.
        """
        pairs = zip(_predicted(ours), _predicted(theirs), strict=True)
        return max(_apart(one, other, self._side_px[0]) for one, other in pairs)

    def surely(self, outputs: Outputs) -> Outputs:
        """See `Recipe`."""
        scores = outputs["scores"]
        return {**outputs, "scores": np.where(scores >= SURE, scores, 0.0)}


def _check_fcos(parameters: DetectionParameters) -> None:
    if parameters.architecture != "fcos":
        return
    if parameters.balance == "loss":
        raise Rejected("parameter 'balance': 'loss' is not for 'fcos'; 'sampling' is")
    if parameters.width % FCOS_WIDTH_STEP:
        raise Rejected(f"parameter 'width': a multiple of {FCOS_WIDTH_STEP} for 'fcos'")


def input_side_px(survey: Survey) -> int:
    """Return a square input by the images: at least 128 px, at most 640 px, a multiple of 32."""
    side = SIDE_STEP_PX * round(max(survey.height_px, survey.width_px) / SIDE_STEP_PX)
    return min(max(side, 128), 640)


def _predicted(outputs: Outputs) -> list[Boxes]:
    found = []
    for boxes, scores, labels in zip(
        *(outputs[name] for name in OUTPUTS["detection"]), strict=True
    ):
        real = scores > 0
        found.append(
            Boxes(
                boxes[real].astype(np.float64),
                labels[real].astype(np.int64),
                scores[real].astype(np.float64),
            )
        )
    return found


def _apart(one: Boxes, other: Boxes, side_px: int) -> float:
    """Return how far the sure boxes of one are from those of the other."""
    assert one.scores is not None
    assert other.scores is not None
    sure = np.flatnonzero(one.scores >= SURE)
    if not len(sure):
        return 0.0
    if not len(other):
        return float(one.scores.max())
    same = one.labels[sure][:, None] == other.labels[None, :]
    overlap = np.where(same, iou_matrix(one.xyxy[sure], other.xyxy), -1.0)
    nearest = overlap.argmax(axis=1)
    scores = np.abs(one.scores[sure] - other.scores[nearest])
    edges = np.abs(one.xyxy[sure] - other.xyxy[nearest]).max(axis=1) / side_px
    return float(max(scores.max(), edges.max()))
