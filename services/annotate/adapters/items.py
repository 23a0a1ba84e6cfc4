"""The items of jobs as rows: position, image size, the prediction that is shown, the truth hidden.

A cache of immutable objects: filled once per commit that brought items, never changed, and may be
emptied at any time. What can be done about each item is put beside it, from the board.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    Table,
    and_,
    inspect,
    or_,
    select,
    update,
)

from loopline.store.database import insert_rows, writer
from loopline.store.items import Item, Prediction, Shape
from services.annotate.adapters import tables
from services.annotate.adapters.board import LABEL, wants_of
from services.annotate.adapters.database import in_database
from services.annotate.adapters.rows import result_of, shapes_from, shapes_text
from services.annotate.adapters.tables import items, places, results, submissions, suggestions
from services.annotate.domain.work import ItemState, Result, Rules

ROWS_AT_ONCE = 2_000

StateFilter = Literal[
    "todo", "queued", "annotating", "submitted", "disputed", "accepted", "rejected"
]
_COUNTED = [s.value for s in (ItemState.SUBMITTED, ItemState.DISPUTED, ItemState.ACCEPTED)]


@dataclass(frozen=True, slots=True)
class JobItem:
    """One item of a job.

    Attributes:
        asset: Digest of its image.
        position: Its place in the order to label, from 0.
        predicted: The shapes shown; None if nothing was predicted for it.
        predicted_by: Digest of the model; "" if none.
        shown_alone: Whether that was predicted for this item alone, beside the job's predictions.
        truth: What is on it, if it scores labelers; None for an item of the job.
        existing: What the dataset version says of it, to start from; empty if nothing.
        result: Where it stands.
        holder: Who holds it; "" for nobody.
        held_for: "label" or "review".
        held_until: Until when, seconds since the epoch.
        changed_at: When it was last said or reviewed; "" if never.
    """

    asset: str
    position: int
    width_px: int
    height_px: int
    media_type: str
    predicted: tuple[Shape, ...] | None
    predicted_by: str
    shown_alone: bool
    truth: tuple[Shape, ...] | None
    existing: tuple[Shape, ...]
    result: Result
    holder: str
    held_for: str
    held_until: float
    changed_at: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that one commit brought to a job.

    Args:
        job: The job.
        version: Of the job's commit.
        first: Position of the first one.
        assets: In the order to label.
        items: Of every asset, and of those in `truth`.
        predictions: Of those that have one.
        predicted_by: Digest of the model.
        confidence_min: Shapes below are not shown.
        truth: Assets that score labelers.
        starts_empty: Whether labelers do not see what the dataset version says already.
    """

    job: str
    version: int
    first: int
    assets: Sequence[str]
    items: Mapping[str, Item]
    predictions: Mapping[str, Prediction]
    predicted_by: str = ""
    confidence_min: float = 0.0
    truth: Sequence[str] = ()
    starts_empty: bool = False


