"""The console's own database: users, sessions, tokens, one-time links that were used.

Not a projection: what is in here is in no log (ADR 0005). Synchronous; callers use a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    MetaData,
    RowMapping,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from loopline.access import Role
from loopline.errors import NotFound
from loopline.store.database import writer
from services.console.domain.accounts import Session, Taken, Token, User

metadata = MetaData()
_users = Table(
    "console_users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("oidc_subject", Text, nullable=False, index=True),
    Column("is_disabled", Boolean, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("signed_in_at", Text),
)
_sessions = Table(
    "console_sessions",
    metadata,
    Column("key", Text, primary_key=True),
    Column("user", Text, nullable=False, index=True),
    Column("way", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False, index=True),
    Column("seen_at", Text, nullable=False),
)
_tokens = Table(
    "console_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("revoked_at", Text),
)
_spent = Table(  # one-time links, and sign-ins on their way through an identity provider
    "console_spent",
    metadata,
    Column("id", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)


class AccountStore:
    """Reads and writes the tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = writer(engine)

    def create(self) -> None:
        """Make the tables that are not there."""
        metadata.create_all(self._writer)

    def users(self) -> list[User]:
        """Return everybody, by name."""
        return [_user(row) for row in self._rows(select(_users).order_by(_users.c.name))]

    def user(self, name: str) -> User:
        """Return a person; NotFound if there is none of that name."""
        found = self.find_user(name)
        if found is None:
            raise NotFound(f"there is no user {name!r}", user=name)
        return found

    def find_user(self, name: str) -> User | None:
        """Return a person, or None."""
        rows = self._rows(select(_users).where(_users.c.name == name))
        return _user(rows[0]) if rows else None

    def user_of_subject(self, subject: str) -> User | None:
        """Return the person an identity provider calls so, or None."""
        rows = self._rows(select(_users).where(_users.c.oidc_subject == subject))
        return _user(rows[0]) if rows else None

    def add_user(self, user: User) -> None:
        """Add a person; Taken if there is one of that name."""
        try:
            self._do(insert(_users).values(_row(user)))
        except IntegrityError as error:
            raise Taken(user.name) from error

    def put_user(self, user: User) -> None:
        """Write a person who is there."""
        self._do(update(_users).where(_users.c.name == user.name).values(_row(user)))

    def remove_user(self, name: str) -> None:
        """Remove a person and the sessions."""
        self._do(
            delete(_sessions).where(_sessions.c.user == name),
            delete(_users).where(_users.c.name == name),
        )

    def add_session(self, session: Session) -> None:
        """Add a session, and drop those that ended."""
        ended = _sessions.c.expires_at < _text(session.created_at)
        self._do(delete(_sessions).where(ended), insert(_sessions).values(_row(session)))

    def session(self, key: str) -> tuple[Session, User] | None:
        """Return a session and whose it is, or None."""
        joined = select(_sessions).where(_sessions.c.key == key)
        rows = self._rows(joined)
        user = self.find_user(rows[0]["user"]) if rows else None
        return (_session(rows[0]), user) if user is not None else None

    def touch_session(self, key: str, seen_at: datetime) -> None:
        """Say that a session was used."""
        self._do(update(_sessions).where(_sessions.c.key == key).values(seen_at=_text(seen_at)))

    def end_session(self, key: str) -> None:
        """End one session."""
        self._do(delete(_sessions).where(_sessions.c.key == key))

    def end_sessions(self, user: str, but: str = "") -> None:
        """End all sessions of a person, but one."""
        mine = delete(_sessions).where(_sessions.c.user == user, _sessions.c.key != but)
        self._do(mine)

    def tokens(self, owner: str = "") -> list[Token]:
        """Return tokens, the newest first; of one owner if named."""
        found = select(_tokens).order_by(_tokens.c.created_at.desc(), _tokens.c.id)
        if owner:
            found = found.where(_tokens.c.owner == owner)
        return [_token(row) for row in self._rows(found)]

    def token(self, id_: str) -> Token:
        """Return a token; NotFound if there is none of that id."""
        rows = self._rows(select(_tokens).where(_tokens.c.id == id_))
        if not rows:
            raise NotFound(f"there is no token {id_!r}", token=id_)
        return _token(rows[0])

    def add_token(self, token: Token) -> None:
        """Add a token."""
        self._do(insert(_tokens).values(_row(token)))

    def revoke_token(self, id_: str, at: datetime) -> None:
        """Say that a token was revoked."""
        self._do(update(_tokens).where(_tokens.c.id == id_).values(revoked_at=_text(at)))

    def spend(self, id_: str, now: datetime, expires_at: datetime) -> bool:
        """Use something that may be used once; False if it was used before."""
        gone = delete(_spent).where(_spent.c.expires_at < int(now.timestamp()))
        row = {"id": id_, "expires_at": int(expires_at.timestamp()) + 1}
        try:
            self._do(gone, insert(_spent).values(row))
        except IntegrityError:
            return False
        return True

    def _rows(self, query: Any) -> Sequence[RowMapping]:
        with self._engine.connect() as connection:
            return connection.execute(query).mappings().all()

    def _do(self, *statements: Any) -> None:
        with self._writer.begin() as connection:
            for statement in statements:
                connection.execute(statement)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _row(value: User | Session | Token) -> dict[str, Any]:
    return {name: _cell(cell) for name, cell in asdict(value).items()}


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return _text(value)
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    return str(value) if isinstance(value, Role) else value


def _user(row: RowMapping) -> User:
    return User(
        name=row["name"],
        role=Role(row["role"]),
        email=row["email"],
        password_hash=row["password_hash"],
        oidc_subject=row["oidc_subject"],
        is_disabled=bool(row["is_disabled"]),
        created_at=_when(row["created_at"]),
        signed_in_at=_moment(row["signed_in_at"]),
    )


def _session(row: RowMapping) -> Session:
    times = {name: _when(row[name]) for name in ("created_at", "expires_at", "seen_at")}
    return Session(key=row["key"], user=row["user"], way=row["way"], **times)


def _token(row: RowMapping) -> Token:
    return Token(
        id=row["id"],
        owner=row["owner"],
        label=row["label"],
        scopes=frozenset(row["scopes"].split()),
        created_at=_when(row["created_at"]),
        expires_at=_when(row["expires_at"]),
        revoked_at=_moment(row["revoked_at"]),
    )
