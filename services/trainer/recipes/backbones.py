"""Backbones of timm: found by name, with the normalisation that their pretrained weights expect."""

from __future__ import annotations

import difflib
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn

from loopline.errors import Rejected

# ImageNet's means and deviations, for backbones that name none; grey images get their averages.
RGB_MEAN: Final = (0.485, 0.456, 0.406)
RGB_STD: Final = (0.229, 0.224, 0.225)


def build_backbone(name: str, **options: Any) -> nn.Module:
    """Return a new timm model with random weights.

    Args:
        name: Of timm.
        options: As `timm.create_model` takes them.

    Raises:
        Rejected: timm has no such backbone, or cannot build it so.
    """
    if not timm.is_model(name):
        close = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=5))
        raise Rejected(f"timm has no backbone {name!r}; it has {close or 'others'}", backbone=name)
    try:
        model: nn.Module = timm.create_model(name, **options)
    except (TypeError, RuntimeError, AssertionError, ValueError) as error:
        raise Rejected(f"backbone {name!r} cannot be built so: {error}", backbone=name) from error
    return model


def has_one_size(name: str) -> bool:
    """Tell whether a backbone is made for images of one size, which it must be told."""
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return config is not None and bool(config.fixed_input_size)


class Normalisation(nn.Module):
    """From pixels `(N, H, W, C)` uint8 to `(N, C, H, W)` float32 as a backbone expects them.

    The permuted view is what torch calls channels-last, in which convolutions are a quarter faster.

    Args:
        backbone: A timm name, for its means and deviations; "" is ImageNet's.
        channels: C, 1 or 3; grey gets the averages.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, channels: int) -> None:
        super().__init__()
        config = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
        mean = tuple(config.mean) if config is not None else RGB_MEAN
        std = tuple(config.std) if config is not None else RGB_STD
        if channels != len(mean):
            mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
        self.register_buffer("mean", torch.tensor(mean).view(1, channels, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, channels, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return normalised pixels."""
        return (image.permute(0, 3, 1, 2).to(torch.float32) / 255 - self.mean) / self.std


class Pyramid(nn.Module):
    """A backbone's features at one stride, those of coarser strides added from above.

    After the feature pyramid of Lin et al. (2017), with one output.

    Args:
        name: The backbone's, for messages.
        backbone: Made by timm with `features_only`.
        stride: The output's.
        width: Its channels.
    """

    def __init__(self, name: str, backbone: Any, stride: int, width: int) -> None:
        super().__init__()
        reductions = list(backbone.feature_info.reduction())
        if stride not in reductions:
            raise Rejected(
                f"backbone {name!r} has features of strides {reductions}, and {stride} is needed",
                backbone=name,
            )
        self._first = reductions.index(stride)
        channels = backbone.feature_info.channels()[self._first :]
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return `(N, width, H / stride, W / stride)`."""
        features = features[self._first :]
        merged: Tensor | None = None
        for lateral, feature in zip(reversed(self.laterals), reversed(features), strict=True):
            own = lateral(feature)
            if merged is not None:
                own = own + nn.functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = own
        smooth: Tensor = self.smooth(merged)
        return smooth
