"""What the HTTP API answers. Fields are added, never renamed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from loopline.contracts import ArtefactRef
from loopline.store.items import Shape
from services.annotate.adapters.desk import Draft
from services.annotate.adapters.items import JobItem
from services.annotate.adapters.reader import Job, Submission
from services.annotate.adapters.rows import moment
from services.annotate.adapters.submissions import Accepted
from services.annotate.domain.work import TO_LABEL, ItemState


class ShapeOut(BaseModel):
    """A shape as it is kept."""

    id: str
    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None = None
    polygon: list[float] | None = None
    mask_rle: str | None = None
    confidence: float | None = None
    source: str = ""
    edited_from: str = ""


class ArtefactOut(BaseModel):
    """A version of something."""

    name: str
    version: int
    digest: str


class CountsOut(BaseModel):
    """How many items stand where."""

    queued: int
    submitted: int
    disputed: int
    accepted: int
    rejected: int
    done: int


class JobOut(BaseModel):
    """A labeling job."""

    job: str
    state: str
    """"pending", "in_progress", "on_review", "completed" or "stopped"."""
    version: int
    digest: str
    dataset: ArtefactOut
    items: int
    submitted: int
    """Items that no labeler has to look at any more."""
    counts: CountsOut
    classes: list[str]
    shapes: list[str]
    """What may be drawn; anything if empty."""
    instructions: str
    labelers: list[str]
    reviewers: list[str]
    review: bool
    priority: int
    deadline: str | None
    labelers_per_item: int
    quorum: int
    iou_min: float
    keeps_filling: bool
    where: str
    predictions: ArtefactOut | None
    confidence_min: float
    flow: str
    notify: list[str]
    lease_s: float
    opened_at: str
    changed_at: str
    run: str
    """Id of the run that opened it: its node in the workflow graph."""


class JobsOut(BaseModel):
    """Labeling jobs: those with a higher priority first, then the latest."""

    jobs: list[JobOut]


class LabelsOut(BaseModel):
    """What is said of an item."""

    labeler: str
    """Everybody who said it, joined by "+"."""
    labelers: list[str]
    version: int
    digest: str
    shapes: list[ShapeOut]
    tags: list[str]
    spent_s: float
    submitted_at: str


class ItemOut(BaseModel):
    """An item to label: its image is at `/v1/assets/{asset}`."""

    asset: str
    position: int
    width_px: int
    height_px: int
    media_type: str
    state: str
    """"queued", "annotating", "submitted", "disputed", "accepted" or "rejected"."""
    holder: str | None
    """Who works on it."""
    predicted: list[ShapeOut] | None
    """What a model saw; null if none looked."""
    predicted_by: str | None
    """Digest of that model."""
    labels: LabelsOut | None
    """What is said of it; what was sent back, too. Null if nothing, or nothing that you may see."""
    agreement: float | None
    """How far several labelers agreed, in [0, 1]."""
    reviewer: str | None
    comment: str
    """Of the reviewer."""


class ItemsOut(BaseModel):
    """A page of items."""

    items: list[ItemOut]
    next_cursor: str | None
    """Of the page behind it; null on the last one."""


class DraftOut(BaseModel):
    """What was drawn and not submitted."""

    shapes: list[ShapeOut]
    tags: list[str]
    spent_s: float
    revision: int
    saved_at: str


class LeasedOut(BaseModel):
    """An item that is yours for a while."""

    item: ItemOut
    leased_until: str
    lease_s: float
    """Saving a draft or asking for more renews it."""
    draft: DraftOut | None


class NextOut(BaseModel):
    """Items to work on, in order; fewer than asked for where there are no more."""

    items: list[LeasedOut]
    held: list[str]
    """Every item that you hold now, in order, with those not sent again."""
    remaining: int
    """Items that wait for anybody."""


class AcceptedOut(BaseModel):
    """Labels that are in the log."""

    asset: str
    version: int
    digest: str
    unchanged: bool
    next: NextOut | None = None


class RefusedOut(BaseModel):
    """Labels that are not, and why."""

    asset: str
    error: str


class BulkOut(BaseModel):
    """What became of each item of a bulk request: good ones beside bad ones are kept."""

    accepted: list[AcceptedOut]
    refused: list[RefusedOut]


class SavedOut(BaseModel):
    """A draft that is kept."""

    revision: int
    saved_at: str
    leased_until: str


class ReviewOut(BaseModel):
    """A review that is in the log."""

    asset: str
    verdict: str
    version: int
    next: NextOut | None = None


class HistoryOut(BaseModel):
    """One thing that was said of an item."""

    kind: str
    """"labels" or "review"."""
    version: int
    by: str
    at: str
    shapes: list[ShapeOut] | None
    tags: list[str]
    verdict: str | None
    comment: str
    spent_s: float
    shape_spent_s: dict[str, float]
    """Time on each shape, by its id."""
    shown_by: ArtefactOut | None
    """The model that was asked about this item alone, if one was."""


class HistoriesOut(BaseModel):
    """Everything that was said of an item, oldest first."""

    asset: str
    history: list[HistoryOut]


class PersonOut(BaseModel):
    """How one labeler does."""

    labeler: str
    items: int
    spent_s: float
    accepted: int
    rejected: int
    ground_truth_items: int
    ground_truth_score: float | None
    """Mean F1 against the truth, in [0, 1]."""
    agreement: float | None
    """Mean agreement with others on the same items, in [0, 1]."""


class KappaOut(BaseModel):
    """How far two people give the same classes."""

    a: str
    b: str
    items: int
    places: int
    kappa: float | None


class PeopleOut(BaseModel):
    """The labelers of a job, and how far they agree."""

    job: str
    labelers: list[PersonOut]
    pairs: list[KappaOut]
    """Cohen's kappa of each two."""
    fleiss_kappa: float | None
    """Over items that as many people labeled as the job asks for."""
    agreement: float | None


