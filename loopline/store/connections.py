"""Customers' object storage, by connection name.

Keys are configured in a file, never sent in events.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, SecretStr

from loopline.errors import Rejected
from loopline.store.blobs import S3Blobs


class Connection(BaseModel, frozen=True):
    """A customer's object storage: where, and with which key."""

    endpoint: str
    access_key: str
    secret_key: SecretStr
    secure: bool = False

    def bucket(self, name: str) -> S3Blobs:
        """Return one bucket of it."""
        return S3Blobs(
            self.endpoint,
            self.access_key,
            self.secret_key.get_secret_value(),
            name,
            secure=self.secure,
        )


def find_connection(path: Path | None, name: str) -> Connection:
    """Return the connection `name` of the file at `path`.

    Raises:
        Rejected: The file has none of that name, or there is no file.
    """
    known = json.loads(path.read_text()) if path is not None and path.exists() else {}
    if name not in known:
        raise Rejected(
            f"there is no connection {name!r}; configured are {sorted(known) or 'none'}",
            connection=name,
        )
    return Connection.model_validate(known[name])
