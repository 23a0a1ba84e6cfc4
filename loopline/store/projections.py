"""Projections: databases that are functions of the commit log.

A projection's rows and the sequence of the last commit in them are written in ONE transaction, so
that a projector killed at any instant goes on where its rows are, never before and never after; two
projectors on one database take turns by compare-and-set on that sequence. Any projection can be
dropped and rebuilt, or built as of any sequence.

    reader = StreamReader(js, workspace, LabelQueue.events)
    projector = Projector(open_database(url), LabelQueue(), reader)
    await projector.open()
    await projector.catch_up()
    asyncio.create_task(projector.follow())
    await projector.wait_applied(sequence, timeout_s=5)
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, TypeVar

import structlog
from opentelemetry import metrics
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from loopline.contracts.catalog import Event
from loopline.errors import LooplineError, Rejected, Transient
from loopline.store.commits import Committed
from loopline.store.database import insert_rows, passes_by_itself, writer
from loopline.store.log_reader import REASON_LENGTH_MAX, LogBatch, LogReader, Undecodable

RETRY_S = 0.5  # first wait after a failure that passes by itself
RETRY_MAX_S = 15.0
SKIPS_SHOWN = 100

log = structlog.get_logger(__name__)
T = TypeVar("T")

_sequence = metrics.get_meter("loopline").create_gauge(
    "loopline_projection_sequence", description="The last commit that a projection holds."
)
_control = MetaData()
_positions = Table(
    "loopline_projections",
    _control,
    Column("projection", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
)
_skips = Table(
    "loopline_projection_skips",
    _control,
    Column("projection", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text, nullable=False),
)


class Projection(ABC):
    """What one projection keeps, and how commits change it.

    Attributes:
        name: Its name in its database.
        version: Raise it when tables or `apply` change: the projection is then dropped and rebuilt.
        metadata: Its tables; nothing else may write them.
        events: The commits it is made of.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    metadata: ClassVar[MetaData]
    events: ClassVar[tuple[Event[Any], ...]]

    @abstractmethod
    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        """Write the rows that `batch` makes, oldest first, in the transaction of `connection`.

        Must depend on nothing but the rows there and the commits. An error other than the
        database's own passing ones is taken as the commit's fault: the batch is applied one by one,
        and the commits that fail are kept in the list of skips with their reason.
        """


class Superseded(Rejected):
    """The database holds a newer version of the projection than this program knows."""


class _RepositionError(Exception):
    """Another projector rebuilt: the rows end before the batch begins."""