class ItemRows:
    """Fills and reads the items of jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = writer(engine)

    async def open(self) -> None:
        """Make the tables if they are not there."""
        await in_database(self._open)

    async def filled(self, job: str) -> dict[int, int]:
        """Return how many items are there of each commit that brought some."""
        return await in_database(self._filled, job)

    async def fill(self, batch: Batch, rules: Rules) -> None:
        """Keep items of a job; does nothing if they are there."""
        await in_database(self._fill, batch, rules)

    async def get(self, job: str, assets: Sequence[str]) -> dict[str, JobItem]:
        """Return those of `assets` that are in the job, by asset."""
        return await in_database(self._get, job, assets)

    async def all_assets(self, job: str) -> set[str]:
        """Return every asset of a job."""
        return await in_database(self._all_assets, job)

    async def truths(self, job: str) -> dict[str, tuple[Shape, ...]]:
        """Return what is on the items that score labelers, by asset."""
        return await in_database(self._truths, job)

    async def page(
        self, job: str, *, state: StateFilter | None, now_s: float, after: int, limit: int,
        labeler: str = "",
    ) -> list[JobItem]:  # fmt: skip
        """Return items behind position `after` (-1 from the start) in order.

        Args:
            job: The job.
            state: Only those that stand there.
            now_s: Now, seconds since the epoch: who held an item longer holds it no more.
            after: Position of the last item of the page before.
            limit: How many at most.
            labeler: Only those that this person labeled.
        """
        return await in_database(self._page, job, state, now_s, after, limit, labeler)

    def _open(self) -> None:
        self._drop_old_cache()
        tables.cache.create_all(self._writer)
        tables.desk.create_all(self._writer)
        tables.board.create_all(self._writer)

    def _drop_old_cache(self) -> None:
        """Make room for the cache as it is now, where an older release left another one."""
        there = inspect(self._engine)
        for table in tables.cache.sorted_tables:
            if not there.has_table(table.name):
                continue
            columns = {column["name"] for column in there.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                tables.cache.drop_all(self._writer)
                return

    def _filled(self, job: str) -> dict[int, int]:
        at = tables.filled.c
        with self._engine.connect() as connection:
            rows = connection.execute(select(at.version, at["items"]).where(at.job == job))
            return {row[0]: row[1] for row in rows}

    def _fill(self, batch: Batch, rules: Rules) -> None:
        rows = list(_rows(batch))
        with self._writer.begin() as connection:
            for some in _parts(rows):
                insert_rows(connection, items, some, on_conflict="keep")
                insert_rows(connection, places, [_place(row) for row in some], on_conflict="keep")
            _place_as_they_stand(connection, batch.job, rules)
            done = {"job": batch.job, "version": batch.version, "items": len(batch.assets)}
            insert_rows(connection, tables.filled, [done], on_conflict="replace")

    def _get(self, job: str, assets: Sequence[str]) -> dict[str, JobItem]:
        found: dict[str, JobItem] = {}
        with self._engine.connect() as connection:
            for some in _parts(list(assets), 500):
                query = _joined(job).where(items.c.asset.in_(some))
                for row in connection.execute(query).mappings():
                    found[row["asset"]] = _item_of(row)
        return found

    def _all_assets(self, job: str) -> set[str]:
        with self._engine.connect() as connection:
            found = select(items.c.asset).where(items.c.job == job)
            return set(connection.execute(found).scalars())

    def _truths(self, job: str) -> dict[str, tuple[Shape, ...]]:
        found = select(items.c.asset, items.c.truth).where(
            items.c.job == job, items.c.truth.is_not(None)
        )
        with self._engine.connect() as connection:
            return {asset: shapes_from(truth) for asset, truth in connection.execute(found)}

    def _page(
        self, job: str, state: StateFilter | None, now_s: float, after: int, limit: int,
        labeler: str,
    ) -> list[JobItem]:  # fmt: skip
        query = _joined(job).where(items.c.position > after, items.c.truth.is_(None))
        held = and_(places.c.held_until > now_s, places.c.held_for == LABEL)
        if state in ("todo", "queued", "annotating"):
            waits = or_(results.c.state.is_(None), results.c.state.not_in(_COUNTED))
            query = query.where(waits)
            if state == "annotating":
                query = query.where(held)
            elif state == "queued":
                query = query.where(~held)
        elif state is not None:
            query = query.where(results.c.state == state)
        if labeler:
            by = select(submissions.c.asset).where(
                submissions.c.job == job, submissions.c.labeler == labeler
            )
            query = query.where(items.c.asset.in_(by))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(items.c.position).limit(limit)).mappings()
            return [_item_of(row) for row in rows]


def _joined(job: str) -> Select[Any]:
    """Return the query of a job's items with everything that is known of them."""
    stands = [column for column in results.c if column.name not in ("job", "asset")]
    place = [places.c.holder, places.c.held_for, places.c.held_until]
    alone = [suggestions.c.shapes.label("alone"), suggestions.c.digest.label("alone_by")]

    def same(table: Table) -> ColumnElement[bool]:
        return and_(table.c.job == job, table.c.asset == items.c.asset)

    return (
        select(items, *stands, *place, *alone)
        .outerjoin_from(items, results, same(results))
        .outerjoin(places, same(places))
        .outerjoin(suggestions, same(suggestions))
        .where(items.c.job == job)
    )


def _rows(batch: Batch) -> Iterator[dict[str, Any]]:
    hidden = [(asset, -1 - index) for index, asset in enumerate(batch.truth)]
    listed = [(asset, batch.first + index) for index, asset in enumerate(batch.assets)]
    for asset, position in listed + hidden:
        item, prediction = batch.items[asset], batch.predictions.get(asset)
        predicted = None
        starts_from_them = position >= 0 and not batch.starts_empty
        if prediction is not None:
            shown = [s for s in prediction.shapes if (s.confidence or 0) >= batch.confidence_min]
            predicted = shapes_text(shown)
        yield {
            "job": batch.job,
            "asset": asset,
            "position": position,
            "width_px": item.width_px,
            "height_px": item.height_px,
            "media_type": item.media_type,
            "predicted": predicted,
            "predicted_by": batch.predicted_by if predicted is not None else "",
            "truth": shapes_text(item.shapes) if position < 0 else None,
            "existing": shapes_text(item.shapes) if item.shapes and starts_from_them else None,
        }


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "job": row["job"],
        "asset": row["asset"],
        "position": row["position"],
        "truth": row["position"] < 0,
        "wants": LABEL,
        "rank": 1,
        "round_after": 0,
        "holder": "",
        "held_for": "",
        "held_until": 0.0,
        "held_version": 0,
    }


def _place_as_they_stand(connection: Connection, job: str, rules: Rules) -> None:
    """Put what can be done about items that somebody said something of already."""
    at = results.c
    found = select(at.asset, at.state, at.round_after).where(at.job == job)
    for asset, state, round_after in connection.execute(found).all():
        stands = ItemState(state)
        connection.execute(
            update(places)
            .where(places.c.job == job, places.c.asset == asset)
            .values(
                wants=wants_of(stands, rules),
                rank=0 if stands is ItemState.REJECTED else 1,
                round_after=round_after,
            )
        )


def _parts(rows: Sequence[Any], size: int = ROWS_AT_ONCE) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _item_of(row: RowMapping) -> JobItem:
    alone = row["alone"] is not None
    predicted = row["alone"] if alone else row["predicted"]
    return JobItem(
        asset=row["asset"],
        position=row["position"],
        width_px=row["width_px"],
        height_px=row["height_px"],
        media_type=row["media_type"],
        predicted=None if predicted is None else shapes_from(predicted),
        predicted_by=row["alone_by"] if alone else row["predicted_by"],
        shown_alone=alone,
        truth=None if row["truth"] is None else shapes_from(row["truth"]),
        existing=() if row["existing"] is None else shapes_from(row["existing"]),
        result=Result() if row["state"] is None else result_of(row),
        holder=row["holder"] or "",
        held_for=row["held_for"] or "",
        held_until=row["held_until"] or 0.0,
        changed_at=row["changed_at"] or "",
    )
