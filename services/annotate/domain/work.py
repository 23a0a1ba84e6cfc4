r"""Where an item of a job stands, and what a submission or a review makes of it.

    queued -> submitted -> accepted
       ^  \-> disputed -/     |
       \------- rejected <----/   by a reviewer, with a comment; or by reopening the job

"Annotating" is a queued item that somebody holds: leases are beside the log, so it is not a state
here. Everything here is a function of commits, so that any process comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from loopline.errors import Forbidden, Rejected
from loopline.store.items import Shape
from services.annotate.domain.agreement import IOU_MIN
from services.annotate.domain.consensus import merge
from services.annotate.domain.jobs import State


class ItemState(StrEnum):
    """Where an item stands."""

    QUEUED = "queued"
    ANNOTATING = "annotating"
    SUBMITTED = "submitted"
    DISPUTED = "disputed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


TO_LABEL = (ItemState.QUEUED, ItemState.REJECTED)
"""States in which an item waits for a labeler."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a job is worked.

    Attributes:
        labelers_per_item: How many people label each item.
        quorum: How many of them must say the same; 0 for more than half.
        iou_min: From which overlap on shapes are the same.
        review: Whether a reviewer looks at every item.
    """

    labelers_per_item: int = 1
    quorum: int = 0
    iou_min: float = IOU_MIN
    review: bool = False

    def is_done(self, state: ItemState) -> bool:
        """Tell whether nothing more is to be done about an item."""
        return state is ItemState.ACCEPTED or (state is ItemState.SUBMITTED and not self.review)

    def awaits_review(self, state: ItemState) -> bool:
        """Tell whether a reviewer is to look at an item."""
        return state is ItemState.DISPUTED or (state is ItemState.SUBMITTED and self.review)


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said of an item.

    Attributes:
        labeler: Who.
        version: Of the item's labels.
        digest: Of the shapes.
        shapes: All annotations of the item.
        tags: Tags given.
        spent_s: Time taken.
        sequence: Where in the log it stands.
        by_reviewer: Whether it takes the place of what labelers said.
    """

    labeler: str
    version: int
    digest: str
    shapes: tuple[Shape, ...]
    tags: tuple[str, ...]
    spent_s: float
    sequence: int
    by_reviewer: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """Where an item stands and what is said of it.

    Attributes:
        state: Where it stands; never "annotating".
        round_after: Submissions behind this place in the log count; earlier ones were sent back.
        submissions: How many people labeled it in this round.
        labelers: Who they are.
        version: The item's last version of labels.
        digest: Digest of what is said.
        shapes: What is said: of one labeler, of a quorum, or of a reviewer.
        tags: Tags given.
        spent_s: Time taken, by everybody, in this round.
        agreement: How far labelers agreed, in [0, 1]; None where one labels alone.
        reviewer: Who looked at it last.
        comment: What they said.
        sequence: The last commit that is in here.
    """

    state: ItemState = ItemState.QUEUED
    round_after: int = 0
    submissions: int = 0
    labelers: tuple[str, ...] = ()
    version: int = 0
    digest: str = ""
    shapes: tuple[Shape, ...] = ()
    tags: tuple[str, ...] = ()
    spent_s: float = 0.0
    agreement: float | None = None
    reviewer: str = ""
    comment: str = ""
    sequence: int = 0


def submitted(result: Result, said: Said, others: Mapping[str, Said], rules: Rules) -> Result:
    """Return where an item stands after a submission.

    Args:
        result: Where it stood.
        said: The submission.
        others: The last submissions of this round, by labeler.
        rules: How the job is worked.
    """
    known = replace(result, version=said.version, sequence=said.sequence)
    if said.by_reviewer:
        return replace(
            known,
            state=ItemState.SUBMITTED,
            digest=said.digest,
            shapes=said.shapes,
            tags=said.tags,
            labelers=(said.labeler,),
        )
    by_labeler = {**others, said.labeler: said}
    known = replace(
        known,
        submissions=len(by_labeler),
        labelers=tuple(sorted(by_labeler)),
        spent_s=round(sum(one.spent_s for one in by_labeler.values()), 3),
    )
    if rules.labelers_per_item == 1:
        last = replace(known, labelers=(said.labeler,), spent_s=said.spent_s, submissions=1)
        return _stands(last, said.digest, said.shapes, said.tags)
    if len(by_labeler) < rules.labelers_per_item:
        return known
    return _merged(known, by_labeler, rules)


