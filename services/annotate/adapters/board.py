"""Jobs, submissions and results as rows: the projection that counts, so that nothing costs a scan.

Its rows depend on the log alone. What can be done about an item (`places.wants`) is written in the
same transaction, so that nobody is given an item that is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, select, update

from loopline.contracts import (
    ItemReviewed,
    LabelingJobCommitted,
    LabelsSubmitted,
    Verdict,
    catalog,
)
from loopline.contracts import OpenLabelingJob as Asked
from loopline.store.commits import Committed
from loopline.store.database import insert_rows
from loopline.store.projections import Projection
from services.annotate.adapters import tables
from services.annotate.adapters.messages import options_of, said_of, shape_of, state_of
from services.annotate.adapters.rows import (
    moment,
    plain,
    result_of,
    result_row,
    said_from,
    shapes_text,
)
from services.annotate.domain.jobs import Options
from services.annotate.domain.work import (
    TO_LABEL,
    ItemState,
    Result,
    Rules,
    Said,
    reviewed,
    sent_back,
    submitted,
)

LABELS_SEQUENCE = "labels_sequence"
"""Figure of a job's settling run: the last commit that its dataset version holds."""
LABEL, REVIEW = "label", "review"

Key = tuple[str, str]  # job, asset


def rules_of(options: Options) -> Rules:
    """Return how a job is worked."""
    given = {"iou_min": options.iou_min} if options.iou_min else {}
    return Rules(options.labelers_per_item, options.quorum, review=options.review, **given)


def wants_of(state: ItemState, rules: Rules) -> str:
    """Return what can be done about an item."""
    if state in TO_LABEL:
        return LABEL
    return REVIEW if rules.awaits_review(state) else ""


class Board(Projection):
    """Rows of jobs, of the last submission of each person, and of where items stand."""

    name = "annotate"
    version = 2
    metadata = tables.board
    events = (catalog.LABELING_JOB_COMMITTED, catalog.LABELS_SUBMITTED, catalog.ITEM_REVIEWED)

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        """See `Projection`."""
        work = _Batch(connection, batch)
        for committed in batch:
            work.apply(committed)
        work.write()


@dataclass
class _Job:
    """A job's row while a batch is applied."""

    row: dict[str, Any]
    rules: Rules
    counts: Counter[str] = field(default_factory=Counter)


