"""What a webhook is told of a job's commit."""

from __future__ import annotations

from datetime import UTC

from loopline.contracts import ArtefactRef, LabelingJobCommitted
from services.annotate.adapters.messages import state_of
from services.annotate.domain.jobs import State
from services.annotate.domain.webhooks import Notification, notification

_TYPES = {
    State.IN_PROGRESS: "labeling_job.opened",
    State.COMPLETED: "labeling_job.completed",
    State.STOPPED: "labeling_job.stopped",
}


def notification_of(event: LabelingJobCommitted) -> Notification | None:
    """Return what to tell of a commit; None if nobody wants to hear of it."""
    state, asked, commit = state_of(event.state), event.specification, event.commit
    if not asked.webhook_url or state not in _TYPES:
        return None
    data: dict[str, object] = {
        "workspace": commit.workspace,
        "job": commit.artefact.name,
        "version": commit.artefact.version,
        "state": state.value,
        "summary": commit.summary,
        "items": asked.items_count,
        "classes": list(asked.classes),
        "instructions": asked.instructions,
        "dataset": _ref(asked.dataset),
        "figures": dict(commit.run.figures),
    }
    labeled = next((ref for ref in commit.run.inputs if ref.role == "labeled"), None)
    if labeled is not None:
        data["labeled"] = _ref(labeled)
    return notification(
        asked.webhook_url,
        _TYPES[state],
        f"{commit.workspace}/{commit.artefact.name}/{commit.artefact.digest}",
        commit.artefact.version,
        commit.committed_at.ToDatetime(tzinfo=UTC),
        data,
    )


def _ref(ref: ArtefactRef) -> dict[str, object]:
    return {"name": ref.name, "version": ref.version, "digest": ref.digest}
