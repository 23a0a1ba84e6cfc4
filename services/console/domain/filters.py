"""What items are asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Items that match all of this; of several values of one field, any.

    Args:
        classes: Of one of its shapes.
        splits: "train", "val", "test", or "none" for items without.
        tags: One of its tags.
        source: Part of the URI it came from.
        labeled: Whether it has labels; None for both.
        shape_source: Who drew one of its shapes: "import", "model" or "labeler"; "" for anybody.
        score_min: Of the prediction.
        score_max: Of the prediction.
        disagreement_min: Between label and prediction.
    """

    classes: frozenset[str] = frozenset()
    splits: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    source: str = ""
    labeled: bool | None = None
    shape_source: str = ""
    score_min: float | None = None
    score_max: float | None = None
    disagreement_min: float | None = None

    @property
    def asks_predictions(self) -> bool:
        """Whether it needs predictions to decide."""
        figures = (self.score_min, self.score_max, self.disagreement_min)
        return any(figure is not None for figure in figures)
