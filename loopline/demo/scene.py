"""What the demo's story is told with: the images, the training, the thresholds of its flow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Final

from loopline.demo.images import Picture
from loopline.demo.scenes import TRAININGS
from loopline.errors import Rejected

# By recipe: the training, what is told of a model, how sure a shape must be to count as found, and
# how sure all of them must be for the image to be delivered.
DRAWN: Final = {
    "detection": (TRAININGS["nuclei-boxes"], ("map50", "map", "recall"), 0.25, 0.31),
    "segmentation": (TRAININGS["nuclei-masks"], ("mean_iou", "mean_dice", "boundary_f1"), 0.3, 0.9),
}
FLOW_FILE = Path(__file__).parent / "catalogue.yaml"


@dataclass(frozen=True)
class Scene:
    """One setting of the story; the defaults are the demo's.

    Args:
        recipe: What is trained.
        name: Of dataset, model and flow.
        metrics: What is told of a model; by the first one it is promoted.
        drawn: A folder of examples/data whose labels are shapes, instead of product photos.
        threshold: Boxes and masks at least so sure count as found.
        images: A folder per class of a user's own images; the sample if None.
        pictures: The pictures themselves, such as a part of the sample, instead of `images`.
        parameters: Parameters of the recipe; the defaults of "classification" were chosen for
            images of the sample's size.
        labels_min: Labeled training images without which the flow trains nothing.
        confidence_min: What the flow delivers is at least so sure.
        gain_min: The second model must be better than the champion by more than this.
        relabel_limit: Items that one labeling job may have.
        labels_per_request: Items that a labeler submits at once, before the next one's turn.
        webhook_url: Who is told of labeling jobs; a receiver of the story's own if empty.
        traceparent: The W3C context of the external publisher; it traces nothing if empty.
    """

    recipe: str = "classification"
    name: str = "catalogue"
    metrics: tuple[str, ...] = ("accuracy", "macro_f1", "calibration_error")
    drawn: str = ""
    threshold: float = 0.3
    images: Path | None = None
    pictures: Sequence[Picture] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    labels_min: int = 100
    confidence_min: float = 0.9
    gain_min: float = 0.0
    relabel_limit: int = 1500
    labels_per_request: int = 100
    webhook_url: str = ""
    traceparent: str = ""

    @property
    def results_prefix(self) -> str:
        """Below which the flow delivers."""
        return f"{self.name}/"

    def flow(self, results_bucket: str, webhook_url: str) -> str:
        """Return the flow's document."""
        gain = f" + ({self.gain_min})" if self.gain_min else ""
        return Template(FLOW_FILE.read_text()).substitute(
            name=self.name,
            recipe=self.recipe,
            metric=self.metrics[0],
            threshold=self.threshold,
            parameters=json.dumps(self.parameters),
            labels_min=self.labels_min,
            gain=gain,
            confidence_min=self.confidence_min,
            results=results_bucket,
            relabel_limit=self.relabel_limit,
            webhook_url=webhook_url,
        )


def drawn_scene(recipe: str) -> Scene:
    """Return the scene of a recipe that learns shapes: nuclei, by their boxes or their masks.

    Raises:
        Rejected: The recipe has none.
    """
    if recipe not in DRAWN:
        raise Rejected(f"the demo knows the recipes classification, {', '.join(DRAWN)}")
    training, metrics, threshold, confidence_min = DRAWN[recipe]
    return Scene(
        recipe=recipe,
        name=training.data,
        metrics=metrics,
        drawn=training.data,
        threshold=threshold,
        parameters=training.parameters,
        labels_min=10,
        confidence_min=confidence_min,
    )
