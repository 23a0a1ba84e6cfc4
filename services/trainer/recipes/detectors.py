"""What a detector is, whatever its architecture: features in, a loss or the surest boxes out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from services.trainer.recipes.backbones import Normalisation, build_backbone

Found = Any  # what a detector says before boxes are chosen; only the detector looks inside


class Detector(nn.Module):
    """From pixels to what boxes are chosen from.

    Args:
        backbone: A timm name.
        channels: Of the images.
    """

    def __init__(self, backbone: str, channels: int) -> None:
        super().__init__()
        self.normalisation = Normalisation(backbone, channels)
        self.backbone = build_backbone(backbone, features_only=True, in_chans=channels)

    @abstractmethod
    def forward(self, image: Tensor) -> Found:
        """Return what is found on `(N, H, W, C)` uint8."""

    @abstractmethod
    def loss(self, found: Found, targets: Mapping[str, Tensor], weights: Tensor | None) -> Tensor:
        """Return how wrong that is; `weights` `(C,)` is what an error in each class counts."""

    @abstractmethod
    def boxes(self, found: Found, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes `(N, K, 4)` xyxy px, scores `(N, K)` descending, labels `(N, K)` int64."""


class ChosenBoxes(nn.Module):
    """A detector that answers with its surest boxes: what is served.

    Args:
        detector: The detector.
        most: How many boxes at most.
    """

    def __init__(self, detector: Detector, most: int) -> None:
        super().__init__()
        self.detector = detector
        self.most = most

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Detector.boxes`."""
        return self.detector.boxes(self.detector(image), self.most)
