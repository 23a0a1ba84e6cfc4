"""From a job's corrections to the dataset's next version.

Decides which items change, how, and the figures that the run tells; leaves the commit to others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from loopline.digests import digest_of
from loopline.store.items import Item, Shape
from services.annotate.domain.agreement import agrees
from services.annotate.domain.work import ItemState, Result, Rules

TRAINING_SPLIT = "train"
ACCEPTED = "accepted"  # a shape's review


@dataclass(frozen=True, slots=True)
class Correction:
    """What is said of one item of a job in the end.

    Attributes:
        asset: The item.
        labelers: Who said it.
        shapes: All annotations of the item from now on.
        digest: Digest of the shapes.
        sequence: The last commit behind it.
        spent_s: Time taken, seconds.
        tags: Tags given.
        reviewer: Who accepted it; "" if nobody looked.
    """

    asset: str
    labelers: tuple[str, ...]
    shapes: tuple[Shape, ...]
    digest: str
    sequence: int
    spent_s: float = 0.0
    tags: tuple[str, ...] = ()
    reviewer: str = ""

    @property
    def labeler(self) -> str:
        """Everybody who said it, as one text."""
        return "+".join(self.labelers)


def corrections_of(results: Iterable[tuple[str, Result]], rules: Rules) -> list[Correction]:
    """Return what is said of the items that are done, by asset."""
    return [
        Correction(
            asset,
            result.labelers,
            result.shapes,
            result.digest,
            result.sequence,
            result.spent_s,
            result.tags,
            result.reviewer if result.state is ItemState.ACCEPTED else "",
        )
        for asset, result in sorted(results)
        if rules.is_done(result.state)
    ]


def corrections_digest(corrections: Iterable[Correction]) -> str:
    """Return one digest over what is said of which item by whom, in any order."""
    return digest_of(sorted(_said(correction) for correction in corrections))


def _said(correction: Correction) -> tuple[str, ...]:
    looked_at = (correction.reviewer,) if correction.reviewer else ()
    return correction.asset, correction.labeler, correction.digest, *correction.tags, *looked_at


def corrected(item: Item, correction: Correction) -> Item:
    """Return the item as it is said to be.

    Its place in a split stays; an item in none goes to training, for labels that no model may learn
    from are of no use, and evaluation splits are frozen. Where it came from stays too.
    """
    shapes = correction.shapes
    if correction.reviewer:
        shapes = tuple(replace(shape, review=ACCEPTED) for shape in shapes)
    return replace(
        item,
        labeled=True,
        shapes=shapes,
        split=item.split or TRAINING_SPLIT,
        tags=tuple(dict.fromkeys((*item.tags, *correction.tags))),
    )


def figures(
    corrections: Sequence[Correction], predicted: Mapping[str, Sequence[Shape]]
) -> dict[str, float]:
    """Return what a run over these corrections tells.

    Args:
        corrections: All of them.
        predicted: Shapes shown, by asset; assets that were shown without a prediction are left out.

    Returns:
        "items", "labelers", "spent_s", "predicted" (items shown with a prediction), and where there
        were any, "agreed" and "agreement" (share in [0, 1] of these that the labeler confirmed).
    """
    shown = [s for s in corrections if s.asset in predicted]
    agreed = sum(agrees(s.shapes, predicted[s.asset]) for s in shown)
    told = {
        "items": float(len(corrections)),
        "labelers": float(len({name for s in corrections for name in s.labelers})),
        "spent_s": round(sum(s.spent_s for s in corrections), 3),
        "predicted": float(len(shown)),
    }
    if shown:
        told |= {"agreed": float(agreed), "agreement": agreed / len(shown)}
    return told


def items_by_labeler(corrections: Iterable[Correction]) -> dict[str, int]:
    """Return how many items each labeler did, most first."""
    return dict(Counter(name for s in corrections for name in s.labelers).most_common())


def agreement_report(
    corrections: Sequence[Correction], predicted: Mapping[str, Sequence[Shape]]
) -> list[dict[str, object]]:
    """Return prediction and labels of each item side by side, and whether they agree."""
    return [
        {
            "asset": s.asset,
            "labeler": s.labeler,
            "labels": sorted(shape.class_name for shape in s.shapes),
            "predicted": sorted(shape.class_name for shape in predicted[s.asset])
            if s.asset in predicted
            else None,
            "agreed": agrees(s.shapes, predicted[s.asset]) if s.asset in predicted else None,
        }
        for s in sorted(corrections, key=lambda correction: correction.asset)
    ]
