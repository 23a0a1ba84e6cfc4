"""A network of segmentation-models-pytorch between pixels and masks."""

from __future__ import annotations

from typing import Any, Final

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from loopline.errors import Rejected
from loopline.vision.augmentation import IGNORED
from services.trainer.recipes.backbones import Normalisation, build_backbone

FOCUS: Final = 2.0  # how much more pixels count that the network is wrong about


class Segmenter(nn.Module):
    """From pixels to logits of each pixel.

    Args:
        architecture: A decoder of segmentation-models-pytorch.
        backbone: A timm name.
        classes: K; the network has one output more, for the background.
        channels: Of the images.
        width: Channels of the decoder where it is coarsest; 256 is the library's choice.

    Raises:
        Rejected: They do not go together.
    """

    def __init__(
        self, architecture: str, backbone: str, classes: int, channels: int, width: int
    ) -> None:
        super().__init__()
        build_backbone(backbone, features_only=True)  # names it if timm cannot
        self.normalisation = Normalisation(backbone, channels)
        try:
            self.network = smp.create_model(
                architecture,
                encoder_name=f"tu-{backbone}",
                encoder_weights=None,
                in_channels=channels,
                classes=classes + 1,
                **_decoder(architecture, width),
            )
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise Rejected(
                f"architecture {architecture!r} cannot be built on {backbone!r}: {error}"
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `(N, K + 1, H, W)` for `(N, H, W, C)` uint8."""
        logits: Tensor = self.network(self.normalisation(image))
        return logits


def _decoder(architecture: str, width: int) -> dict[str, Any]:
    """Return a decoder's width as the library takes it; some have one of their own."""
    if architecture in ("unet", "unetplusplus", "manet"):
        return {"decoder_channels": tuple(max(width >> stage, 8) for stage in range(5))}
    if architecture == "fpn":
        return {"decoder_pyramid_channels": width, "decoder_segmentation_channels": width // 2}
    if architecture in ("deeplabv3plus", "upernet"):
        return {"decoder_channels": width}
    return {}


class Masks(nn.Module):
    """A segmenter that answers with the class of each pixel."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask `(N, H, W)` uint8 (0 is background) and confidence `(N, H, W)` float32."""
        confidence, label = torch.softmax(self.segmenter(image), dim=1).max(dim=1)
        return label.to(torch.uint8), confidence


def mask_loss(
    kind: str, logits: Tensor, targets: Tensor, weights: list[float] | None = None
) -> Tensor:
    """Return the loss of a batch; pixels of which nothing is known do not count.

    Args:
        kind: "ce", "dice", "focal", or two of them with "+" between.
        logits: `(N, K + 1, H, W)`.
        targets: `(N, H, W)` int64 in 0 to K, or IGNORED.
        weights: K + 1 numbers: what each class counts.
    """
    parts = [_LOSSES[part](logits, targets, weights) for part in kind.split("+")]
    return torch.stack(parts).sum()


def _cross_entropy(logits: Tensor, targets: Tensor, weights: list[float] | None) -> Tensor:
    weight = None if weights is None else logits.new_tensor(weights)
    return functional.cross_entropy(logits, targets, weight=weight, ignore_index=IGNORED)


def _dice(logits: Tensor, targets: Tensor, weights: list[float] | None) -> Tensor:
    loss: Tensor = smp.losses.DiceLoss("multiclass", ignore_index=IGNORED, class_weights=weights)(
        logits, targets
    )
    return loss


def _focal(logits: Tensor, targets: Tensor, weights: list[float] | None) -> Tensor:
    """Cross-entropy in which what is right already counts little (Lin et al., 2017)."""
    weight = None if weights is None else logits.new_tensor(weights)
    surprise = functional.cross_entropy(
        logits, targets, weight=weight, ignore_index=IGNORED, reduction="none"
    )
    counted = (targets != IGNORED).sum().clamp(min=1)
    return ((1 - torch.exp(-surprise)) ** FOCUS * surprise).sum() / counted


_LOSSES: dict[str, Any] = {"ce": _cross_entropy, "dice": _dice, "focal": _focal}
