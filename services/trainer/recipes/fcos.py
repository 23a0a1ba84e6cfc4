"""FCOS (Tian et al., 2019) on a backbone of timm: head, losses and matching are torchvision's.

The choice of boxes is ours, since torchvision's is a loop over images, which no graph with a
dynamic batch can hold: non-maximum suppression as repeated matrix products (Cluster-NMS, Zheng et
al., 2020), equal to the greedy one where no chain of suppressions is longer than `ROUNDS`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from loopline.errors import Rejected
from services.trainer.recipes.detectors import Detector

STRIDES: Final = (8, 16, 32, 64, 128)
OF_BACKBONE: Final = STRIDES[:3]
CANDIDATES: Final = 400  # boxes among which suppression chooses
OVERLAP_MAX: Final = 0.6  # IoU of two boxes of a class that both stay
ROUNDS: Final = 8


class FcosDetector(Detector):
    """From pixels to a class, a box and its centredness at each place of five grids.

    Args:
        backbone: A timm name.
        classes: C.
        channels: Of the images.
        width: Channels of pyramid and head; 256 in the paper.
        side_px: Height and width of the input.
    """

    anchors: Tensor
    center_sampling_radius = 1.5  # torchvision's, which its matching reads from here

    def __init__(
        self, backbone: str, classes: int, channels: int, width: int, side_px: tuple[int, int]
    ) -> None:
        super().__init__(backbone, channels)
        info: Any = self.backbone.feature_info
        reductions = list(info.reduction())
        if not set(OF_BACKBONE) <= set(reductions):
            raise Rejected(
                f"backbone {backbone!r} has features of strides {reductions}, and "
                f"{list(OF_BACKBONE)} are needed",
                backbone=backbone,
            )
        self._places = [reductions.index(stride) for stride in OF_BACKBONE]
        given = [info.channels()[place] for place in self._places]
        self.pyramid = FeaturePyramidNetwork(given, width, extra_blocks=LastLevelP6P7(width, width))
        self.head = FCOSHead(width, 1, classes)
        grids = [_grid(stride, side_px) for stride in STRIDES]
        self._counts = [len(grid) for grid in grids]
        self.register_buffer("anchors", torch.cat(grids), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return logits `(N, A, C)`, distances `(N, A, 4)` and centredness `(N, A, 1)`."""
        features = self.backbone(self.normalisation(image))
        levels = OrderedDict((str(place), features[place]) for place in self._places)
        found: dict[str, Tensor] = self.head(list(self.pyramid(levels).values()))
        return found

    def loss(
        self, found: dict[str, Tensor], targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> Tensor:
        """Return the sum of torchvision's three losses.

        Args:
            found: What `forward` returned.
            targets: "boxes" `(N, M, 4)` xyxy and "labels" `(N, M)`, -1 where there is none.
            weights: Not used.
        """
        wanted = [
            {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0]}
            for boxes, labels in zip(targets["boxes"], targets["labels"], strict=True)
        ]
        matching: Any = FCOS.compute_loss  # reads nothing of an FCOS but its head and radius
        losses = matching(self, wanted, found, [self.anchors] * len(wanted), self._counts)
        total: Tensor = torch.stack(list(losses.values())).sum()
        return total

    def boxes(self, found: dict[str, Tensor], most: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Detector`."""
        classes = found["cls_logits"].shape[-1]
        scores = found["cls_logits"].sigmoid() * found["bbox_ctrness"].sigmoid()
        scores = scores.sqrt().flatten(1)
        top, places = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        place = (places // classes)[:, :, None].expand(-1, -1, 4)
        edges = _decoded(found["bbox_regression"], self.anchors).gather(1, place)
        labels = places % classes
        kept = top * unsuppressed(edges, labels)
        kept, order = kept.topk(min(most, kept.shape[1]), dim=1)
        rows = order[:, :, None].expand(-1, -1, 4)
        return edges.gather(1, rows), kept, labels.gather(1, order)


def _grid(stride: int, side_px: tuple[int, int]) -> Tensor:
    """Return a square `(A, 4)` of the stride's side around the centre of each cell."""
    rows, columns = (-(-side // stride) for side in side_px)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    low = torch.stack([x, y], dim=-1).reshape(-1, 2) * float(stride)
    return torch.cat([low, low + stride], dim=1)


def _decoded(distances: Tensor, anchors: Tensor) -> Tensor:
    """Return boxes `(N, A, 4)`: distances to each edge are in sides of the anchor."""
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    side = anchors[:, 2:] - anchors[:, :2]
    low, high = distances[..., :2] * side, distances[..., 2:] * side
    return torch.cat([centre - low, centre + high], dim=-1)


def unsuppressed(boxes: Tensor, labels: Tensor) -> Tensor:
    """Return `(N, K)` 1 where no surer box of the class that stays overlaps too much, else 0.

    Args:
        boxes: `(N, K, 4)` xyxy, the surest first.
        labels: `(N, K)`.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    iou = shared / (areas[:, :, None] + areas[:, None, :] - shared).clamp(min=1e-6)
    same = labels[:, :, None] == labels[:, None, :]
    surer = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).triu(diagonal=1)
    suppresses = (iou > OVERLAP_MAX).float() * same.float() * surer
    stays = torch.ones_like(areas)
    for _ in range(ROUNDS):
        stays = 1 - (suppresses * stays[:, :, None]).amax(dim=1)
    return stays