class Projector:
    """Keeps one projection up to the log.

    Args:
        engine: From `open_database`.
        projection: What to keep.
        reader: The log, for the projection's events.
    """

    def __init__(self, engine: Engine, projection: Projection, reader: LogReader) -> None:
        self._engine = engine
        self._writer = writer(engine)
        self._projection = projection
        self._reader = reader
        self._applied = 0
        self._moved = asyncio.Condition()

    @property
    def applied(self) -> int:
        """The sequence through which the rows hold everything, as last seen by this projector."""
        return self._applied

    async def open(self) -> int:
        """Make the tables if there are none of this version; return the last applied sequence.

        Raises:
            Superseded: The rows were written by a newer version of the projection.
            Transient: The database does not answer.
        """
        await self._set_applied(await self._in_database(self._ensure))
        return self._applied

    async def catch_up(self, up_to_sequence: int | None = None) -> int:
        """Apply what the log holds now (or up to a sequence); return the last applied sequence.

        Raises:
            Transient: The log or the database does not answer.
        """
        until = await self._reader.last_sequence() if up_to_sequence is None else up_to_sequence
        while self._applied < until:
            try:
                await self._apply_all(self._reader.read(self._applied, until))
            except _RepositionError:
                await self.open()
        return self._applied

    async def follow(self) -> None:
        """Apply what comes, until cancelled; outlasts restarts of the log and of the database.

        Raises:
            Superseded: A newer version of the projection took the database over.
        """
        failures, applied = 0, self._applied
        while True:
            try:
                await self.open()
                await self._rebuild_if_log_is_shorter()
                applied = self._applied
                await self._apply_all(self._reader.read(applied))
            except _RepositionError:
                continue
            except Transient as error:
                failures = failures + 1 if self._applied == applied else 0
                log.warning("projection_waits", projection=self._projection.name, reason=str(error))
                await asyncio.sleep(min(RETRY_S * 2**failures, RETRY_MAX_S))

    async def wait_applied(self, sequence: int, timeout_s: float) -> None:
        """Return once the rows hold everything through `sequence`.

        Raises:
            Transient: They do not after `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self._applied >= sequence)
        except TimeoutError as error:
            raise Transient(
                f"{self._projection.name} is at sequence {self._applied}, not yet at {sequence}",
                sequence=sequence,
            ) from error

    async def rebuild(self, as_of: int | None = None) -> int:
        """Drop the rows and build them anew, through `as_of` or all; return the last sequence.

        Readers see the projection grow meanwhile.
        """
        await self._set_applied(await self._in_database(self._drop_and_create))
        return await self.catch_up(as_of)

    async def skips(self, limit: int = SKIPS_SHOWN) -> list[dict[str, Any]]:
        """Return the last messages that were skipped: sequence, subject, type, reason."""
        return await self._in_database(self._read_skips, limit)

    async def _rebuild_if_log_is_shorter(self) -> None:
        last = await self._reader.last_sequence()
        if self._applied > last:  # another log than the one these rows came from
            log.warning(
                "projection_rebuilt",
                projection=self._projection.name,
                applied=self._applied,
                log_last_sequence=last,
            )
            await self.rebuild()

    async def _apply_all(self, batches: AsyncGenerator[LogBatch, None]) -> None:
        async with aclosing(batches):
            async for batch in batches:
                applied = await self._in_database(self._apply_in_transaction, batch)
                await self._set_applied(applied)

    async def _set_applied(self, sequence: int) -> None:
        async with self._moved:
            self._applied = sequence
            self._moved.notify_all()
        _sequence.set(sequence, {"projection": self._projection.name})

    async def _in_database(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except (LooplineError, _RepositionError):
            raise
        except Exception as error:
            if passes_by_itself(error):
                raise Transient(f"the database does not take it now: {error}") from error
            raise

    # What follows runs in a worker thread.

    def _ensure(self) -> int:
        _control.create_all(self._writer)
        with self._writer.begin() as connection:
            position = self._position(connection)
            if position is not None and position["version"] == self._projection.version:
                return int(position["last_sequence"])
        return self._drop_and_create()

    def _drop_and_create(self) -> int:
        projection = self._projection
        _control.create_all(self._writer)
        with self._writer.begin() as connection:
            self._position(connection)  # refuses a newer version's rows
            projection.metadata.drop_all(connection)
            projection.metadata.create_all(connection)
            connection.execute(delete(_skips).where(_skips.c.projection == projection.name))
            row = {"projection": projection.name, "version": projection.version, "last_sequence": 0}
            insert_rows(connection, _positions, [row], on_conflict="replace")
        return 0

    def _position(self, connection: Connection) -> RowMapping | None:
        found = select(_positions).where(_positions.c.projection == self._projection.name)
        row = connection.execute(found.with_for_update()).mappings().one_or_none()
        if row is not None and row["version"] > self._projection.version:
            raise Superseded(
                f"the database holds version {row['version']} of {self._projection.name}, "
                f"this program knows version {self._projection.version}"
            )
        return row

    def _apply_in_transaction(self, batch: LogBatch) -> int:
        with self._writer.begin() as connection:
            if self._claim(connection, batch.through, batch.after):
                self._write(connection, batch, batch.after)
                return batch.through
            position = self._position(connection)  # another projector was here
            if position is None or position["version"] != self._projection.version:
                raise _RepositionError
            last = int(position["last_sequence"])
            if last < batch.after:
                raise _RepositionError
            if last < batch.through and self._claim(connection, batch.through, last):
                self._write(connection, batch, last)
                return batch.through
            return last

    def _claim(self, connection: Connection, through: int, expected: int) -> bool:
        """Move the position, in the transaction of the rows; False if it is not where expected."""
        moved = connection.execute(
            update(_positions)
            .where(
                _positions.c.projection == self._projection.name,
                _positions.c.version == self._projection.version,
                _positions.c.last_sequence == expected,
            )
            .values(last_sequence=through)
        )
        return moved.rowcount == 1

    def _write(self, connection: Connection, batch: LogBatch, after: int) -> None:
        commits = [commit for commit in batch.commits if commit.sequence > after]
        skipped = [one for one in batch.undecodable if one.sequence > after]
        if commits and self._try(connection, commits) is not None:
            for commit in commits:
                reason = self._try(connection, [commit])
                if reason is not None:
                    skipped.append(_refused(commit, reason))
        self._record_skips(connection, skipped)

    def _try(self, connection: Connection, commits: Sequence[Committed[Any]]) -> str | None:
        """Apply all or none of `commits`; return why not."""
        try:
            with connection.begin_nested():
                self._projection.apply(connection, commits)
        except Exception as error:
            if passes_by_itself(error):
                raise
            return f"{type(error).__name__}: {error}"[:REASON_LENGTH_MAX]
        return None

    def _record_skips(self, connection: Connection, skipped: Sequence[Undecodable]) -> None:
        name = self._projection.name
        rows = [
            {
                "projection": name,
                "sequence": s.sequence,
                "subject": s.subject,
                "type": s.type,
                "reason": s.reason.replace("\0", ""),
            }
            for s in skipped
        ]
        insert_rows(connection, _skips, rows, on_conflict="replace")
        for row in rows:
            log.warning("commit_skipped", **row)

    def _read_skips(self, limit: int) -> list[dict[str, Any]]:
        columns = (_skips.c.sequence, _skips.c.subject, _skips.c.type, _skips.c.reason)
        found = select(*columns).where(_skips.c.projection == self._projection.name)
        with self._engine.connect() as connection:
            rows = connection.execute(found.order_by(_skips.c.sequence.desc()).limit(limit))
            return [{str(name): value for name, value in row.items()} for row in rows.mappings()]


def _refused(commit: Committed[Any], reason: str) -> Undecodable:
    type_ = commit.message.DESCRIPTOR.full_name
    return Undecodable(commit.sequence, commit.subject, type_, reason)
