"""Who holds which item, what they have drawn so far, and what they passed over.

Work that is not in the log yet, in the same database as the board: whoever takes an item takes it
in one transaction, so that two people never hold the same. A lease ends by itself; saving a draft
renews it. Processes that work one workspace together share one database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from loopline.contracts import ArtefactRef
from loopline.store.database import insert_rows, writer
from loopline.store.items import Shape
from services.annotate.adapters.board import LABEL
from services.annotate.adapters.database import in_database
from services.annotate.adapters.rows import shapes_from, shapes_text
from services.annotate.adapters.tables import (
    drafts,
    places,
    results,
    skips,
    submissions,
    suggestions,
)
from services.annotate.domain.holding import Held

FREE = ""


@dataclass(frozen=True, slots=True)
class Taking:
    """Who takes items of a job, what for, and for how long.

    Attributes:
        job: The job.
        person: Who.
        purpose: "label" or "review".
        now_s: Now, seconds since the epoch.
        until_s: When the lease ends.
    """

    job: str
    person: str
    purpose: str
    now_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person has drawn and not submitted."""

    shapes: tuple[Shape, ...]
    tags: tuple[str, ...]
    spent_s: float
    revision: int
    saved_at: str


class Desk:
    """Leases, drafts and what was passed over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = writer(engine)

    async def held(self, taking: Taking) -> list[str]:
        """Return what the person holds, renewed, in the order to work it."""
        return await in_database(self._held, taking)

    async def take_next(self, taking: Taking, count: int, *, truth: bool = False) -> list[str]:
        """Give up to `count` items that nobody holds and that this person can do.

        Args:
            taking: Who, and what for.
            count: How many at most.
            truth: Whether items that score labelers are wanted, or those of the job.
        """
        return await in_database(self._take_next, taking, count, truth)

    async def take(self, taking: Taking, assets: Sequence[str]) -> None:
        """Give these items, which may be done already, or renew them; all or none.

        Raises:
            Held: Somebody else holds one.
        """
        await in_database(self._take, taking, assets)

    async def take_free(self, taking: Taking, assets: Sequence[str]) -> dict[str, str]:
        """Give those of these items that nobody else holds; return the holders of the others."""
        return await in_database(self._take_free, taking, assets)

    async def done(self, job: str, assets: Sequence[str], person: str) -> None:
        """Let go of items and forget the person's drafts of them."""
        await in_database(self._done, job, assets, person)

    async def give_back(self, job: str, assets: Sequence[str], person: str) -> None:
        """Let go of items; those that the person does not hold stay as they are."""
        await in_database(self._give_back, job, assets, person)

    async def skip(self, job: str, asset: str, person: str) -> None:
        """Let go of an item; it comes to this person again once there is nothing else."""
        await in_database(self._skip, job, asset, person)

    async def taken_version(self, job: str, asset: str) -> int:
        """Return the version of the item's labels when it was taken."""
        return await in_database(self._taken_version, job, asset)

    async def save(self, job: str, asset: str, person: str, draft: Draft) -> None:
        """Keep a draft; an older revision than the one that is there changes nothing."""
        await in_database(self._save, job, asset, person, draft)

    async def drafts(self, job: str, assets: Sequence[str], person: str) -> dict[str, Draft]:
        """Return a person's drafts of these items, by asset."""
        return await in_database(self._drafts, job, assets, person)

    async def drop_draft(self, job: str, asset: str, person: str) -> None:
        """Forget a draft."""
        await in_database(self._drop_draft, job, asset, person)

    async def suggest(
        self, job: str, found: Sequence[tuple[str, Sequence[Shape]]], model: ArtefactRef, at: str
    ) -> None:
        """Keep what a model says of items of a job, to be shown instead of what was before."""
        await in_database(self._suggest, job, found, model, at)

    async def suggested_by(self, job: str, digest: str) -> set[str]:
        """Return the assets of which a model has said something."""
        return await in_database(self._suggested_by, job, digest)

    async def suggestion(self, job: str, asset: str) -> ArtefactRef | None:
        """Return the model that was asked about an item alone, or None."""
        return await in_database(self._suggestion, job, asset)

    def _held(self, taking: Taking) -> list[str]:
        mine = and_(*_mine(taking))
        with self._writer.begin() as connection:
            renewed = update(places).where(mine).values(held_until=taking.until_s)
            connection.execute(renewed)
            found = select(places.c.asset).where(mine).order_by(places.c.rank, places.c.position)
            return list(connection.execute(found).scalars())

    def _take_next(self, taking: Taking, count: int, truth: bool) -> list[str]:
        taken: list[str] = []
        with self._writer.begin() as connection:
            for passed_over in (False, True):
                if len(taken) < count:
                    query = _free(taking, truth=truth, passed_over=passed_over)
                    found = connection.execute(query.limit(count - len(taken))).scalars().all()
                    taken += [asset for asset in found if _claim(connection, taking, asset)]
        return taken

    def _take(self, taking: Taking, assets: Sequence[str]) -> None:
        with self._writer.begin() as connection:
            for asset in assets:
                if not _claim(connection, taking, asset):
                    raise Held(taking.job, asset, _holder(connection, taking.job, asset))

    def _take_free(self, taking: Taking, assets: Sequence[str]) -> dict[str, str]:
        refused = {}
        with self._writer.begin() as connection:
            for asset in assets:
                if not _claim(connection, taking, asset):
                    refused[asset] = _holder(connection, taking.job, asset)
        return refused

    def _done(self, job: str, assets: Sequence[str], person: str) -> None:
        with self._writer.begin() as connection:
            for asset in assets:
                _free_again(connection, job, asset, person)
                connection.execute(delete(drafts).where(*_draft(job, [asset], person)))

    def _give_back(self, job: str, assets: Sequence[str], person: str) -> None:
        with self._writer.begin() as connection:
            for asset in assets:
                _free_again(connection, job, asset, person)

    def _skip(self, job: str, asset: str, person: str) -> None:
        self._give_back(job, [asset], person)
        row = {"job": job, "asset": asset, "person": person}
        with self._writer.begin() as connection:
            insert_rows(connection, skips, [row], on_conflict="keep")

    def _taken_version(self, job: str, asset: str) -> int:
        found = select(places.c.held_version).where(places.c.job == job, places.c.asset == asset)
        with self._engine.connect() as connection:
            return int(connection.execute(found).scalar() or 0)

    def _save(self, job: str, asset: str, person: str, draft: Draft) -> None:
        row = {
            "job": job,
            "asset": asset,
            "person": person,
            "shapes": shapes_text(draft.shapes),
            "tags": orjson.dumps(draft.tags).decode(),
            "spent_s": draft.spent_s,
            "revision": draft.revision,
            "saved_at": draft.saved_at,
        }
        with self._writer.begin() as connection:
            there = connection.execute(
                select(drafts.c.revision).where(*_draft(job, [asset], person))
            ).scalar()
            if there is None or there <= draft.revision:
                insert_rows(connection, drafts, [row], on_conflict="replace")

    def _drafts(self, job: str, assets: Sequence[str], person: str) -> dict[str, Draft]:
        found = select(drafts).where(*_draft(job, assets, person))
        with self._engine.connect() as connection:
            rows = connection.execute(found).mappings()
            return {row["asset"]: _draft_of(row) for row in rows}

    def _drop_draft(self, job: str, asset: str, person: str) -> None:
        with self._writer.begin() as connection:
            connection.execute(delete(drafts).where(*_draft(job, [asset], person)))

    def _suggest(
        self, job: str, found: Sequence[tuple[str, Sequence[Shape]]], model: ArtefactRef, at: str
    ) -> None:
        rows = [
            {
                "job": job,
                "asset": asset,
                "shapes": shapes_text(shapes),
                "model": model.name,
                "version": model.version,
                "digest": model.digest,
                "made_at": at,
            }
            for asset, shapes in found
        ]
        with self._writer.begin() as connection:
            insert_rows(connection, suggestions, rows, on_conflict="replace")

    def _suggested_by(self, job: str, digest: str) -> set[str]:
        at = suggestions.c
        found = select(at.asset).where(at.job == job, at.digest == digest)
        with self._engine.connect() as connection:
            return set(connection.execute(found).scalars())

    def _suggestion(self, job: str, asset: str) -> ArtefactRef | None:
        at = suggestions.c
        found = select(suggestions).where(at.job == job, at.asset == asset)
        with self._engine.connect() as connection:
            row = connection.execute(found).mappings().one_or_none()
        if row is None:
            return None
        return ArtefactRef(name=row["model"], version=row["version"], digest=row["digest"])


