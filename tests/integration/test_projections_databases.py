"""What a projector holds, whatever the database: one specification, inherited by each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, String, Table, func, select
from sqlalchemy.exc import OperationalError

from loopline.contracts import ArtefactKind, ArtefactRef, Commit, DatasetCommitted, catalog
from loopline.errors import Rejected, Transient
from loopline.store.commits import Committed
from loopline.store.database import insert_rows, open_database, writer
from loopline.store.log_reader import LogBatch, Undecodable
from loopline.store.projections import Projection, Projector, Superseded
from loopline.testing.postgres import PostgresServer

TIMEOUT_S = 20.0


def committed(sequence: int, name: str = "catalogue") -> Committed[DatasetCommitted]:
    artefact = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_DATASET, name=name, version=sequence)
    subject = catalog.DATASET_COMMITTED.subject("default", name="catalogue")
    return Committed(DatasetCommitted(commit=Commit(artefact=artefact)), subject, sequence)


class ListLog:
    """A log in a list: the twin of the stream."""

    def __init__(self, *entries: Committed[Any] | Undecodable, batch: int = 10) -> None:
        self.entries = list(entries)
        self.batch = batch
        self.extra = 0  # sequences that belong to other subjects, at the end

    async def last_sequence(self) -> int:
        return (self.entries[-1].sequence if self.entries else 0) + self.extra

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[LogBatch, None]:
        while until is None or after < until:
            end = await self.last_sequence() if until is None else until
            found = [e for e in self.entries if after < e.sequence <= end][: self.batch]
            through = found[-1].sequence if len(found) == self.batch else end
            if through > after:
                commits = tuple(e for e in found if isinstance(e, Committed))
                bad = tuple(e for e in found if isinstance(e, Undecodable))
                yield LogBatch(after, through, commits, bad)
                after = through
            await asyncio.sleep(0.005)


class Arrivals(Projection):
    """Keeps one row per commit; a commit applied twice breaks its primary key."""

    name: ClassVar = "arrivals"
    version: ClassVar = 1
    metadata: ClassVar = MetaData()
    events: ClassVar = (catalog.DATASET_COMMITTED,)
    rows: ClassVar = Table(
        "arrivals",
        metadata,
        Column("sequence", BigInteger, primary_key=True),
        Column("name", String, nullable=False),
    )

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        rows = [{"sequence": c.sequence, "name": c.ref.name} for c in batch]
        insert_rows(connection, self.rows, rows)
        if any(row["name"] == "poison" for row in rows):
            raise ValueError("this one cannot be told")


class Crashing(Arrivals):
    """Fails like a lost connection after writing rows, until told otherwise."""

    broken = True

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        super().apply(connection, batch)
        if self.broken and batch[-1].sequence > 10:
            raise OperationalError("connection lost", None, Exception())


class ProjectorBehaviour:
    """The specification."""

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        raise NotImplementedError

    def sequences(self, engine: Engine) -> list[int]:
        with engine.connect() as connection:
            rows = connection.execute(select(Arrivals.rows.c.sequence).order_by("sequence"))
            return [row[0] for row in rows]

    async def opened(self, engine: Engine, log: ListLog, projection: Projection) -> Projector:
        projector = Projector(engine, projection, log)
        await projector.open()
        return projector

    async def test_catch_up_applies_every_commit_once(self, engine: Engine) -> None:
        log = ListLog(*(committed(n) for n in range(1, 35)))
        projector = await self.opened(engine, log, Arrivals())
        assert await projector.catch_up() == 34
        assert await projector.catch_up() == 34
        assert self.sequences(engine) == list(range(1, 35))

    async def test_position_passes_over_what_other_subjects_hold(self, engine: Engine) -> None:
        log = ListLog(committed(3))
        log.extra = 4
        projector = await self.opened(engine, log, Arrivals())
        assert await projector.catch_up() == 7

    async def test_a_crash_between_rows_and_position_leaves_neither(self, engine: Engine) -> None:
        log = ListLog(*(committed(n) for n in range(1, 26)))
        projection = Crashing()
        projector = await self.opened(engine, log, projection)
        with pytest.raises(Transient, match="connection lost"):
            await projector.catch_up()
        assert self.sequences(engine) == list(range(1, 11))
        projection.broken = False
        again = await self.opened(engine, log, projection)
        assert again.applied == 10
        assert await again.catch_up() == 25
        assert self.sequences(engine) == list(range(1, 26))

    async def test_follow_outlasts_a_failure_and_goes_on_live(self, engine: Engine) -> None:
        log = ListLog(*(committed(n) for n in range(1, 16)))
        projection = Crashing()
        projector = await self.opened(engine, log, projection)
        following = asyncio.create_task(projector.follow())
        await projector.wait_applied(10, TIMEOUT_S)
        projection.broken = False
        await projector.wait_applied(15, TIMEOUT_S)
        log.entries.append(committed(16))
        await projector.wait_applied(16, TIMEOUT_S)
        following.cancel()
        assert self.sequences(engine) == list(range(1, 17))

    async def test_two_projectors_racing_apply_each_commit_once(self, engine: Engine) -> None:
        log = ListLog(*(committed(n) for n in range(1, 301)), batch=7)
        other = ListLog(*log.entries, batch=11)
        first = await self.opened(engine, log, Arrivals())
        second = await self.opened(engine, other, Arrivals())
        assert list(await asyncio.gather(first.catch_up(), second.catch_up())) == [300, 300]
        assert self.sequences(engine) == list(range(1, 301))
        assert await first.skips() == []

    async def test_a_commit_that_fails_is_kept_with_its_reason_and_blocks_nothing(
        self, engine: Engine
    ) -> None:
        entries = [committed(n, "poison" if n in (4, 17) else "catalogue") for n in range(1, 21)]
        entries.append(committed(21, "a\0b"))  # PostgreSQL has no such text
        bad = Undecodable(22, "loopline.default.dataset.x.committed", "x", "unknown event type")
        projector = await self.opened(engine, ListLog(*entries, bad, committed(23)), Arrivals())
        assert await projector.catch_up() == 23
        skipped = {skip["sequence"]: skip for skip in await projector.skips()}
        assert set(skipped) >= {4, 17, 22}
        assert "this one cannot be told" in skipped[4]["reason"]
        assert skipped[22]["reason"] == "unknown event type"
        assert set(self.sequences(engine)) == set(range(1, 24)) - set(skipped)

    async def test_rebuild_as_of_a_sequence_holds_what_was_known_then(self, engine: Engine) -> None:
        log = ListLog(*(committed(n) for n in range(1, 31)))
        projector = await self.opened(engine, log, Arrivals())
        await projector.catch_up()
        assert await projector.rebuild(as_of=12) == 12
        assert self.sequences(engine) == list(range(1, 13))
        assert await projector.rebuild() == 30
        assert self.sequences(engine) == list(range(1, 31))

    async def test_a_rebuild_sends_other_projectors_back_to_its_position(
        self, engine: Engine
    ) -> None:
        log = ListLog(*(committed(n) for n in range(1, 21)))
        first = await self.opened(engine, log, Arrivals())
        second = await self.opened(engine, log, Arrivals())
        await asyncio.gather(first.catch_up(), second.catch_up())
        await second.rebuild(as_of=5)
        log.entries.append(committed(21))
        assert await first.catch_up() == 21
        assert self.sequences(engine) == list(range(1, 22))

    async def test_a_new_version_of_the_projection_is_built_from_the_start(
        self, engine: Engine
    ) -> None:
        class Newer(Arrivals):
            version: ClassVar = 2

        log = ListLog(*(committed(n) for n in range(1, 6)))
        older = await self.opened(engine, log, Arrivals())
        await older.catch_up()
        newer = await self.opened(engine, log, Newer())
        assert newer.applied == 0
        assert await newer.catch_up() == 5
        with pytest.raises(Superseded, match="version 2 of arrivals"):
            await older.rebuild()
        log.entries.append(committed(6))
        with pytest.raises(Superseded):
            await older.catch_up()

    async def test_rows_of_another_log_are_dropped(self, engine: Engine) -> None:
        old = await self.opened(engine, ListLog(*(committed(n) for n in range(1, 9))), Arrivals())
        await old.catch_up()
        projector = await self.opened(engine, ListLog(committed(1), committed(2)), Arrivals())
        following = asyncio.create_task(projector.follow())
        while projector.applied != 2:
            await asyncio.sleep(0.005)
        following.cancel()
        assert self.sequences(engine) == [1, 2]

    async def test_waiting_for_what_never_comes_says_where_it_is(self, engine: Engine) -> None:
        projector = await self.opened(engine, ListLog(committed(1)), Arrivals())
        await projector.catch_up()
        with pytest.raises(Transient, match="at sequence 1, not yet at 2"):
            await projector.wait_applied(2, timeout_s=0.01)

    def test_rows_are_replaced_or_kept_by_primary_key(self, engine: Engine) -> None:
        with writer(engine).begin() as connection:
            Arrivals.metadata.drop_all(connection)
            Arrivals.metadata.create_all(connection)
            insert_rows(connection, Arrivals.rows, [{"sequence": 1, "name": "a"}])
            new = [{"sequence": n, "name": "é'\"\\b"} for n in range(1, 5001)]
            insert_rows(connection, Arrivals.rows, new, on_conflict="keep")
            first = select(Arrivals.rows.c.name).where(Arrivals.rows.c.sequence == 1)
            assert connection.execute(first).scalar() == "a"
            insert_rows(connection, Arrivals.rows, new, on_conflict="replace")
            assert connection.execute(first).scalar() == "é'\"\\b"
            count = select(func.count()).select_from(Arrivals.rows)
            assert connection.execute(count).scalar() == 5000


class TestOnSqlite(ProjectorBehaviour):
    """A file per service, in write-ahead mode."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        engine = open_database(f"sqlite:///{tmp_path}/new folder/lineage.db")
        yield engine
        engine.dispose()


class TestOnPostgresql(ProjectorBehaviour):
    """A database per service, through pg8000."""

    @pytest.fixture
    def engine(self, postgres_server: PostgresServer) -> Iterator[Engine]:
        engine = open_database(postgres_server.new_database())
        yield engine
        engine.dispose()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "nonsense", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(Rejected, match="database URL"):
        open_database(url)
