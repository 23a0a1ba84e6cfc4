"""From a job's submissions to the dataset's next version.

Decides which items change, how, and the figures that the run tells; leaves the commit to others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from loopline.digests import digest_of
from loopline.store.items import Item, Shape
from services.annotate.domain.agreement import agrees

TRAINING_SPLIT = "train"


@dataclass(frozen=True, slots=True)
class Submission:
    """The last word on one item of a job.

    Attributes:
        asset: The item.
        labeler: Who said it.
        shapes: All annotations of the item from now on.
        digest: Digest of the shapes.
        sequence: Where in the log it stands.
        spent_s: Time the labeler took, seconds.
    """

    asset: str
    labeler: str
    shapes: tuple[Shape, ...]
    digest: str
    sequence: int
    spent_s: float = 0.0


def submissions_digest(submissions: Iterable[Submission]) -> str:
    """Return one digest over what was said of which item by whom, in any order."""
    return digest_of(sorted((s.asset, s.labeler, s.digest) for s in submissions))


def corrected(item: Item, submission: Submission) -> Item:
    """Return the item as the labeler says it is.

    Its place in a split stays; an item in none goes to training, for labels that no model may learn
    from are of no use, and evaluation splits are frozen. Where it came from stays too.
    """
    return replace(item, labeled=True, shapes=submission.shapes, split=item.split or TRAINING_SPLIT)


def figures(
    submissions: Sequence[Submission], predicted: Mapping[str, Sequence[Shape]]
) -> dict[str, float]:
    """Return what a run over these submissions tells.

    Args:
        submissions: All of them.
        predicted: Shapes shown, by asset; assets that were shown without a prediction are left out.

    Returns:
        "items", "labelers", "spent_s", "predicted" (items shown with a prediction), and where there
        were any, "agreed" and "agreement" (share in [0, 1] of these that the labeler confirmed).
    """
    shown = [s for s in submissions if s.asset in predicted]
    agreed = sum(agrees(s.shapes, predicted[s.asset]) for s in shown)
    told = {
        "items": float(len(submissions)),
        "labelers": float(len({s.labeler for s in submissions})),
        "spent_s": round(sum(s.spent_s for s in submissions), 3),
        "predicted": float(len(shown)),
    }
    if shown:
        told |= {"agreed": float(agreed), "agreement": agreed / len(shown)}
    return told


def items_by_labeler(submissions: Iterable[Submission]) -> dict[str, int]:
    """Return how many items each labeler did, most first."""
    return dict(Counter(s.labeler for s in submissions).most_common())


def agreement_report(
    submissions: Sequence[Submission], predicted: Mapping[str, Sequence[Shape]]
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
        for s in sorted(submissions, key=lambda submission: submission.asset)
    ]
