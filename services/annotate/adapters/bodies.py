"""What clients of the HTTP API send. Unknown fields are refused by name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from loopline.store.items import Shape
from services.annotate.adapters.desk import Draft
from services.annotate.adapters.messages import Changes
from services.annotate.adapters.reviews import COMMENT_LENGTH_MAX
from services.annotate.adapters.submissions import Proposal
from services.annotate.domain.jobs import INSTRUCTIONS_LENGTH_MAX, REOPENED_ASSETS_MAX
from services.annotate.domain.shapes import LABELER_LENGTH_MAX, SHAPES_MAX, TAGS_MAX

SPENT_MAX_S = 7 * 86_400.0
NEXT_MAX = 10  # items a person is given at once
LISTED_ITEMS_MAX = 200_000

Person = Annotated[str, Field(max_length=LABELER_LENGTH_MAX)]
Spent = Annotated[float, Field(ge=0, le=SPENT_MAX_S)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid")


class ShapeIn(Body):
    """A shape; without geometry it speaks of the whole image."""

    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom, px."""
    polygon: list[float] | None = None
    """x0, y0, x1, y1, ..., px."""
    mask_rle: str | None = None
    """COCO compressed run-length encoding over the whole image."""
    id: str = ""
    """Kept where given; the server makes one otherwise."""
    edited_from: str = ""
    """Id of the predicted shape, or of the dataset's, that it was made from."""
    spent_s: Spent = 0.0
    """Time on this shape."""

    def shape(self) -> Shape:
        """Return the domain's shape."""
        return Shape(
            id=self.id,
            class_name=self.class_name,
            bbox_xyxy=self.bbox_xyxy,
            polygon=None if self.polygon is None else tuple(self.polygon),
            mask_rle=self.mask_rle,
            edited_from=self.edited_from,
        )


class Drawn(Body):
    """Shapes and tags of one item."""

    shapes: list[ShapeIn] = Field(max_length=SHAPES_MAX)
    tags: list[str] = Field(default=[], max_length=TAGS_MAX)
    spent_s: Spent = 0.0

    def drawn_by(self, asset: str, labeler: str, *, by_reviewer: bool = False) -> Proposal:
        """Return the labels as they are proposed for an asset."""
        return Proposal(
            asset,
            labeler,
            tuple(shape.shape() for shape in self.shapes),
            self.spent_s,
            tuple(self.tags),
            {at: shape.spent_s for at, shape in enumerate(self.shapes)},
            by_reviewer,
        )


class LabelsIn(Drawn):
    """Labels for one item."""

    labeler: Person = ""
    """Only who shows the machine's own key may name somebody; others label in their own name."""
    next: int = Field(default=0, ge=0, le=NEXT_MAX)
    """How many items to hold after this one; the answer has those that are new."""
    holding: list[Digest] = Field(default=[], max_length=NEXT_MAX)
    """What the client has already: it is not sent again."""


class ItemLabelsIn(Drawn):
    """Labels for one item of a bulk request."""

    asset: str
    labeler: Person = ""
    """The request's labeler if empty."""


class BulkIn(Body):
    """Labels for many items."""

    labeler: Person = ""
    labels: list[ItemLabelsIn] = Field(min_length=1)


class NextIn(Body):
    """Asks for items to work on."""

    count: int = Field(default=1, ge=1, le=NEXT_MAX)
    """How many to hold, with those that the person holds already."""
    holding: list[Digest] = Field(default=[], max_length=NEXT_MAX)
    """What the client has already: it is renewed and not sent again."""
    labeler: Person = ""
    """Only for who shows the machine's own key."""


class ActorIn(Body):
    """Who does it: only for who shows the machine's own key."""

    labeler: Person = ""


class DraftIn(Drawn):
    """What was drawn so far."""

    revision: int = Field(default=0, ge=0, le=2**62)
    """Counted by the client; an older one than the one kept changes nothing."""
    labeler: Person = ""

    def draft(self, saved_at: str) -> Draft:
        """Return it as it is kept."""
        shapes = tuple(shape.shape() for shape in self.shapes)
        return Draft(shapes, tuple(self.tags), self.spent_s, self.revision, saved_at)


