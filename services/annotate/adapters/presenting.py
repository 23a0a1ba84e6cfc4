"""From what the service knows to what its HTTP API answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from loopline.contracts import ArtefactRef
from loopline.store.items import Shape
from services.annotate.adapters.answers import (
    AcceptedOut,
    ArtefactOut,
    CountsOut,
    DraftOut,
    ItemOut,
    JobOut,
    LabelsOut,
    NextOut,
    ShapeOut,
)
from services.annotate.adapters.desk import Draft
from services.annotate.adapters.items import JobItem
from services.annotate.adapters.reader import Job, Submission
from services.annotate.adapters.rows import moment
from services.annotate.adapters.submissions import Accepted
from services.annotate.domain.jobs import starts_empty
from services.annotate.domain.work import TO_LABEL, ItemState


def job_out(job: Job) -> JobOut:
    """Return a job as the API says it."""
    asked, options, counts = job.specification, job.options, job.counts
    deadline = None
    if asked.HasField("deadline"):
        deadline = moment(asked.deadline.ToDatetime(tzinfo=UTC))
    return JobOut(
        job=job.name,
        state=job.state.value,
        version=job.version,
        digest=job.digest,
        dataset=artefact_out(asked.dataset),
        items=counts.items,
        submitted=job.submitted,
        counts=CountsOut(
            queued=counts.of(ItemState.QUEUED),
            submitted=counts.of(ItemState.SUBMITTED),
            disputed=counts.of(ItemState.DISPUTED),
            accepted=counts.of(ItemState.ACCEPTED),
            rejected=counts.of(ItemState.REJECTED),
            done=job.done,
        ),
        classes=list(asked.classes),
        shapes=list(options.shapes),
        instructions=asked.instructions,
        labelers=list(options.labelers),
        reviewers=list(options.reviewers),
        review=options.review,
        priority=options.priority,
        deadline=deadline,
        labelers_per_item=options.labelers_per_item,
        quorum=options.quorum,
        iou_min=job.rules.iou_min,
        keeps_filling=options.keeps_filling,
        where=options.where,
        predictions=artefact_out(asked.predictions) if asked.HasField("predictions") else None,
        confidence_min=options.confidence_min,
        flow=asked.flow.name,
        notify=list(options.notify),
        lease_s=options.lease_s,
        start_empty=starts_empty(options),
        opened_at=job.opened_at,
        changed_at=job.changed_at,
        run=job.run_id,
    )


def artefact_out(ref: ArtefactRef) -> ArtefactOut:
    """Return a reference as the API says it."""
    return ArtefactOut(name=ref.name, version=ref.version, digest=ref.digest)


def item_out(item: JobItem, now_s: float, mine: Submission | None, *, all_labels: bool) -> ItemOut:
    """Return an item as the API says it.

    Args:
        item: The item.
        now_s: Now, seconds since the epoch.
        mine: The caller's own last word on it.
        all_labels: Whether the caller may see what others say: not while several people label it.
    """
    result, state = item.result, item.result.state
    held = item.held_until > now_s
    if held and state in TO_LABEL and item.held_for == "label":
        state = ItemState.ANNOTATING
    labels = _labels_out(item) if all_labels else _own_labels_out(mine)
    return ItemOut(
        asset=item.asset,
        position=max(item.position, 0),
        width_px=item.width_px,
        height_px=item.height_px,
        media_type=item.media_type,
        state=state.value,
        holder=item.holder if held else None,
        predicted=None if item.predicted is None else shapes_out(item.predicted),
        predicted_by=item.predicted_by or None,
        existing=shapes_out(item.existing),
        labels=labels,
        agreement=result.agreement,
        reviewer=result.reviewer or None,
        comment=result.comment,
    )


def _labels_out(item: JobItem) -> LabelsOut | None:
    result = item.result
    if not result.digest:
        return None
    return LabelsOut(
        labeler="+".join(result.labelers),
        labelers=list(result.labelers),
        version=result.version,
        digest=result.digest,
        shapes=shapes_out(result.shapes),
        tags=list(result.tags),
        spent_s=result.spent_s,
        submitted_at=item.changed_at,
    )


def _own_labels_out(mine: Submission | None) -> LabelsOut | None:
    if mine is None:
        return None
    said = mine.said
    return LabelsOut(
        labeler=said.labeler,
        labelers=[said.labeler],
        version=said.version,
        digest=said.digest,
        shapes=shapes_out(said.shapes),
        tags=list(said.tags),
        spent_s=said.spent_s,
        submitted_at=mine.submitted_at,
    )


def draft_out(draft: Draft) -> DraftOut:
    """Return a draft as the API says it."""
    return DraftOut(
        shapes=shapes_out(draft.shapes),
        tags=list(draft.tags),
        spent_s=draft.spent_s,
        revision=draft.revision,
        saved_at=draft.saved_at,
    )


def shapes_out(shapes: Sequence[Shape]) -> list[ShapeOut]:
    """Return shapes as the API says them."""
    return [shape_out(shape) for shape in shapes]


def shape_out(shape: Shape) -> ShapeOut:
    """Return a shape as the API says it."""
    return ShapeOut(
        id=shape.id,
        class_name=shape.class_name,
        bbox_xyxy=shape.bbox_xyxy,
        polygon=None if shape.polygon is None else list(shape.polygon),
        mask_rle=shape.mask_rle,
        confidence=shape.confidence,
        source=shape.source,
        edited_from=shape.edited_from,
    )


def accepted_out(accepted: Accepted, following: NextOut | None = None) -> AcceptedOut:
    """Return an accepted submission as the API says it."""
    return AcceptedOut(
        asset=accepted.asset,
        version=accepted.version,
        digest=accepted.digest,
        unchanged=accepted.unchanged,
        next=following,
    )


def until_text(until_s: float) -> str:
    """Return when a lease ends."""
    return moment(datetime.fromtimestamp(until_s, UTC))
