"""A light anchor-free detector: heat maps of centres, and the distance to each edge.

After CenterNet (Zhou et al., 2019) and TTFNet (Liu et al., 2020). A peak of the heat map is a box;
no two peaks are neighbours, which stands for non-maximum suppression, so that the whole detector is
one graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.trainer.recipes.backbones import Pyramid
from services.trainer.recipes.box_targets import STRIDE
from services.trainer.recipes.detectors import Detector

PRIOR: Final = 0.02  # of a cell being a centre, before anything is learned
EDGE_PX: Final = 16.0  # what the head's 1 stands for
BOX_WEIGHT: Final = 5.0  # of the boxes' loss against the centres'


class CentreDetector(Detector):
    """From pixels to centres and edges.

    Args:
        backbone: A timm name.
        classes: C.
        channels: Of the images.
        width: Channels of the head.
    """

    def __init__(self, backbone: str, classes: int, channels: int, width: int) -> None:
        super().__init__(backbone, channels)
        self.pyramid = Pyramid(backbone, self.backbone, STRIDE, width)
        self.centres = _head(width, classes)
        self.edges = _head(width, 4)
        last = self.centres[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, -math.log(1 / PRIOR - 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat logits `(N, C, h, w)` and boxes `(N, 4, h, w)` xyxy, px of the input."""
        features = self.pyramid(self.backbone(self.normalisation(image)))
        distances = functional.softplus(self.edges(features)) * EDGE_PX
        height, width = features.shape[-2:]
        x = (torch.arange(width, device=image.device) + 0.5) * STRIDE
        y = ((torch.arange(height, device=image.device) + 0.5) * STRIDE)[:, None]
        left, top, right, bottom = distances.unbind(1)
        return self.centres(features), torch.stack([x - left, y - top, x + right, y + bottom], 1)

    def loss(
        self, found: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> Tensor:
        """See `centre_loss`."""
        return centre_loss(found, targets, weights)

    def boxes(self, found: tuple[Tensor, Tensor], most: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `peaks`."""
        return peaks(*found, most)


def peaks(heat: Tensor, boxes: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the boxes of the hottest cells that are hotter than their neighbours.

    Args:
        heat: Logits `(N, C, h, w)`.
        boxes: `(N, 4, h, w)` xyxy.
        most: K.

    Returns:
        Boxes `(N, K, 4)`, scores `(N, K)` descending, labels `(N, K)` int64.
    """
    scores = torch.sigmoid(heat)
    is_peak = functional.max_pool2d(scores, 3, stride=1, padding=1) == scores
    scores = (scores * is_peak).flatten(1)
    cells = heat.shape[-2] * heat.shape[-1]
    top, places = scores.topk(min(most, scores.shape[1]), dim=1)
    cell = (places % cells)[:, None, :].expand(-1, 4, -1)
    return boxes.flatten(2).gather(2, cell).movedim(1, 2), top, places // cells


def _head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, outputs, 1),
    )


def centre_loss(
    found: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], weights: Tensor | None = None
) -> Tensor:
    """Return the loss of a batch: focal for the centres, GIoU for the boxes around them.

    Args:
        found: What the detector says.
        targets: "heat" `(N, C, h, w)`, "boxes" `(N, 4, h, w)`, "weights" `(N, h, w)`.
        weights: `(C,)` what an error in each class counts.
    """
    heat, boxes = found
    centres = _focal(heat, targets["heat"], weights)
    counted = targets["weights"].sum()
    overlap = giou(boxes.movedim(1, -1), targets["boxes"].movedim(1, -1))
    edges = ((1 - overlap) * targets["weights"]).sum() / counted.clamp(min=1)
    return centres + BOX_WEIGHT * edges


def _focal(logits: Tensor, heat: Tensor, weights: Tensor | None) -> Tensor:
    """CornerNet's focal loss (Law and Deng, 2018): cells near a centre are forgiven."""
    probability = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    is_centre = heat.eq(1).to(logits.dtype)
    hits = torch.log(probability) * (1 - probability) ** 2 * is_centre
    misses = torch.log(1 - probability) * probability**2 * (1 - heat) ** 4 * (1 - is_centre)
    both = hits + misses
    if weights is not None:
        both = both * weights[:, None, None]
    return -both.sum() / is_centre.sum().clamp(min=1)


def giou(one: Tensor, other: Tensor) -> Tensor:
    """Return generalised IoU (Rezatofighi et al., 2019) of boxes xyxy `(..., 4)`, in (-1, 1]."""
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    union = areas - shared
    around_low = torch.minimum(one[..., :2], other[..., :2])
    around_high = torch.maximum(one[..., 2:], other[..., 2:])
    around = (around_high - around_low).prod(-1).clamp(min=1e-6)
    return shared / union.clamp(min=1e-6) - (around - union) / around
