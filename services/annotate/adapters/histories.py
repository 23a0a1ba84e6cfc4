"""Everything that was said of an item, and what became of a job, from the log itself."""

from __future__ import annotations

from datetime import UTC

from loopline.contracts import ItemReviewed, LabelsSubmitted, Verdict, catalog
from loopline.store.commits import CommitLog, Committed
from services.annotate.adapters.answers import HistoryOut, JobEventOut
from services.annotate.adapters.messages import shape_of, state_of
from services.annotate.adapters.presenting import artefact_out, shapes_out
from services.annotate.adapters.rows import moment


class Histories:
    """Reads what people said of items.

    Args:
        log: The log.
    """

    def __init__(self, log: CommitLog) -> None:
        self._log = log

    async def of_job(self, job: str) -> list[JobEventOut]:
        """Return what became of a job, oldest first: who opened, stopped and reopened it."""
        commits = await self._log.history(catalog.LABELING_JOB_COMMITTED, name=job)
        return [
            JobEventOut(
                version=one.ref.version,
                at=moment(one.commit.committed_at.ToDatetime(tzinfo=UTC)),
                by=one.commit.run.actor.name,
                state=state_of(one.message.state).value,
                summary=one.commit.summary,
                reopened=one.message.reopened,
            )
            for one in commits
        ]

    async def of(self, job: str, asset: str) -> list[HistoryOut]:
        """Return what was said of an item of a job, oldest first."""
        labels = await self._log.history(catalog.LABELS_SUBMITTED, job=job, asset=asset)
        reviews = await self._log.history(catalog.ITEM_REVIEWED, job=job, asset=asset)
        said = [(one.sequence, _labels(one)) for one in labels]
        said += [(one.sequence, _review(one)) for one in reviews]
        return [entry for _, entry in sorted(said, key=lambda row: row[0])]


def _labels(committed: Committed[LabelsSubmitted]) -> HistoryOut:
    message = committed.message
    return HistoryOut(
        kind="labels",
        version=committed.ref.version,
        by=message.labeler,
        at=moment(committed.commit.committed_at.ToDatetime(tzinfo=UTC)),
        shapes=shapes_out([shape_of(shape) for shape in message.shapes]),
        tags=list(message.tags),
        verdict=None,
        comment="",
        spent_s=message.spent_s,
        shape_spent_s=dict(message.shape_spent_s),
        shown_by=artefact_out(message.shown_by) if message.HasField("shown_by") else None,
    )


def _review(committed: Committed[ItemReviewed]) -> HistoryOut:
    message = committed.message
    return HistoryOut(
        kind="review",
        version=committed.ref.version,
        by=message.reviewer,
        at=moment(committed.commit.committed_at.ToDatetime(tzinfo=UTC)),
        shapes=None,
        tags=[],
        verdict=Verdict.Name(message.verdict).removeprefix("VERDICT_").lower(),
        comment=message.comment,
        spent_s=message.spent_s,
        shape_spent_s={},
        shown_by=None,
    )
