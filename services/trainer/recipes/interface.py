"""What a training program says, and what is done for it.

A recipe says what is particular to a task and a network: the network, what happens to an image on
its way in, the loss of a batch, what the outputs mean, how they are judged, what is exported.
Everything else is done for it in the same way for all: reading the dataset, the order of the
images, the loop, the random numbers, checkpoints and resuming, progress, evaluation on the test
split, ONNX and its check, storing and committing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from loopline.vision.images import UInt8Image
from services.trainer.domain.evaluation import Judgement
from services.trainer.domain.examples import Example
from services.trainer.domain.manifest import InputFormat
from services.trainer.recipes.augmentation import Augmentation

if TYPE_CHECKING:
    import torch

P = TypeVar("P", bound="RecipeParameters")
Target = Any  # of one image; only the recipe looks inside
Outputs = npt.NDArray[np.float32]

MAX_EPOCHS = 1000  # of which each is a chunk of the run
WARM_UP_SHARE = 0.25  # of the steps, before the learning rate has reached its peak


class RecipeParameters(BaseModel):
    """What every recipe can be told; a recipe adds its own fields. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(16, ge=1, le=MAX_EPOCHS, description="Passes over the training split.")
    batch_size: int = Field(48, ge=1, le=4096, description="Images per step.")
    learning_rate: float = Field(8e-3, gt=0, le=10, description="Its peak; it warms up and decays.")
    weight_decay: float = Field(
        0.3, ge=0, le=10, description="Of weights, not of biases and norms."
    )
    image_size: int = Field(
        0, ge=0, le=4096, description="Side of the network's input, px; 0 chooses by the images."
    )
    colour: Literal["auto", "grey", "rgb"] = Field("auto", description="Channels of the input.")
    interpolation: Literal["area", "bilinear", "bicubic"] = Field(
        "area", description="How images are brought to the input's size."
    )
    augmentation: Augmentation = Augmentation()
    validation_share: float = Field(
        0.1, ge=0, lt=1, description="Set aside from training where there is no split 'val'."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Same seed, same model.")
    threads: int = Field(1, ge=1, le=256, description="CPU threads; other counts, other bits.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the network runs.")
    checkpoint_every_epochs: int = Field(1, ge=1, description="How much a crash may cost.")


@dataclass(frozen=True, slots=True)
class Survey:
    """What the images of the training split are like.

    Attributes:
        height_px: Median height.
        width_px: Median width.
        grey: Whether all that were looked at are grey.
    """

    height_px: int
    width_px: int
    grey: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """Where a batch's random numbers come from: nothing else may influence them.

    Attributes:
        epoch: From 0.
        indices: `(N,)` places of the images in the training split.
    """

    epoch: int
    indices: npt.NDArray[np.int64]


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
    parameters_class: ClassVar[type[RecipeParameters]] = RecipeParameters

    def __init__(self, parameters: P, classes: Sequence[str], survey: Survey) -> None:
        self.parameters = parameters
        self.classes = tuple(classes)
        self.input_format = self.choose_input_format(survey)

    def choose_input_format(self, survey: Survey) -> InputFormat:
        """Choose the network's input: the parameters' word, else by the images."""
        side = self.parameters.image_size or automatic_side_px(survey)
        grey = survey.grey if self.parameters.colour == "auto" else self.parameters.colour == "grey"
        return InputFormat(side, side, 1 if grey else 3, self.parameters.interpolation)

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

    @abstractmethod
    def transform(
        self, images: Sequence[UInt8Image], targets: Sequence[Target], draw: Draw | None
    ) -> Batch:
        """Turn images of the input's size into a batch; without `draw` nothing is random."""

    @abstractmethod
    def step(self, model: torch.nn.Module, images: torch.Tensor, targets: Any) -> torch.Tensor:
        """Return the loss of a batch, a scalar to be differentiated."""

    @abstractmethod
    def predict(self, model: torch.nn.Module, images: torch.Tensor) -> Outputs:
        """Return the outputs for a batch as they are served; the model is in evaluation mode."""

    @abstractmethod
    def judge(
        self, outputs: Outputs, targets: Sequence[Target], assets: Sequence[str]
    ) -> Judgement:
        """Compare outputs with the truth."""

    @abstractmethod
    def export(self, model: torch.nn.Module) -> Export:
        """Return what is served."""

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser: AdamW, its weight decay on matrices and filters alone."""
        import torch

        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.parameters.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.parameters.learning_rate)

    def build_schedule(
        self, optimizer: torch.optim.Optimizer, steps: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule, advanced after each step: one cycle (Smith and Topin, 2018)."""
        from torch.optim.lr_scheduler import OneCycleLR

        return OneCycleLR(
            optimizer,
            self.parameters.learning_rate,
            total_steps=max(steps, 2),
            pct_start=WARM_UP_SHARE,
            div_factor=10,
            final_div_factor=100,
        )

    def calibrate(self, model: torch.nn.Module, batches: Sequence[Batch]) -> None:
        """Last touch on the trained model with the validation split; nothing by default."""


def automatic_side_px(survey: Survey) -> int:
    """Choose a square input by the images: at least 40 px, at most 128 px."""
    side = max(survey.height_px, survey.width_px)
    return min(max(8 * round(side / 8), 40), 128)
