"""What is around a classifier's backbone: normalisation before, temperature and softmax after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.trainer.recipes.backbones import Normalisation, build_backbone, has_one_size
from services.trainer.recipes.interface import Batch

MIN_TO_CALIBRATE: Final = 50  # images; below, a fitted temperature is mostly noise
TEMPERATURES: Final = (0.25, 4.0)  # the range that is searched
SEARCH_STEPS: Final = 40  # golden sections: far below what a float32 logit tells apart


class PixelClassifier(nn.Module):
    """From pixels to logits.

    Args:
        backbone: From normalised `(N, C, H, W)` float32 to `(N, K)` logits.
        channels: C, 1 or 3.
        name: The backbone's in timm, for its normalisation; "" is ImageNet's.
    """

    temperature: Tensor

    def __init__(self, backbone: nn.Module, channels: int, name: str = "") -> None:
        super().__init__()
        self.backbone = backbone
        self.normalisation = Normalisation(name, channels)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        """Return `(N, K)` logits for `(N, H, W, C)` uint8."""
        logits: Tensor = self.backbone(self.normalisation(image))
        return logits / self.temperature


class Headed(nn.Module):
    """A backbone of timm under a linear layer.

    Args:
        name: The backbone's in timm.
        classes: K.
        channels: Of the images.
        dropout: Before the linear layer.
        side_px: Of the images; some transformers are made for one size.
    """

    def __init__(
        self, name: str, classes: int, channels: int, dropout: float, side_px: int
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"num_classes": 0, "in_chans": channels, "drop_rate": dropout}
        if has_one_size(name):
            options["img_size"] = side_px
        self.body = build_backbone(name, **options)
        self.head = nn.Linear(int(self.body.head_hidden_size), classes)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return `(N, K)` logits for normalised `(N, C, H, W)`."""
        logits: Tensor = self.head(self.body(images))
        return logits


class Probabilities(nn.Module):
    """A classifier that answers with probabilities instead of logits."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        """Return `(N, K)` float32, rows summing to 1."""
        return torch.softmax(self.classifier(image), dim=1)


def fit_temperature(model: nn.Module, batches: Sequence[Batch]) -> None:
    """Set a `PixelClassifier`'s temperature to what makes the given labels most likely.

    The accuracy cannot change, for the order of the logits does not. Too few images leave it at 1.
    """
    count = sum(len(batch.images) for batch in batches)
    if not isinstance(model, PixelClassifier) or count < MIN_TO_CALIBRATE:
        return
    device = model.temperature.device
    model.temperature.fill_(1)
    with torch.no_grad():
        logits = torch.cat([model(torch.from_numpy(b.images).to(device)) for b in batches]).double()
    targets = torch.cat([torch.from_numpy(batch.targets) for batch in batches]).to(device)

    def surprise(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, targets))

    low, high = (math.log(bound) for bound in TEMPERATURES)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(SEARCH_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if surprise(left) < surprise(right) else (left, high)
    model.temperature.fill_(math.exp((low + high) / 2))
