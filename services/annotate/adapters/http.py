"""The HTTP API's bodies, its token, and the size it reads: FastAPI's side of annotate."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopline.errors import Rejected
from loopline.store.items import Shape
from services.annotate.adapters.board import Job
from services.annotate.adapters.items import JobItem, Labels
from services.annotate.adapters.submissions import Accepted, Proposal
from services.annotate.domain.shapes import LABELER_LENGTH_MAX, SHAPES_MAX

_CURSOR_PREFIX = "p"
SPENT_MAX_S = 7 * 86_400.0


class ShapeIn(BaseModel):
    """A shape as a client sends it."""

    model_config = ConfigDict(extra="forbid")

    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None = None
    polygon: list[float] | None = None
    mask_rle: str | None = None
    id: str = ""
    edited_from: str = ""

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


class LabelsIn(BaseModel):
    """Labels for one item."""

    model_config = ConfigDict(extra="forbid")

    labeler: str = Field(min_length=1, max_length=LABELER_LENGTH_MAX)
    shapes: list[ShapeIn] = Field(max_length=SHAPES_MAX)
    spent_s: float = Field(default=0.0, ge=0, le=SPENT_MAX_S)

    def proposal(self, asset: str) -> Proposal:
        """Return the labels as they are proposed for an asset."""
        shapes = tuple(shape.shape() for shape in self.shapes)
        return Proposal(asset, self.labeler, shapes, self.spent_s)


class ItemLabelsIn(BaseModel):
    """Labels for one item of a bulk request."""

    model_config = ConfigDict(extra="forbid")

    asset: str
    labeler: str = Field(default="", max_length=LABELER_LENGTH_MAX)
    """The request's labeler if empty."""
    shapes: list[ShapeIn] = Field(max_length=SHAPES_MAX)
    spent_s: float = Field(default=0.0, ge=0, le=SPENT_MAX_S)


class BulkIn(BaseModel):
    """Labels for many items."""

    model_config = ConfigDict(extra="forbid")

    labeler: str = Field(default="", max_length=LABELER_LENGTH_MAX)
    labels: list[ItemLabelsIn] = Field(min_length=1)

    def proposals(self) -> list[Proposal]:
        """Return the labels as they are proposed, in order."""
        return [
            Proposal(
                row.asset,
                row.labeler or self.labeler,
                tuple(shape.shape() for shape in row.shapes),
                row.spent_s,
            )
            for row in self.labels
        ]


