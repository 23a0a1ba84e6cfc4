"""Jobs and submissions as rows: the projection that counts, so that no submission costs a scan.

Its rows depend on the log alone. The items of a job, which come from immutable objects, are kept
beside it (`items`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    select,
    update,
)

from loopline.contracts import LabelingJobCommitted, LabelsSubmitted, OpenLabelingJob, catalog
from loopline.store.commits import Committed
from loopline.store.database import insert_rows
from loopline.store.projections import Projection
from services.annotate.adapters.database import in_database
from services.annotate.adapters.messages import shape_of, state_of
from services.annotate.domain.jobs import State
from services.annotate.domain.shapes import shape_content

LABELS_SEQUENCE = "labels_sequence"
"""Figure of a job's closing run: the last submission that its dataset version holds."""

metadata = MetaData()
jobs = Table(
    "annotate_jobs",
    metadata,
    Column("job", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("state", String, nullable=False),
    Column("specification", LargeBinary, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("changed_at", String, nullable=False),
    Column("submitted", BigInteger, nullable=False),
    Column("settled_sequence", BigInteger, nullable=False),
)
submissions = Table(
    "annotate_submissions",
    metadata,
    Column("job", String, primary_key=True),
    Column("asset", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("labeler", Text, nullable=False),
    Column("shapes", Text, nullable=False),
    Column("spent_s", Float, nullable=False),
    Column("submitted_at", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the rows have it.

    Attributes:
        sequence: Where in the log its last commit stands.
        run_id: The run that opened it.
        submitted: Items that have a submission.
        settled_sequence: The last submission that is in the dataset; 0 while the job runs.
    """

    name: str
    version: int
    sequence: int
    digest: str
    run_id: str
    state: State
    specification: OpenLabelingJob
    opened_at: str
    changed_at: str
    submitted: int
    settled_sequence: int

    @property
    def all_submitted(self) -> bool:
        """Whether every item has a submission."""
        return self.submitted >= self.specification.items_count


class Board(Projection):
    """Rows of jobs and of the last submission per item."""

    name = "annotate"
    version = 1
    metadata = metadata
    events = (catalog.LABELING_JOB_COMMITTED, catalog.LABELS_SUBMITTED)

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        """See `Projection`."""
        for committed in batch:
            if isinstance(committed.message, LabelingJobCommitted):
                _apply_job(connection, committed)
        # After the jobs: a batch may open a job and hold its first submissions.
        _apply_submissions(connection, [c for c in batch if isinstance(c.message, LabelsSubmitted)])


def _apply_job(connection: Connection, committed: Committed[LabelingJobCommitted]) -> None:
    message, commit = committed.message, committed.commit
    changed = {
        "version": commit.artefact.version,
        "sequence": committed.sequence,
        "state": state_of(message.state).value,
        "changed_at": _moment(commit.committed_at.ToDatetime(tzinfo=UTC)),
        "settled_sequence": int(commit.run.figures.get(LABELS_SEQUENCE, 0)),
    }
    known = connection.execute(
        update(jobs).where(jobs.c.job == commit.artefact.name).values(**changed)
    )
    if known.rowcount:
        return
    opened = {
        "job": commit.artefact.name,
        "digest": commit.artefact.digest,
        "run_id": commit.run.id,
        "specification": message.specification.SerializeToString(),
        "opened_at": changed["changed_at"],
        "submitted": 0,
    }
    insert_rows(connection, jobs, [opened | changed])


def _apply_submissions(connection: Connection, batch: Sequence[Committed[LabelsSubmitted]]) -> None:
    if not batch:
        return
    rows = {(c.message.job, c.message.asset): _submission_row(c) for c in batch}
    new = Counter(job for job, asset in set(rows) - _known(connection, list(rows)))
    insert_rows(connection, submissions, list(rows.values()), on_conflict="replace")
    for job, count in new.items():
        connection.execute(
            update(jobs).where(jobs.c.job == job).values(submitted=jobs.c.submitted + count)
        )


def _known(connection: Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    by_job: dict[str, list[str]] = {}
    for job, asset in keys:
        by_job.setdefault(job, []).append(asset)
    known: set[tuple[str, str]] = set()
    for job, assets in by_job.items():
        found = select(submissions.c.asset).where(
            submissions.c.job == job, submissions.c.asset.in_(assets)
        )
        known |= {(job, asset) for asset in connection.execute(found).scalars()}
    return known


def _submission_row(committed: Committed[LabelsSubmitted]) -> dict[str, Any]:
    message, commit = committed.message, committed.commit
    shapes = [shape_content(shape_of(shape)) for shape in message.shapes]
    return {
        "job": message.job,
        "asset": message.asset,
        "version": commit.artefact.version,
        "sequence": committed.sequence,
        "digest": commit.artefact.digest,
        "labeler": message.labeler,
        "shapes": orjson.dumps(shapes).decode(),
        "spent_s": message.spent_s,
        "submitted_at": _moment(commit.committed_at.ToDatetime(tzinfo=UTC)),
    }


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


class BoardReader:
    """Reads the board."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def jobs(self) -> list[Job]:
        """Return every job, the latest first."""
        return await in_database(self._jobs)

    async def job(self, name: str) -> Job | None:
        """Return a job, or None if there is none of that name."""
        return await in_database(self._job, name)

    def _jobs(self) -> list[Job]:
        with self._engine.connect() as connection:
            found = connection.execute(select(jobs).order_by(jobs.c.opened_at.desc(), jobs.c.job))
            return [_job_of(row) for row in found.mappings()]

    def _job(self, name: str) -> Job | None:
        with self._engine.connect() as connection:
            found = connection.execute(select(jobs).where(jobs.c.job == name)).mappings()
            row = found.one_or_none()
            return _job_of(row) if row is not None else None


def _job_of(row: RowMapping) -> Job:
    return Job(
        name=row["job"],
        version=row["version"],
        sequence=row["sequence"],
        digest=row["digest"],
        run_id=row["run_id"],
        state=State(row["state"]),
        specification=OpenLabelingJob.FromString(bytes(row["specification"])),
        opened_at=row["opened_at"],
        changed_at=row["changed_at"],
        submitted=row["submitted"],
        settled_sequence=row["settled_sequence"],
    )
