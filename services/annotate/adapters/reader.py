"""Reads jobs, submissions and results from annotate's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Engine, RowMapping, and_, func, select

from loopline.contracts import OpenLabelingJob
from services.annotate.adapters.board import rules_of
from services.annotate.adapters.database import in_database
from services.annotate.adapters.messages import options_of
from services.annotate.adapters.rows import result_of, said_from
from services.annotate.adapters.tables import items, jobs, results, submissions
from services.annotate.domain.jobs import Options, State
from services.annotate.domain.work import Counts, ItemState, Result, Rules, Said, phase


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the rows have it.

    Attributes:
        sequence: Where in the log its last commit stands.
        run_id: The run that opened it.
        counts: How many items stand where.
        settled_sequence: The last commit that is in the dataset; 0 before the first time.
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
    counts: Counts
    settled_sequence: int

    @property
    def options(self) -> Options:
        """How it is worked."""
        return options_of(self.specification)

    @property
    def rules(self) -> Rules:
        """What makes an item done."""
        return rules_of(self.options)

    @property
    def submitted(self) -> int:
        """Items that no labeler has to look at any more."""
        return self.counts.of(ItemState.SUBMITTED, ItemState.DISPUTED, ItemState.ACCEPTED)

    @property
    def done(self) -> int:
        """Items that nobody has to look at any more."""
        return self.counts.of(*(state for state in ItemState if self.rules.is_done(state)))

    @property
    def phase(self) -> State:
        """The state it should be in while it is worked."""
        return phase(self.counts, self.rules)


@dataclass(frozen=True, slots=True)
class Submission:
    """One person's last word on one item of a job."""

    asset: str
    said: Said
    submitted_at: str
    ground_truth: bool
    shown: str | None
    shown_by: str
    accepted: int
    rejected: int


class BoardReader:
    """Reads the board."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def jobs(self) -> list[Job]:
        """Return every job: those with a higher priority first, then the latest."""
        return await in_database(self._jobs)

    async def job(self, name: str) -> Job | None:
        """Return a job, or None if there is none of that name."""
        return await in_database(self._job, name)

    async def result(self, job: str, asset: str) -> Result:
        """Return where an item stands."""
        return await in_database(self._result, job, asset)

    async def results(self, job: str) -> list[tuple[str, Result]]:
        """Return where every item stands that somebody said something of, by asset."""
        return await in_database(self._results, job)

    async def submissions(self, job: str, asset: str = "", labeler: str = "") -> list[Submission]:
        """Return each person's last word on the items of a job, by asset and version."""
        return await in_database(self._submissions, job, asset, labeler)

    async def submitted_by(self, job: str, labeler: str) -> int:
        """Return how many items a person has labeled in a job."""
        return await in_database(self._submitted_by, job, labeler)

    def _jobs(self) -> list[Job]:
        at = jobs.c
        found = select(jobs).order_by(at.priority.desc(), at.opened_at.desc(), at.job)
        with self._engine.connect() as connection:
            return [_job_of(row) for row in connection.execute(found).mappings()]

    def _job(self, name: str) -> Job | None:
        with self._engine.connect() as connection:
            found = connection.execute(select(jobs).where(jobs.c.job == name)).mappings()
            row = found.one_or_none()
            return _job_of(row) if row is not None else None

    def _result(self, job: str, asset: str) -> Result:
        found = select(results).where(results.c.job == job, results.c.asset == asset)
        with self._engine.connect() as connection:
            row = connection.execute(found).mappings().one_or_none()
            return result_of(row) if row is not None else Result()

    def _results(self, job: str) -> list[tuple[str, Result]]:
        found = select(results).where(results.c.job == job).order_by(results.c.asset)
        with self._engine.connect() as connection:
            rows = connection.execute(found).mappings()
            return [(row["asset"], result_of(row)) for row in rows]

    def _submissions(self, job: str, asset: str, labeler: str) -> list[Submission]:
        at = submissions.c
        found = select(submissions).where(at.job == job).order_by(at.asset, at.version)
        if asset:
            found = found.where(at.asset == asset)
        if labeler:
            found = found.where(at.labeler == labeler)
        with self._engine.connect() as connection:
            return [_submission_of(row) for row in connection.execute(found).mappings()]

    def _submitted_by(self, job: str, labeler: str) -> int:
        at = submissions.c
        found = select(func.count()).where(at.job == job, at.labeler == labeler)
        with self._engine.connect() as connection:
            return int(connection.execute(found).scalar_one())


@dataclass(frozen=True, slots=True)
class Shown:
    """What was predicted and what is said of an item, side by side."""

    asset: str
    position: int
    predicted: str | None
    predicted_by: str
    result: Result


class SideBySide:
    """Reads predictions beside results."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def page(self, job: str, after: int, limit: int) -> list[Shown]:
        """Return the items behind position `after` that were shown with a prediction and labeled.

        What a model showed for one item alone takes the place of the job's predictions.
        """
        return await in_database(self._page, job, after, limit)

    def _page(self, job: str, after: int, limit: int) -> list[Shown]:
        said = submissions.c
        of_item = and_(
            said.job == job, said.asset == items.c.asset, said.version == results.c.version
        )
        found = (
            select(results, items.c.position, items.c.predicted, items.c.predicted_by)
            .add_columns(said.shown, said.shown_by)
            .join_from(items, results, and_(results.c.job == job, results.c.asset == items.c.asset))
            .outerjoin(submissions, of_item)
            .where(items.c.job == job, items.c.position > after)
            .where(results.c.state.in_(_SAID))
            .where(items.c.predicted.is_not(None) | said.shown.is_not(None))
            .order_by(items.c.position)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_shown_of(row) for row in connection.execute(found).mappings()]


_SAID = [state.value for state in (ItemState.SUBMITTED, ItemState.DISPUTED, ItemState.ACCEPTED)]


def _shown_of(row: RowMapping) -> Shown:
    alone = row["shown"] is not None
    return Shown(
        asset=row["asset"],
        position=row["position"],
        predicted=row["shown"] if alone else row["predicted"],
        predicted_by=row["shown_by"] if alone else row["predicted_by"],
        result=result_of(row),
    )


def _job_of(row: RowMapping) -> Job:
    counts: dict[str, Any] = orjson.loads(row["counts"])
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
        counts=Counts(row["items"], counts),
        settled_sequence=row["settled_sequence"],
    )


def _submission_of(row: RowMapping) -> Submission:
    return Submission(
        asset=row["asset"],
        said=said_from(row),
        submitted_at=row["submitted_at"],
        ground_truth=bool(row["ground_truth"]),
        shown=row["shown"],
        shown_by=row["shown_by"],
        accepted=row["accepted"],
        rejected=row["rejected"],
    )
