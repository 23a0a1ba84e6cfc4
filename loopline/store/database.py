"""Opens the databases that projections live in: SQLite (a file per service) or PostgreSQL.

Decides how a connection is set up, how rows are written in bulk and which failures pass by
themselves; leaves tables to each projection. SQLAlchemy Core, synchronous: callers run it in a
worker thread.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    Text,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from loopline.errors import Rejected

BUSY_TIMEOUT_S = 30.0  # how long a writer waits for another one's transaction
CONNECT_TIMEOUT_S = 10.0
POOL_SIZE = 5  # connections kept; as many again may be opened for a moment
_Insert = TypeVar("_Insert", postgresql.Insert, sqlite.Insert)
_WRITES = "loopline_writes"  # execution option: begin by taking the write lock
# SQLSTATE classes that say nothing about the rows: connection, rollback, resources, operator ...
_PASSING_STATES = ("08", "40", "53", "55", "57", "58")


def open_database(url: str) -> Engine:
    """Return an engine for `url`, ready for concurrent readers and one writer at a time.

    Args:
        url: `sqlite:////absolute/file.db` (folders are made) or `postgresql://user:password@host/name`.

    Raises:
        Rejected: The URL is not one of these.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise Rejected("the database URL cannot be read") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return _open_sqlite(parsed)
    if backend == "postgresql":
        return _open_postgresql(parsed)
    raise Rejected(f"the database URL must name a SQLite file or a PostgreSQL server: {parsed!r}")


def writer(engine: Engine) -> Engine:
    """Return a view of `engine` whose transactions take the write lock at once.

    On SQLite a transaction that first reads and then writes fails when another writer came between;
    one that begins as a writer waits its turn. PostgreSQL needs no such thing.
    """
    return engine.execution_options(**{_WRITES: True})


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],  # whatever the columns take
    *,
    on_conflict: Literal["fail", "keep", "replace"] = "fail",
) -> None:
    """Insert `rows` at once, in a form that is fast on each database.

    Args:
        connection: Inside a transaction.
        table: Where to.
        rows: Column name to value, the same columns in each. With "replace", no two of them may
            have the same primary key.
        on_conflict: What to do where a row's primary key is there already.
    """
    if not rows:
        return
    columns = list(rows[0])
    if connection.dialect.name == "postgresql":
        connection.execute(
            _on_conflict(_from_json(table, columns), table, columns, on_conflict),
            {"rows": orjson.dumps(list(rows), default=_postgresql_text).decode()},
        )
    else:
        insert = _on_conflict(sqlite.insert(table), table, columns, on_conflict)
        connection.execute(insert, list(rows))


def _from_json(table: Table, columns: list[str]) -> postgresql.Insert:
    """Return an INSERT of one JSON array: through pg8000 20 times faster than a parameter each."""
    records = func.json_populate_recordset(
        literal_column(f"NULL::{table.name}"), cast(bindparam("rows", type_=Text), postgresql.JSON)
    ).table_valued(*columns)
    return postgresql.insert(table).from_select(columns, select(*records.c))


def _postgresql_text(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"a column cannot hold {type(value).__name__}")


def _on_conflict(insert: _Insert, table: Table, columns: list[str], then: str) -> _Insert:
    if then == "keep":
        return insert.on_conflict_do_nothing()
    if then == "replace":
        keys = {column.name for column in table.primary_key}
        return insert.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: insert.excluded[name] for name in columns if name not in keys},
        )
    return insert


def passes_by_itself(error: BaseException) -> bool:
    """Tell whether a failed statement may succeed later: lost connection, lock, full disk."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            return True
        detail = error.orig.args[0] if error.orig is not None and error.orig.args else None
        state = detail.get("C", "") if isinstance(detail, Mapping) else ""  # as pg8000 reports it
        return str(state).startswith(_PASSING_STATES)
    return isinstance(error, PoolTimeoutError | OSError)


def _open_sqlite(url: URL) -> Engine:
    assert url.database is not None  # the caller checked
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=POOL_SIZE,
        hide_parameters=True,  # an error names the statement, not a customer's rows
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # sqlite3's or any DB-API connection
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL may lose the last transactions in a power cut, never half of one: the projector
        # finds its own position in the same file and applies them again.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # sqlite3's own transactions begin at the first write and end at DDL.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _open_postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+pg8000"),
        connect_args={"timeout": CONNECT_TIMEOUT_S, "tcp_keepalive": True},
        pool_size=POOL_SIZE,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # pg8000's DB-API connection
        # pg8000 writes a statement in several pieces: with Nagle's algorithm each one waits for the
        # server's delayed ACK, 40 ms.
        connection._usock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    return engine