class ReviewIn(Body):
    """What a reviewer says of an item."""

    verdict: Literal["accepted", "rejected"]
    comment: str = Field(default="", max_length=COMMENT_LENGTH_MAX)
    labels_version: int = Field(ge=0)
    """The version of the labels that were looked at."""
    shapes: list[ShapeIn] | None = Field(default=None, max_length=SHAPES_MAX)
    """What it should be, if the reviewer mended it; only with "accepted"."""
    tags: list[str] = Field(default=[], max_length=TAGS_MAX)
    spent_s: Spent = 0.0
    reviewer: Person = ""
    """Only for who shows the machine's own key."""
    next: int = Field(default=0, ge=0, le=NEXT_MAX)
    holding: list[Digest] = Field(default=[], max_length=NEXT_MAX)


class StopIn(Body):
    """Who stops a job, and how."""

    actor: Person = ""
    """Only for who shows the machine's own key."""
    keep_labels: bool = True
    """Whether the labels made so far go into the dataset."""


class ReopenIn(Body):
    """Which items of a job that is over are to be labeled again."""

    actor: Person = ""
    assets: list[Digest] = Field(default=[], max_length=REOPENED_ASSETS_MAX)
    """None reopens every item."""


class JobIn(Body):
    """A job to open. Its items are listed, or chosen by a rule."""

    job: str
    dataset: str
    """"catalogue", "catalogue@v3"."""
    items: list[Digest] = Field(default=[], max_length=LISTED_ITEMS_MAX)
    """In the order to label."""
    where: str = ""
    """Rule (CEL over `item`, docs/flows.md) instead of a list; every item if both are empty."""
    limit: int = Field(default=LISTED_ITEMS_MAX, ge=1, le=LISTED_ITEMS_MAX)
    predictions: str = ""
    """Name of committed predictions to show: "catalogue-1f2e", "catalogue-1f2e@v2"."""
    confidence_min: Share = 0.0
    classes: list[str] = []
    """Those of the dataset if empty."""
    shapes: list[Literal["whole_image", "box", "polygon", "mask"]] = []
    """What may be drawn; anything if empty."""
    instructions: str = Field(default="", max_length=INSTRUCTIONS_LENGTH_MAX)
    labelers: list[str] = []
    reviewers: list[str] = []
    review: bool = False
    deadline: AwareDatetime | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    labelers_per_item: int = Field(default=1, ge=1, le=20)
    quorum: int = Field(default=0, ge=0, le=20)
    iou_min: Share = 0.0
    ground_truth: list[Digest] = Field(default=[], max_length=10_000)
    """Labeled items that are mixed in to score labelers."""
    ground_truth_every: int = Field(default=0, ge=0, le=10_000)
    keeps_filling: bool = False
    pending: bool = False
    webhook_url: str = ""
    notify: list[str] = []
    """"mailto:<address>", "chat:<name>"."""
    lease_s: float = Field(default=0.0, ge=0)
    start_empty: bool = False
    """Labelers do not see what the dataset version says of an item already."""
    actor: Person = ""
    """Only for who shows the machine's own key."""

    def deadline_at(self) -> datetime | None:
        """Return the deadline."""
        return self.deadline


class JobChangeIn(Body):
    """What changes of a job while it is worked; what is left out stays."""

    labelers: list[str] | None = None
    reviewers: list[str] | None = None
    deadline: AwareDatetime | Literal[""] | None = None
    """"" takes the one there is away."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    instructions: str | None = Field(default=None, max_length=INSTRUCTIONS_LENGTH_MAX)
    actor: Person = ""
    """Only for who shows the machine's own key."""

    def changes(self) -> Changes:
        """Return them as the service knows them."""
        return Changes(
            labelers=None if self.labelers is None else tuple(self.labelers),
            reviewers=None if self.reviewers is None else tuple(self.reviewers),
            deadline=self.deadline,
            priority=self.priority,
            instructions=self.instructions,
        )


class PredictIn(Body):
    """Which model to ask."""

    model: str
    """"catalogue", "catalogue@champion", "catalogue@v3"."""
    confidence_min: Share = 0.0
    keep: bool = True
    """Whether the answer is shown to whoever takes the item, instead of what was shown before."""


class PromptIn(Body):
    """A click."""

    x: float
    y: float
    positive: bool = True
    """Whether it is on the thing, or beside it."""


class MaskIn(Body):
    """What to cut out of an image."""

    asset: Digest
    tool: str = "grabcut"
    """"grabcut", "otsu", or a model that is deployed: see `GET /v1/assist/tools`."""
    bbox_xyxy: tuple[float, float, float, float] | None = None
    points: list[PromptIn] = Field(default=[], max_length=100)


class RedeliverIn(Body):
    """Which notification to send again."""

    version: int = Field(default=0, ge=0)
    """Of the job's commit; 0 for the last."""
    receiver: str = ""
    """As the job names it; empty for all of them."""
