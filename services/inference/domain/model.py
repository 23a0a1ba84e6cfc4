"""What inference must know of a model version to serve it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.inference.domain.rollout import Rollout

INPUT = "image"
PROBABILITIES, CLASS, CONFIDENCE = "probabilities", "class", "confidence"
BOXES, SCORES, LABELS, MASK = "boxes", "scores", "labels", "mask"
CLASSIFICATION, DETECTION, SEGMENTATION = "classification", "detection", "segmentation"
TENSORS = "tensors"
"""The task of a graph that is not one of ours: its own tensors go in and come out."""
PIPELINE = "pipeline"
"""Not a version's task: of a detector and a classifier that are asked one after the other."""
IMAGE_TASKS = (CLASSIFICATION, DETECTION, SEGMENTATION)
GRAPH_OUTPUTS: Mapping[str, Mapping[str, int]] = {
    CLASSIFICATION: {PROBABILITIES: 2},
    DETECTION: {BOXES: 3, SCORES: 2, LABELS: 2},
    SEGMENTATION: {MASK: 3, CONFIDENCE: 3},
}
"""What a graph of each task must give, with the number of axes (docs/adding-a-recipe.md)."""
ONNX_FILE = "model.onnx"
CHAMPION = "champion"
"""The alias whose target answers where a client names no version."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A committed model version.

    Args:
        name: The model's name.
        version: Its number, from 1.
        digest: Digest of its manifest; what answers and predictions are traced by.
        classes: Class names in the order of the output.
        height_px: Height of the network's input.
        width_px: Width of the network's input.
        channels: 1 (grey) or 3 (RGB).
        interpolation: How images are brought to that size.
        onnx_digest: Object digest of its ONNX file.
        onnx_size_bytes: The file's size, taken for what it occupies in memory.
        fit: "stretch" or "letterbox": how an image sits in the input.
        task: One of `IMAGE_TASKS`, or `TENSORS`, which has no classes and no image size.
    """

    name: str
    version: int
    digest: str
    classes: tuple[str, ...]
    height_px: int
    width_px: int
    channels: int
    interpolation: str
    onnx_digest: str
    onnx_size_bytes: int
    fit: str = "stretch"
    task: str = CLASSIFICATION

    @property
    def key(self) -> VersionKey:
        """What it is loaded under."""
        return VersionKey(self.name, self.version)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one input image: (height, width, channels)."""
        return (self.height_px, self.width_px, self.channels)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a graph takes or gives.

    Args:
        name: Its name.
        datatype: The protocol's spelling: "FP32", "BYTES".
        shape: -1 where any size will do; the first axis is the batch.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a loaded graph takes and gives.

    Args:
        inputs: In the graph's order.
        outputs: In the graph's order.
        batches: Whether rows of several requests may go into one execution.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batches: bool = True


@dataclass(frozen=True, slots=True, order=True)
class VersionKey:
    """A model version by name and number."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}@v{self.version}"


@dataclass(frozen=True, slots=True)
class AliasTarget:
    """Where an alias points from a commit on.

    Args:
        model: The model.
        alias: The alias.
        key: The version it points to.
        digest: That version's digest.
        sequence: Stream sequence of the commit that says so; a higher one is newer.
        rollout: A second version that gets a share of the requests; None for none.
    """

    model: str
    alias: str
    key: VersionKey
    digest: str
    sequence: int
    rollout: Rollout | None = None