def _mine(taking: Taking) -> tuple[ColumnElement[bool], ...]:
    at = places.c
    return (
        at.job == taking.job,
        at.holder == taking.person,
        at.held_for == taking.purpose,
        at.held_until > taking.now_s,
        or_(at.wants == taking.purpose, at.truth),
    )


def _free(taking: Taking, *, truth: bool, passed_over: bool) -> Select[Any]:
    """Return the query of what this person can be given, in order."""
    at = places.c
    skipped = exists().where(
        skips.c.job == at.job, skips.c.asset == at.asset, skips.c.person == taking.person
    )
    said = submissions.c
    done = exists().where(
        said.job == at.job,
        said.asset == at.asset,
        said.labeler == taking.person,
        said.sequence > at.round_after,
    )
    query = (
        select(at.asset)
        .where(at.job == taking.job, at.wants == taking.purpose, at.truth.is_(truth))
        .where(at.held_until <= taking.now_s)
        .where(skipped if passed_over else ~skipped)
        .order_by(at.rank, at.position)
    )
    return query.where(~done) if taking.purpose == LABEL else query


def _claim(connection: Connection, taking: Taking, asset: str) -> bool:
    """Take one item if nobody else holds it."""
    at = places.c
    version = (
        select(func.coalesce(func.max(results.c.version), 0))
        .where(results.c.job == taking.job, results.c.asset == asset)
        .scalar_subquery()
    )
    free = or_(at.held_until <= taking.now_s, at.holder == taking.person)
    claimed = connection.execute(
        update(places)
        .where(at.job == taking.job, at.asset == asset, free)
        .values(
            holder=taking.person,
            held_for=taking.purpose,
            held_until=taking.until_s,
            held_version=version,
        )
    )
    return claimed.rowcount == 1


def _free_again(connection: Connection, job: str, asset: str, person: str) -> None:
    at = places.c
    connection.execute(
        update(places)
        .where(at.job == job, at.asset == asset, at.holder == person)
        .values(holder=FREE, held_for="", held_until=0.0)
    )


def _holder(connection: Connection, job: str, asset: str) -> str:
    found = select(places.c.holder).where(places.c.job == job, places.c.asset == asset)
    return str(connection.execute(found).scalar() or "")


def _draft(job: str, assets: Sequence[str], person: str) -> tuple[ColumnElement[bool], ...]:
    at = drafts.c
    return at.job == job, at.asset.in_(list(assets)), at.person == person


def _draft_of(row: RowMapping) -> Draft:
    return Draft(
        shapes=shapes_from(row["shapes"]),
        tags=tuple(orjson.loads(row["tags"])),
        spent_s=row["spent_s"],
        revision=row["revision"],
        saved_at=row["saved_at"],
    )