class StopIn(BaseModel):
    """Who stops a job, and how."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(default="someone", min_length=1, max_length=LABELER_LENGTH_MAX)
    keep_labels: bool = True
    """Whether the labels made so far go into the dataset."""


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


class DatasetOut(BaseModel):
    """The dataset version a job is over."""

    name: str
    version: int
    digest: str


class JobOut(BaseModel):
    """A labeling job."""

    job: str
    state: str
    version: int
    digest: str
    dataset: DatasetOut
    items: int
    submitted: int
    classes: list[str]
    instructions: str
    opened_at: str
    changed_at: str


class JobsOut(BaseModel):
    """Every labeling job, the latest first."""

    jobs: list[JobOut]


class LabelsOut(BaseModel):
    """The last submission for an item."""

    labeler: str
    version: int
    digest: str
    shapes: list[ShapeOut]
    spent_s: float
    submitted_at: str


class ItemOut(BaseModel):
    """An item to label: its image is at `/v1/assets/{asset}`."""

    asset: str
    position: int
    width_px: int
    height_px: int
    media_type: str
    predicted: list[ShapeOut] | None
    labels: LabelsOut | None


class ItemsOut(BaseModel):
    """A page of items."""

    items: list[ItemOut]
    next_cursor: str | None
    """Of the page behind it; null on the last one."""


class AcceptedOut(BaseModel):
    """Labels that are in the log."""

    asset: str
    version: int
    digest: str
    unchanged: bool


class RefusedOut(BaseModel):
    """Labels that are not, and why."""

    asset: str
    error: str


class BulkOut(BaseModel):
    """What became of each item of a bulk request: good ones beside bad ones are kept."""

    accepted: list[AcceptedOut]
    refused: list[RefusedOut]


def job_out(job: Job) -> JobOut:
    """Return a job as the API says it."""
    asked = job.specification
    dataset = DatasetOut(
        name=asked.dataset.name, version=asked.dataset.version, digest=asked.dataset.digest
    )
    return JobOut(
        job=job.name,
        state=job.state.value,
        version=job.version,
        digest=job.digest,
        dataset=dataset,
        items=asked.items_count,
        submitted=job.submitted,
        classes=list(asked.classes),
        instructions=asked.instructions,
        opened_at=job.opened_at,
        changed_at=job.changed_at,
    )


def item_out(item: JobItem, labels: Labels | None) -> ItemOut:
    """Return an item as the API says it."""
    return ItemOut(
        asset=item.asset,
        position=item.position,
        width_px=item.width_px,
        height_px=item.height_px,
        media_type=item.media_type,
        predicted=None if item.predicted is None else _shapes_out(item.predicted),
        labels=_labels_out(labels) if labels is not None else None,
    )


def _labels_out(labels: Labels) -> LabelsOut:
    return LabelsOut(
        labeler=labels.labeler,
        version=labels.version,
        digest=labels.digest,
        shapes=_shapes_out(labels.shapes),
        spent_s=labels.spent_s,
        submitted_at=labels.submitted_at,
    )


def _shapes_out(shapes: Sequence[Shape]) -> list[ShapeOut]:
    return [
        ShapeOut(
            id=shape.id,
            class_name=shape.class_name,
            bbox_xyxy=shape.bbox_xyxy,
            polygon=None if shape.polygon is None else list(shape.polygon),
            mask_rle=shape.mask_rle,
            confidence=shape.confidence,
            source=shape.source,
            edited_from=shape.edited_from,
        )
        for shape in shapes
    ]


def accepted_out(accepted: Accepted) -> AcceptedOut:
    """Return an accepted submission as the API says it."""
    return AcceptedOut(
        asset=accepted.asset,
        version=accepted.version,
        digest=accepted.digest,
        unchanged=accepted.unchanged,
    )


def cursor_of(position: int) -> str:
    """Return the cursor behind an item."""
    return base64.urlsafe_b64encode(f"{_CURSOR_PREFIX}{position}".encode()).decode()


def position_of(cursor: str) -> int:
    """Return the position that a cursor stands for; -1 for none.

    Raises:
        Rejected: It was not made here.
    """
    if not cursor:
        return -1
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        if text.startswith(_CURSOR_PREFIX):
            return int(text.removeprefix(_CURSOR_PREFIX))
    except (binascii.Error, ValueError):
        pass
    raise Rejected(f"{cursor!r} is not a cursor of this API")


def token_check(token: SecretStr) -> Callable[[str], None]:
    """Return a dependency that asks for the bearer token; for none if `token` is empty."""
    wanted = token.get_secret_value()

    def check(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, given = authorization.partition(" ")
        if wanted and not (
            scheme.lower() == "bearer"
            and secrets.compare_digest(given.strip().encode(), wanted.encode())
        ):
            challenge = {"www-authenticate": "Bearer"}
            raise HTTPException(401, "a bearer token is needed", headers=challenge)

    return check


class BodyLimit:
    """ASGI middleware that refuses large bodies, announced or not."""

    def __init__(self, app: ASGIApp, size_max_bytes: int) -> None:
        self._app = app
        self._size_max_bytes = size_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._size_max_bytes:
            await self._refusal()(scope, receive, send)
            return
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._size_max_bytes:
                raise HTTPException(413, self._reason())
            return message

        await self._app(scope, counted, send)

    def _reason(self) -> str:
        return f"the body is larger than {self._size_max_bytes} bytes"

    def _refusal(self) -> JSONResponse:
        return JSONResponse({"error": self._reason()}, status_code=413)
