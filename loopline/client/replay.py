"""Replaying recorded requests: what another version says of what production asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from loopline.contracts import SampledImage, Shape
from loopline.contracts.inference.v1.predict_pb2 import ImagePrediction

FOUND_SCORE = 0.3
"""Boxes and masks at least this sure count, as a flow's `threshold` has it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay.

    Args:
        version: The version that was asked: "catalogue@v3".
        images: Recorded images it answered.
        agreed: Of how many it said what was said then.
        failed: How many it could not answer.
    """

    version: str
    images: int = 0
    agreed: int = 0
    failed: int = 0

    @property
    def agreement(self) -> float:
        """Share of the answered images on which it agreed; 0 without any."""
        return self.agreed / self.images if self.images else 0.0

    def __str__(self) -> str:
        return (
            f"{self.version} agreed on {self.agreed} of {self.images} recorded images "
            f"({self.agreement:.1%}), could not answer {self.failed}"
        )


def agrees(recorded: SampledImage, said: ImagePrediction) -> bool:
    """Tell whether a version says of an image what was said of it when it was recorded.

    Classifiers: the same class. Others: as many shapes of each class, of those that count.
    """
    if recorded.scores:
        return [shape.class_name for shape in recorded.shapes] == [said.class_name]
    return _found(recorded.shapes) == _found(said.shapes)


def _found(shapes: Iterable[Shape]) -> Counter[str]:
    return Counter(shape.class_name for shape in shapes if shape.confidence >= FOUND_SCORE)
