"""Recipes that say one thing of the whole image: everything but the network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from loopline.vision.augmentation import Augmenter
from loopline.vision.images import UInt8Image
from services.trainer.domain.evaluation import Judgement, judge_classification
from services.trainer.domain.examples import Annotation, Example
from services.trainer.recipes.interface import (
    Batch,
    Draw,
    Export,
    Outputs,
    Recipe,
    Survey,
)
from services.trainer.recipes.parameters import RecipeParameters

if TYPE_CHECKING:
    import torch

P = TypeVar("P", bound=RecipeParameters)


class WholeImageRecipe(Recipe[P]):
    """Classification: exactly one class for an image. A subclass adds `build_network`.

    The network is trained with cross-entropy; the temperature of its softmax is fitted on the
    validation split, so that a confidence of .9 is right nine times in ten.
    """

    task = "classification"
    headline = "accuracy"
    needs = "a class of the whole image"
    fit = "stretch"

    def __init__(self, parameters: P, classes: Sequence[str], survey: Survey) -> None:
        super().__init__(parameters, classes, survey)
        self._index = {name: index for index, name in enumerate(self.classes)}
        height_px, width_px = self.input_format.height_px, self.input_format.width_px
        self._augmenter = Augmenter(parameters.augmentation, height_px, width_px, parameters.seed)

    @abstractmethod
    def build_network(self) -> torch.nn.Module:
        """Return a network from normalised `(N, C, H, W)` float32 to `(N, classes)` logits."""

    def build_model(self) -> torch.nn.Module:
        """See `Recipe`: the network between normalisation and temperature."""
        from services.trainer.recipes.networks import PixelClassifier

        backbone = getattr(self.parameters, "backbone", "")
        return PixelClassifier(self.build_network(), self.input_format.channels, backbone)

    def learns(self, annotation: Annotation) -> bool:
        """See `Recipe`."""
        return annotation.is_whole_image

    def backbone(self, model: torch.nn.Module) -> torch.nn.Module | None:
        """See `Recipe`: the network is the subclass's, and has no part of its own by default."""
        return None

    def target(self, example: Example) -> int | None:
        """Return the class index; None where whole-image labels give no class or several."""
        names = {a.class_name for a in example.annotations if a.is_whole_image}
        return self._index[names.pop()] if len(names) == 1 else None

    def transform(
        self, images: Sequence[UInt8Image], targets: Sequence[int], draw: Draw | None
    ) -> Batch:
        """See `Recipe`: a class stays the same whatever happens to its pixels."""
        if draw is None:
            pixels = np.stack(images)
        else:
            pixels = self._augmenter.apply(images, draw.epoch, draw.indices)
        return Batch(pixels, np.asarray(targets, np.int64))

    def step(self, model: torch.nn.Module, images: torch.Tensor, targets: Any) -> torch.Tensor:
        """See `Recipe`: cross-entropy."""
        import torch
        from torch.nn import functional

        weights = self.class_weights()
        weight = None if weights is None else torch.tensor(weights, device=images.device)
        return functional.cross_entropy(model(images), targets, weight=weight)

    def judge(
        self, outputs: Iterable[Outputs], targets: Sequence[int], assets: Sequence[str]
    ) -> Judgement:
        """See `judge_classification`."""
        probabilities = np.concatenate([some["probabilities"] for some in outputs])
        return judge_classification(
            probabilities, np.asarray(targets, np.int64), self.classes, assets
        )

    def export(self, model: torch.nn.Module) -> Export:
        """Return the model with its softmax: one output, "probabilities" `(N, classes)` float32."""
        from services.trainer.recipes.networks import Probabilities

        return Export(Probabilities(model), ("probabilities",))

    def calibrate(self, model: torch.nn.Module, batches: Sequence[Batch]) -> None:
        """Fit the softmax's temperature on the validation split (Guo et al., 2017)."""
        from services.trainer.recipes.networks import fit_temperature

        fit_temperature(model, batches)
