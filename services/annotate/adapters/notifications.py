"""What receivers are told of a job's commit, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    LabelingJobCommitted,
    NotificationSent,
    SendNotification,
    catalog,
)
from loopline.contracts import OpenLabelingJob as Asked
from loopline.store.commits import CommitLog, Committed
from loopline.store.logstore import LogStore, Record
from services.annotate.adapters.answers import NotificationOut
from services.annotate.adapters.board import LABELS_SEQUENCE
from services.annotate.adapters.messages import state_of
from services.annotate.adapters.rows import moment
from services.annotate.domain.jobs import State
from services.annotate.domain.webhooks import Notification, notification

_TYPES = {
    State.PENDING: "labeling_job.pending",
    State.ON_REVIEW: "labeling_job.on_review",
    State.COMPLETED: "labeling_job.completed",
    State.STOPPED: "labeling_job.stopped",
}


def receivers_of(asked: Asked) -> list[str]:
    """Return who wants to hear of a job."""
    return [*([asked.webhook_url] if asked.webhook_url else []), *asked.notify]


def type_of(event: LabelingJobCommitted) -> str:
    """Return what happened: "labeling_job.opened", ...; "" if nobody wants to hear of it."""
    state = state_of(event.state)
    if event.reopened:
        return "labeling_job.reopened"
    if event.HasField("addition"):
        return "labeling_job.filled"
    if state is State.IN_PROGRESS:
        if LABELS_SEQUENCE in event.commit.run.figures:
            return "labeling_job.settled"
        return "labeling_job.opened" if event.commit.artefact.version == 1 else ""
    return _TYPES[state]


def notification_of(event: LabelingJobCommitted, receiver: str) -> Notification:
    """Return what to tell a receiver of a commit."""
    asked, commit, items = event.specification, event.commit, event.items_total
    data: dict[str, object] = {
        "workspace": commit.workspace,
        "job": commit.artefact.name,
        "version": commit.artefact.version,
        "state": state_of(event.state).value,
        "summary": commit.summary,
        "items": items or asked.items_count,
        "classes": list(asked.classes),
        "instructions": asked.instructions,
        "dataset": _ref(asked.dataset),
        "figures": dict(commit.run.figures),
    }
    labeled = next((ref for ref in commit.run.inputs if ref.role == "labeled"), None)
    if labeled is not None:
        data["labeled"] = _ref(labeled)
    return notification(
        receiver,
        type_of(event),
        f"{commit.workspace}/{commit.artefact.name}/{commit.artefact.digest}",
        commit.artefact.version,
        commit.committed_at.ToDatetime(tzinfo=UTC),
        data,
    )


def _ref(ref: ArtefactRef) -> dict[str, object]:
    return {"name": ref.name, "version": ref.version, "digest": ref.digest}


class Notifications:
    """Finds what to tell, and what was told.

    Args:
        log: Commits of jobs.
        events: What became of notifications.
    """

    def __init__(self, log: CommitLog, events: LogStore) -> None:
        self._log = log
        self._events = events

    async def commit(self, job: str, version: int) -> Committed[LabelingJobCommitted]:
        """Return a version of a job, the last one for 0; NotFound if there is none."""
        kind = ArtefactKind.ARTEFACT_KIND_LABELING_JOB
        ref = ArtefactRef(kind=kind, name=job, version=version)
        return await self._log.version(catalog.LABELING_JOB_COMMITTED, ref, name=job)

    async def asked(self, command: SendNotification) -> Notification:
        """Return what a command wants told."""
        committed = await self.commit(command.job, command.version)
        return notification_of(committed.message, command.receiver)

    async def told(self, job: str) -> list[NotificationOut]:
        """Return what became of a job's notifications, the latest first; old ones age out."""
        subject = catalog.NOTIFICATION_SENT.subject(self._log.workspace, job=job)
        found = [_told(record) async for record in self._events.read([subject])]
        return found[::-1]


def _told(record: Record) -> NotificationOut:
    sent = NotificationSent.FromString(record.data)
    at = record.headers.get("ce-time", "")
    return NotificationOut(
        id=sent.id,
        job=sent.job,
        type=sent.type,
        version=sent.version,
        receiver=sent.url,
        outcome=sent.outcome,
        attempts=sent.attempts,
        detail=sent.detail,
        at=moment(datetime.fromisoformat(at)) if at else "",
    )