class _Batch:
    """Applies commits in order on rows in memory, and writes each changed row once."""

    def __init__(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        self._connection = connection
        self._jobs: dict[str, _Job] = {}
        self._results: dict[Key, Result] = {}
        self._changed_at: dict[Key, str] = {}
        self._said: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            LabelingJobCommitted: self._apply_job,
            LabelsSubmitted: self._apply_labels,
            ItemReviewed: self._apply_review,
        }
        keys = {
            (c.message.job, c.message.asset)
            for c in batch
            if not isinstance(c.message, LabelingJobCommitted)
        }
        self._read_results(keys)

    def apply(self, committed: Committed[Any]) -> None:
        """Apply one commit."""
        self._handlers[type(committed.message)](committed)

    def write(self) -> None:
        """Write what changed."""
        for job in self._jobs.values():
            counts = {str(state): count for state, count in (+job.counts).items()}
            job.row["counts"] = orjson.dumps(counts).decode()

        def write(table: Table, rows: list[dict[str, Any]]) -> None:
            insert_rows(self._connection, table, rows, on_conflict="replace")

        write(tables.jobs, [job.row for job in self._jobs.values()])
        write(tables.submissions, list(self._said.values()))
        changed = [result_row(*key, self._results[key], at) for key, at in self._changed_at.items()]
        write(tables.results, changed)
        self._tell_places()

    def _tell_places(self) -> None:
        rows = []
        for job, asset in self._changed_at:
            result, rules = self._results[job, asset], self._job(job).rules
            wants = wants_of(result.state, rules)
            rank = 0 if result.state is ItemState.REJECTED else 1
            rows.append(
                {
                    "b_job": job,
                    "b_asset": asset,
                    "wants": wants,
                    "rank": rank,
                    "round_after": result.round_after,
                }
            )
        if rows:
            at = tables.places.c
            self._connection.execute(
                update(tables.places).where(
                    at.job == bindparam("b_job"), at.asset == bindparam("b_asset")
                ),
                rows,
            )

    def _apply_job(self, committed: Committed[LabelingJobCommitted]) -> None:
        message, commit = committed.message, committed.commit
        name, at = commit.artefact.name, moment(commit.committed_at.ToDatetime(tzinfo=UTC))
        job = self._find_job(name)
        if job is None:
            job = self._opened(committed, at)
        if message.reopened:
            self._reopen(job, message.reopened_assets, committed.sequence, at)
        job.row |= {
            "version": commit.artefact.version,
            "sequence": committed.sequence,
            "state": state_of(message.state).value,
            "items": message.items_total or job.row["items"],
            # Who is asked, until when and how urgently can change while it is worked.
            "priority": message.specification.priority,
            "specification": message.specification.SerializeToString(),
            "changed_at": at,
        }
        if LABELS_SEQUENCE in commit.run.figures:
            job.row["settled_sequence"] = int(commit.run.figures[LABELS_SEQUENCE])

    def _opened(self, committed: Committed[LabelingJobCommitted], at: str) -> _Job:
        commit, asked = committed.commit, committed.message.specification
        row = {
            "job": commit.artefact.name,
            "digest": commit.artefact.digest,
            "run_id": commit.run.id,
            "priority": asked.priority,
            "specification": asked.SerializeToString(),
            "items": asked.items_count,
            "opened_at": at,
            "settled_sequence": 0,
        }
        job = self._jobs[commit.artefact.name] = _Job(row, rules_of(options_of(asked)))
        return job

    def _apply_labels(self, committed: Committed[LabelsSubmitted]) -> None:
        message = committed.message
        key, said = (message.job, message.asset), said_of(message, committed.sequence)
        at = moment(committed.commit.committed_at.ToDatetime(tzinfo=UTC))
        result, job = self._results.get(key, Result()), self._job(message.job)
        if not message.ground_truth:
            others = {}
            if job.rules.labelers_per_item > 1:
                others = self._others(key, result.round_after)
            self._put(key, submitted(result, said, others, job.rules), at)
        row = _submission_row(message, said, at)
        before = self._said.get((*key, said.labeler)) or self._submission(key, said.labeler)
        row |= {name: before[name] if before else 0 for name in ("accepted", "rejected")}
        self._said[*key, said.labeler] = row

    def _apply_review(self, committed: Committed[ItemReviewed]) -> None:
        message = committed.message
        key, accepted = (
            (message.job, message.asset),
            message.verdict == Verdict.VERDICT_ACCEPTED,
        )
        at = moment(committed.commit.committed_at.ToDatetime(tzinfo=UTC))
        before = self._results.get(key, Result())
        after = reviewed(
            before,
            accepted=accepted,
            reviewer=message.reviewer,
            comment=message.comment,
            version=message.labels_version,
            sequence=committed.sequence,
        )
        if after is before:
            return
        self._put(key, after, at)
        for labeler in before.labelers:
            row = self._said.get((*key, labeler)) or self._submission(key, labeler)
            if row is not None:
                row["accepted" if accepted else "rejected"] += 1
                self._said[*key, labeler] = row

    def _reopen(self, job: _Job, assets: Sequence[str], sequence: int, at: str) -> None:
        name = job.row["job"]
        if assets:
            self._read_results({(name, asset) for asset in assets} - set(self._results))
        else:
            found = select(tables.results.c.asset).where(tables.results.c.job == name)
            every = {(name, asset) for asset in self._connection.execute(found).scalars()}
            self._read_results(every - set(self._results))
        wanted = set(assets)
        for key, result in list(self._results.items()):
            if key[0] == name and (not wanted or key[1] in wanted):
                self._put(key, sent_back(result, sequence), at)

    def _put(self, key: Key, after: Result, at: str) -> None:
        job, before = self._job(key[0]), self._results.get(key)
        if before is not None:
            job.counts[before.state.value] -= 1
        job.counts[after.state.value] += 1
        self._results[key], self._changed_at[key] = after, at

    def _job(self, name: str) -> _Job:
        job = self._find_job(name)
        if job is None:
            raise LookupError(f"there is no labeling job {name}")
        return job

    def _find_job(self, name: str) -> _Job | None:
        if name not in self._jobs:
            found = select(tables.jobs).where(tables.jobs.c.job == name)
            row = self._connection.execute(found).mappings().one_or_none()
            if row is None:
                return None
            options = options_of(Asked.FromString(bytes(row["specification"])))
            counts = Counter(orjson.loads(row["counts"]))
            self._jobs[name] = _Job(plain(row), rules_of(options), counts)
        return self._jobs[name]

    def _read_results(self, keys: set[Key]) -> None:
        by_job: dict[str, list[str]] = {}
        for job, asset in keys:
            by_job.setdefault(job, []).append(asset)
        at = tables.results.c
        for job, assets in by_job.items():
            for start in range(0, len(assets), _KEYS_AT_ONCE):
                some = assets[start : start + _KEYS_AT_ONCE]
                found = select(tables.results).where(at.job == job, at.asset.in_(some))
                for row in self._connection.execute(found).mappings():
                    self._results[job, row["asset"]] = result_of(row)

    def _submission(self, key: Key, labeler: str) -> dict[str, Any] | None:
        at = tables.submissions.c
        found = select(tables.submissions).where(
            at.job == key[0], at.asset == key[1], at.labeler == labeler
        )
        row = self._connection.execute(found).mappings().one_or_none()
        return plain(row) if row is not None else None

    def _others(self, key: Key, after: int) -> dict[str, Said]:
        at = tables.submissions.c
        found = select(tables.submissions).where(at.job == key[0], at.asset == key[1])
        rows = {row["labeler"]: plain(row) for row in self._connection.execute(found).mappings()}
        rows |= {who: row for (*known, who), row in self._said.items() if tuple(known) == key}
        return {
            labeler: said_from(row)
            for labeler, row in rows.items()
            if row["sequence"] > after and not row["by_reviewer"]
        }


_KEYS_AT_ONCE = 500  # of a query: SQLite allows 999 variables in its oldest builds


def _submission_row(message: LabelsSubmitted, said: Said, at: str) -> dict[str, Any]:
    values = asdict(said)
    shown = [shape_of(shape) for shape in message.shown]
    return values | {
        "job": message.job,
        "asset": message.asset,
        "shapes": shapes_text(said.shapes),
        "tags": orjson.dumps(said.tags).decode(),
        "submitted_at": at,
        "ground_truth": message.ground_truth,
        "shown": shapes_text(shown) if message.HasField("shown_by") else None,
        "shown_by": message.shown_by.digest,
    }