class WrongOut(BaseModel):
    """A place where a model and people differ."""

    job: str
    asset: str
    kind: str
    """"class" (another class), "missed" (the model saw nothing), "invented" (nothing is there),
    "moved" (the same thing, drawn otherwise)."""
    model: str
    """Digest of the model version."""
    predicted: ShapeOut | None
    label: ShapeOut | None
    iou: float
    labelers: list[str]


class WrongsOut(BaseModel):
    """Where models were wrong, in the order of the job's items."""

    wrong: list[WrongOut]
    looked_at: int
    """Items on this page that were shown with a prediction and labeled."""
    next_cursor: str | None


class PredictedOut(BaseModel):
    """What a model says of an item."""

    asset: str
    model: ArtefactOut
    shapes: list[ShapeOut]


class PreannotationOut(BaseModel):
    """A model being asked about a job's items."""

    job: str
    model: str
    state: str
    """"running", "completed" or "failed"."""
    total: int
    done: int
    failed: int
    error: str


class ToolOut(BaseModel):
    """Something that cuts out what is pointed at."""

    name: str
    kind: str
    """"built_in" or "model"."""
    prompts: list[str]
    """What it understands: "box", "points"."""
    about: str


class ToolsOut(BaseModel):
    """The tools there are."""

    tools: list[ToolOut]


class MaskOut(BaseModel):
    """What was cut out; everything null where nothing was found."""

    tool: str
    mask_rle: str | None
    bbox_xyxy: tuple[float, float, float, float] | None
    polygon: list[float] | None
    """The outline of its largest part, simplified."""
    score: float | None
    """How sure the tool is, in [0, 1]; null if it does not say."""
    elapsed_ms: float


class NotificationOut(BaseModel):
    """What became of telling one receiver."""

    id: str
    job: str
    type: str
    version: int
    receiver: str
    outcome: str
    """"delivered" or "failed"."""
    attempts: int
    detail: str
    at: str


class NotificationsOut(BaseModel):
    """Notifications that came to an end, the latest first."""

    notifications: list[NotificationOut]


class RedeliveredOut(BaseModel):
    """What is sent again."""

    job: str
    version: int
    receivers: list[str]


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
