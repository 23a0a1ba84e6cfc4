"""What a training program says, and what is done for it.

A recipe says what is particular to a task and a network: the network, what happens to an image on
its way in, the loss of a batch, what the outputs mean, how they are judged, what is exported.
Everything else is done for it in the same way for all: reading the dataset, the order of the
images, the loop, the random numbers, checkpoints and resuming, progress, evaluation on the test
split, ONNX and its check, storing and committing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from loopline.vision.images import UInt8Image
from services.trainer.domain.evaluation import Judgement
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.manifest import InputFormat
from services.trainer.recipes.balance import class_weights
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.schedules import rate

if TYPE_CHECKING:
    import torch

P = TypeVar("P", bound=RecipeParameters)
Target = Any  # of one image; only the recipe looks inside
Outputs = dict[str, npt.NDArray[Any]]
"""By the names of `loopline.vision.outputs.OUTPUTS`, each with the batch first."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the images of the training split are like.

    Attributes:
        height_px: Median height.
        width_px: Median width.
        grey: Whether all that were looked at are grey.
        class_counts: How many of them have each class; empty if nobody counted.
    """

    height_px: int
    width_px: int
    grey: bool
    class_counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """Where a batch's random numbers come from: nothing else may influence them.

    Attributes:
        epoch: From 0.
        indices: `(N,)` places of the images in the training split.
        other: Gives image and target at another place, for what joins images.
        count: How many places there are.
    """

    epoch: int
    indices: npt.NDArray[np.int64]
    other: Callable[[int], tuple[UInt8Image, Target]] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step sees.

    Attributes:
        images: `(N, H, W, C)` uint8 of the recipe's input format.
        targets: N targets, however the recipe keeps them.
    """

    images: UInt8Image
    targets: Any


@dataclass(frozen=True, slots=True)
class Export:
    """What is served.

    Attributes:
        module: From `(N, H, W, C)` uint8 named "image" to the outputs.
        outputs: Their names, in order.
    """

    module: torch.nn.Module
    outputs: tuple[str, ...]


class Recipe(ABC, Generic[P]):
    """A training program; one instance trains one model.

    Subclass it, or `WholeImageRecipe` for classification, and name it in an entry point of the
    group "loopline.recipes".

    Args:
        parameters: Checked and complete.
        classes: The dataset's classes, in the order of the outputs.
        survey: What the training images are like.
    """

    task: ClassVar[Literal["classification", "detection", "segmentation"]]
    headline: ClassVar[str]
    """The metric that says most of a model, higher is better: by it training stops early."""
    needs: ClassVar[str]
    """What labels it learns from, for the message where there are none: "a class of the image"."""
    fit: ClassVar[Literal["stretch", "letterbox"]] = "letterbox"
    parameters_class: ClassVar[type[RecipeParameters]] = RecipeParameters

    def __init__(self, parameters: P, classes: Sequence[str], survey: Survey) -> None:
        self.parameters = parameters
        self.classes = tuple(classes)
        self.survey = survey
        self.input_format = self.choose_input_format(survey)

    def choose_input_format(self, survey: Survey) -> InputFormat:
        """Choose the network's input: the parameters' word, else by the images."""
        side = self.parameters.image_size or self.automatic_side_px(survey)
        grey = survey.grey if self.parameters.colour == "auto" else self.parameters.colour == "grey"
        return InputFormat(side, side, 1 if grey else 3, self.parameters.interpolation, self.fit)

    def automatic_side_px(self, survey: Survey) -> int:
        """Choose a square input by the images: at least 40 px, at most 128 px."""
        side = max(survey.height_px, survey.width_px)
        return min(max(8 * round(side / 8), 40), 128)

    def learns(self, annotation: Annotation) -> bool:
        """Tell whether something can be learned from an annotation of this kind."""
        return True

    def class_indices(self, example: Example) -> tuple[int, ...]:
        """Return the classes that are learned of an image, ascending."""
        seen = {a.class_name for a in example.annotations if self.learns(a)}
        return tuple(i for i, name in enumerate(self.classes) if name in seen)

    @classmethod
    def load(cls) -> None:
        """Import what takes long; called while the images are still being fetched."""

    @abstractmethod
    def target(self, example: Example) -> Target | None:
        """Return what the network should say of an image; None leaves it out, and is counted."""

    @abstractmethod
    def build_model(self) -> torch.nn.Module:
        """Return a new network; its input is `(N, H, W, C)` uint8, so normalisation is in it.

        Random initial weights are drawn from torch's global generator, seeded before.
        """

    def backbone(self, model: torch.nn.Module) -> torch.nn.Module | None:
        """Return the part of the model that pretrained weights are for; None if it has none."""
        part = getattr(model, "backbone", None)
        return part if part is None or hasattr(part, "parameters") else None

    @abstractmethod
    def transform(
        self, images: Sequence[UInt8Image], targets: Sequence[Target], draw: Draw | None
    ) -> Batch:
        """Turn images of the input's size into a batch; without `draw` nothing is random."""

    @abstractmethod
    def step(self, model: torch.nn.Module, images: torch.Tensor, targets: Any) -> torch.Tensor:
        """Return the loss of a batch, a scalar to be differentiated."""

    @abstractmethod
    def export(self, model: torch.nn.Module) -> Export:
        """Return what is served; the outputs' names are those of the task."""

    def predict(self, model: torch.nn.Module, images: torch.Tensor) -> Outputs:
        """Return the outputs for a batch as they are served; the model is in evaluation mode."""
        export = self.export(model)
        found = export.module(images)
        found = found if isinstance(found, tuple) else (found,)
        return {
            name: output.cpu().numpy() for name, output in zip(export.outputs, found, strict=True)
        }

    @abstractmethod
    def judge(
        self, outputs: Iterable[Outputs], targets: Sequence[Target], assets: Sequence[str]
    ) -> Judgement:
        """Compare outputs, given a batch after the other, with the truth of all their images."""

    def difference(self, ours: Outputs, theirs: Outputs) -> float:
        """Return how far two sets of outputs for the same images are apart, at most."""
        return max(
            float(np.abs(ours[name].astype(np.float64) - theirs[name]).max(initial=0.0))
            for name in ours
        )

    def surely(self, outputs: Outputs) -> Outputs:
        """Return the part of outputs whose figures two networks must share but for rounding.

        All of it, where a figure does not hang on the last bit of an output.
        """
        return outputs

    def class_weights(self) -> list[float] | None:
        """Return what an error in each class counts; None where all count the same."""
        if self.parameters.balance != "loss" or not self.survey.class_counts:
            return None
        weights: list[float] = class_weights(self.survey.class_counts).tolist()
        return weights

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser: AdamW, its weight decay on matrices and filters alone."""
        import torch

        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {
                "params": [p for p in trained if p.ndim > 1],
                "weight_decay": self.parameters.weight_decay,
            },
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.parameters.learning_rate)

    def build_schedule(
        self, optimizer: torch.optim.Optimizer, steps: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule, advanced after each step: see `schedules.rate`."""
        from torch.optim.lr_scheduler import LambdaLR

        return LambdaLR(optimizer, lambda step: rate(self.parameters, step, steps))

    def calibrate(self, model: torch.nn.Module, batches: Sequence[Batch]) -> None:
        """Last touch on the trained model with the validation split; nothing by default."""
