"""What the HTTP API answers. Fields are added, never renamed."""

from __future__ import annotations

from pydantic import BaseModel


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
    start_empty: bool
    """Whether labelers begin each item on an empty canvas."""
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
    existing: list[ShapeOut]
    """What the dataset version says of it, to start from. What comes back unchanged stays whose it
    was, by its id; a shape of its id that differs is an edit of it."""
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


class JobEventOut(BaseModel):
    """One thing that became of a job."""

    version: int
    at: str
    by: str
    state: str
    summary: str
    reopened: bool


class JobHistoryOut(BaseModel):
    """Everything that became of a job, oldest first."""

    job: str
    history: list[JobEventOut]


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


class LabelStudioOut(BaseModel):
    """A job in Label Studio."""

    job: str
    project: int
    url: str
    """Where people work."""
    tasks: int
    added: int


class PulledOut(BaseModel):
    """What came back from Label Studio."""

    job: str
    accepted: int
    """Annotations that are labels of the job now; those it had already among them."""
    refused: list[RefusedOut]


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
