"""Between the contracts' messages and the domain: protobuf stops here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from loopline import contracts as c
from loopline.contracts import JobState, OpenLabelingJob
from loopline.store.items import Shape
from services.annotate.domain.jobs import JobStatus, Options, Specification, State
from services.annotate.domain.work import Said

_STATES = {
    JobState.JOB_STATE_PENDING: State.PENDING,
    JobState.JOB_STATE_IN_PROGRESS: State.IN_PROGRESS,
    JobState.JOB_STATE_ON_REVIEW: State.ON_REVIEW,
    JobState.JOB_STATE_COMPLETED: State.COMPLETED,
    JobState.JOB_STATE_STOPPED: State.STOPPED,
}
_NUMBERS = {state: number for number, state in _STATES.items()}


def state_of(number: JobState) -> State:
    """Return the domain's state."""
    return _STATES[number]


def state_number(state: State) -> JobState:
    """Return the contract's state."""
    return _NUMBERS[state]


def specification_of(command: OpenLabelingJob) -> Specification:
    """Return what a command asks for; who asks, and by which flow, is not part of it."""
    deadline = ""
    if command.HasField("deadline"):
        deadline = command.deadline.ToDatetime(tzinfo=UTC).isoformat()
    return Specification(
        job=command.job,
        dataset=command.dataset.name,
        dataset_version=command.dataset.version,
        dataset_digest=command.dataset.digest,
        items_digest=command.items_digest,
        items_count=command.items_count,
        predictions_digest=command.predictions_tree.digest or command.predictions.digest,
        instructions=command.instructions,
        classes=tuple(command.classes),
        webhook_url=command.webhook_url,
        deadline=deadline,
        options=options_of(command),
    )


def options_of(command: OpenLabelingJob) -> Options:
    """Return how a command wants the job worked."""
    return Options(
        shapes=tuple(command.shapes),
        labelers=tuple(command.labelers),
        reviewers=tuple(command.reviewers),
        review=command.review,
        priority=command.priority,
        labelers_per_item=command.labelers_per_item or 1,
        quorum=command.quorum,
        iou_min=command.iou_min,
        ground_truth_digest=command.ground_truth_digest,
        ground_truth_count=command.ground_truth_count,
        ground_truth_every=command.ground_truth_every,
        keeps_filling=command.keeps_filling,
        where=command.where,
        pending=command.pending,
        confidence_min=command.confidence_min,
        notify=tuple(command.notify),
        lease_s=command.lease_s,
        start_empty=command.start_empty,
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a job can change while it is worked; None leaves it as it is.

    Attributes:
        labelers: Who labels; everybody with the role if empty.
        reviewers: Who reviews, likewise.
        deadline: When it should be done; "" for at no given time any more.
        priority: Higher ones come first.
        instructions: For people.
    """

    labelers: tuple[str, ...] | None = None
    reviewers: tuple[str, ...] | None = None
    deadline: datetime | Literal[""] | None = None
    priority: int | None = None
    instructions: str | None = None

    def told(self, command: OpenLabelingJob) -> dict[str, object]:
        """Return what changes of a command, as JSON values."""
        asked = self.applied(command)
        values = {
            name: getattr(self, name)
            for name in self.__slots__
            if getattr(asked, name) != getattr(command, name)
        }
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
        }

    def applied(self, command: OpenLabelingJob) -> OpenLabelingJob:
        """Return the command as it is from now on."""
        made = OpenLabelingJob()
        made.CopyFrom(command)
        for name in ("labelers", "reviewers"):
            if (people := getattr(self, name)) is not None:
                made.ClearField(name)
                getattr(made, name).extend(people)
        if self.deadline == "":
            made.ClearField("deadline")
        elif self.deadline is not None:
            made.deadline.FromDatetime(self.deadline)
        if self.priority is not None:
            made.priority = self.priority
        if self.instructions is not None:
            made.instructions = self.instructions
        return made


def status_of(message: c.LabelingJobCommitted) -> JobStatus:
    """Return where a job stands."""
    return JobStatus(state_of(message.state), message.commit.artefact.digest)


def said_of(message: c.LabelsSubmitted, sequence: int) -> Said:
    """Return a committed submission."""
    return Said(
        labeler=message.labeler,
        version=message.commit.artefact.version,
        digest=message.commit.artefact.digest,
        shapes=tuple(shape_of(shape) for shape in message.shapes),
        tags=tuple(message.tags),
        spent_s=message.spent_s,
        sequence=sequence,
        by_reviewer=message.by_reviewer,
    )


def shape_of(message: c.Shape) -> Shape:
    """Return the domain's shape."""
    geometry = message.WhichOneof("geometry")
    box = message.bbox_xyxy
    return Shape(
        id=message.id,
        class_name=message.class_name,
        bbox_xyxy=(box.x_min, box.y_min, box.x_max, box.y_max) if geometry == "bbox_xyxy" else None,
        polygon=tuple(message.polygon.points) if geometry == "polygon" else None,
        mask_rle=message.mask.rle if geometry == "mask" else None,
        confidence=message.confidence if message.HasField("confidence") else None,
        source=message.source,
        edited_from=message.edited_from,
        review=message.review,
    )


def shape_message(shape: Shape) -> c.Shape:
    """Return the contract's shape."""
    message = c.Shape(
        id=shape.id,
        class_name=shape.class_name,
        confidence=shape.confidence,
        source=shape.source,
        edited_from=shape.edited_from,
        review=shape.review,
    )
    if shape.bbox_xyxy is not None:
        x_min, y_min, x_max, y_max = shape.bbox_xyxy
        message.bbox_xyxy.CopyFrom(
            c.BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
        )
    elif shape.polygon is not None:
        message.polygon.points.extend(shape.polygon)
    elif shape.mask_rle is not None:
        message.mask.rle = shape.mask_rle
    return message