def _stands(
    result: Result, digest: str, shapes: tuple[Shape, ...], tags: tuple[str, ...]
) -> Result:
    return replace(
        result, state=ItemState.SUBMITTED, digest=digest, shapes=shapes, tags=tags, comment=""
    )


def _merged(result: Result, said: Mapping[str, Said], rules: Rules) -> Result:
    shapes = {labeler: one.shapes for labeler, one in said.items()}
    found = merge(shapes, rules.quorum, rules.iou_min)
    digest = "+".join(sorted(one.digest for one in said.values()))
    tags = tuple(sorted({tag for one in said.values() for tag in one.tags}))
    stands = _stands(result, digest, found.shapes, tags)
    state = ItemState.DISPUTED if found.disputes else ItemState.SUBMITTED
    return replace(stands, state=state, agreement=round(found.agreement, 6))


def reviewed(
    result: Result, *, accepted: bool, reviewer: str, comment: str, version: int, sequence: int
) -> Result:
    """Return where an item stands after a review.

    A review of labels that were replaced meanwhile (a smaller `version`) says nothing.
    """
    if version < result.version:
        return result
    looked_at = replace(result, reviewer=reviewer, comment=comment, sequence=sequence)
    if accepted:
        return replace(looked_at, state=ItemState.ACCEPTED)
    return sent_back(looked_at, sequence)


def sent_back(result: Result, sequence: int) -> Result:
    """Return an item that waits for labelers again; what was said stays as a beginning."""
    return replace(
        result, state=ItemState.REJECTED, round_after=sequence, submissions=0, sequence=sequence
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items of a job stand where."""

    items: int
    by_state: Mapping[str, int] = field(default_factory=dict)

    def of(self, *states: ItemState) -> int:
        """Return how many items are in these states; queued are those that nothing is known of."""
        known = sum(self.by_state.get(state, 0) for state in ItemState)
        fresh = self.items - known if ItemState.QUEUED in states else 0
        return fresh + sum(self.by_state.get(state, 0) for state in states)


def phase(counts: Counts, rules: Rules) -> State:
    """Return the state of a job that is worked: completed once nothing is left to do."""
    if counts.of(*TO_LABEL) > 0:
        return State.IN_PROGRESS
    waits = [state for state in ItemState if rules.awaits_review(state)]
    return State.ON_REVIEW if counts.of(*waits) > 0 else State.COMPLETED


def may_label(people: Sequence[str], name: str) -> bool:
    """Tell whether someone is among those who are asked; an empty list asks everybody."""
    return not people or name in people


def check_takes_labels(result: Result, labeler: str, labelers_per_item: int, asset: str) -> None:
    """Refuse labels for an item that has all it needs.

    Raises:
        Rejected: A reviewer accepted it, or enough others labeled it.
    """
    if result.state is ItemState.ACCEPTED:
        raise Rejected(
            f"asset {asset}: {result.reviewer} accepted its labels: reopen the job to change them",
            asset=asset,
        )
    is_complete = result.state in (ItemState.SUBMITTED, ItemState.DISPUTED)
    if labelers_per_item > 1 and is_complete:
        raise Rejected(
            f"asset {asset}: {len(result.labelers)} people labeled it: it takes no more labels",
            asset=asset,
        )


def check_reviewable(result: Result, labels_version: int, asset: str) -> None:
    """Refuse to review what is not there, or what was replaced meanwhile.

    Raises:
        Rejected: Nobody labeled it, or the reviewer saw other labels.
    """
    if result.state in TO_LABEL:
        raise Rejected(f"asset {asset} has no labels to review", asset=asset)
    if labels_version != result.version:
        raise Rejected(
            f"asset {asset}: its labels are version {result.version} by now, "
            f"not {labels_version}: look again",
            asset=asset,
        )


def check_person(job: str, purpose: str, asked: Sequence[str], name: str) -> None:
    """Refuse people who are not asked to work on a job.

    Raises:
        Forbidden: The job names who is, and this is none of them.
    """
    if not may_label(asked, name):
        raise Forbidden(f"{name} is not asked to {purpose} in job {job}", job=job)
