"""Segmentation: a class for each pixel, by segmentation-models-pytorch on a backbone of timm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from loopline.errors import Rejected
from loopline.evaluation.segmentation import SegmentationTally
from loopline.vision.augmentation import Augmentation, Augmenter
from loopline.vision.geometry import BORDER
from loopline.vision.images import UInt8Image
from loopline.vision.outputs import OUTPUTS
from services.trainer.domain.evaluation import Judgement
from services.trainer.domain.examples import Annotation, Example
from services.trainer.recipes.detection import input_side_px
from services.trainer.recipes.interface import Batch, Draw, Export, Outputs, Recipe, Survey
from services.trainer.recipes.objects import CLASSES_MAX, ClassMask
from services.trainer.recipes.parameters import RecipeParameters

if TYPE_CHECKING:
    import torch


class SegmentationAugmentation(Augmentation):
    """A mask follows every move exactly, so that more of them are the default."""

    flip_vertical: bool = Field(True, description="Mirror every second image upside down.")
    rotate_degrees: float = Field(15.0, ge=0, le=180, description="Turn by up to this, either way.")
    translate: float = Field(
        0.1, ge=0, le=0.5, description="Shift by up to this share, either way."
    )
    scale: float = Field(0.2, ge=0, lt=1, description="Zoom by 1 - scale to 1 + scale.")
    brightness: float = Field(0.1, ge=0, le=1, description="Add up to this, either way.")
    contrast: float = Field(
        0.2, ge=0, lt=1, description="Multiply by 1 - contrast to 1 + contrast."
    )


class SegmentationParameters(RecipeParameters):
    """Parameters of the recipe "segmentation"."""

    epochs: int = Field(40, ge=1, le=1000, description="Passes over the training split.")
    batch_size: int = Field(8, ge=1, le=4096, description="Images per step.")
    learning_rate: float = Field(4e-3, gt=0, le=10, description="Its peak.")
    weight_decay: float = Field(0.01, ge=0, le=10, description="Of weights, not of biases.")
    clip_gradient: float = Field(10.0, ge=0, description="Largest norm of a step's gradient.")
    average: float = Field(0.99, ge=0, lt=1, description="Decay of the moving average (EMA).")
    augmentation: SegmentationAugmentation = SegmentationAugmentation()

    architecture: Literal[
        "unet",
        "unetplusplus",
        "manet",
        "linknet",
        "fpn",
        "pspnet",
        "pan",
        "deeplabv3plus",
        "upernet",
    ] = Field("unet", description="The decoder, of segmentation-models-pytorch.")
    backbone: str = Field("mobilenetv4_conv_small", description="A model name of timm.")
    width: int = Field(
        256, ge=16, le=2048, description="Channels of the decoder where it is coarsest."
    )
    loss: Literal["ce", "dice", "focal", "ce+dice", "focal+dice"] = Field(
        "ce+dice", description="Cross-entropy, Dice, focal, or the sum of two."
    )


class SegmentationRecipe(Recipe[SegmentationParameters]):
    """Masks by an encoder and a decoder."""

    task = "segmentation"
    headline = "mean_iou"
    needs = "polygons or masks"
    parameters_class = SegmentationParameters

    def __init__(
        self, parameters: SegmentationParameters, classes: Sequence[str], survey: Survey
    ) -> None:
        super().__init__(parameters, classes, survey)
        if len(self.classes) > CLASSES_MAX:
            raise Rejected(f"a mask has at most {CLASSES_MAX} classes, not {len(self.classes)}")
        self._index = {name: index for index, name in enumerate(self.classes)}
        side_px = self.input_format.height_px, self.input_format.width_px
        self._augmenter = Augmenter(parameters.augmentation, *side_px, parameters.seed, BORDER)

    def automatic_side_px(self, survey: Survey) -> int:
        """Choose by the images: at least 128 px, at most 640 px."""
        return input_side_px(survey)

    @classmethod
    def load(cls) -> None:
        """See `Recipe`."""
        import segmentation_models_pytorch  # noqa: F401

    def learns(self, annotation: Annotation) -> bool:
        """See `Recipe`."""
        return annotation.polygon is not None or annotation.mask_rle is not None

    def target(self, example: Example) -> ClassMask | None:
        """See `Recipe`: boxes alone do not say which pixels."""
        if example.annotations and not any(map(self.learns, example.annotations)):
            return None
        return ClassMask(example, self.input_format, self._index)

    def build_model(self) -> torch.nn.Module:
        """See `Recipe`."""
        from services.trainer.recipes.segmenter import Segmenter

        p = self.parameters
        channels = self.input_format.channels
        return Segmenter(p.architecture, p.backbone, len(self.classes), channels, p.width)

    def backbone(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Recipe`."""
        encoder: torch.nn.Module = model.get_submodule("network.encoder.model")
        return encoder

    def transform(
        self, images: Sequence[UInt8Image], targets: Sequence[ClassMask], draw: Draw | None
    ) -> Batch:
        """See `Recipe`: masks move with the pixels."""
        if draw is None:
            return Batch(np.stack(images), list(targets))
        found = self._augmenter.masked(
            images, [target.pixels() for target in targets], draw.epoch, draw.indices
        )
        return Batch(found[0], found[1].astype(np.int64))

    def step(
        self, model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """See `Recipe`."""
        from services.trainer.recipes.segmenter import mask_loss

        return mask_loss(self.parameters.loss, model(images), targets, self._pixel_weights())

    def _pixel_weights(self) -> list[float] | None:
        """What an error at a pixel of each class counts; background, which is common, the least."""
        weights = self.class_weights()
        return None if weights is None else [min(weights), *weights]

    def export(self, model: torch.nn.Module) -> Export:
        """Return the model with its choice of class; see `loopline.vision.outputs`."""
        from services.trainer.recipes.segmenter import Masks

        return Export(Masks(model), OUTPUTS[self.task])

    def judge(
        self, outputs: Iterable[Outputs], targets: Sequence[ClassMask], assets: Sequence[str]
    ) -> Judgement:
        """Return IoU and Dice over all pixels, in those of the network's input."""
        tally = SegmentationTally(self.classes)
        remaining = iter(targets)
        for some in outputs:
            for mask, confidence in zip(some["mask"], some["confidence"], strict=True):
                tally.add(mask, next(remaining).pixels(), confidence)
        report = tally.finish().report
        return Judgement(dict(report.metrics))

    def difference(self, ours: Outputs, theirs: Outputs) -> float:
        """Return the largest difference of a confidence, where both say the same class.

        A pixel between two classes may fall on either side. Its confidence is compared all the
        same, and the metrics that are measured with both say whether there are many.
        """
        return float(np.abs(ours["confidence"] - theirs["confidence"]).max(initial=0.0))
