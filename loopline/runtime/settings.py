"""Settings that every service has. Nothing else reads the environment."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from loopline.errors import Rejected
from loopline.names import Name
from loopline.store.blobs import S3Blobs


class Connection(BaseModel, frozen=True):
    """A customer's object storage: where, and with which key."""

    endpoint: str
    access_key: str
    secret_key: SecretStr
    secure: bool = False


class ServiceSettings(BaseSettings):
    """What every service is told, from `LOOPLINE_*` variables."""

    model_config = SettingsConfigDict(env_prefix="LOOPLINE_", frozen=True, extra="ignore")

    workspace: Name = "default"
    pool: Name = "default"
    """Which pool's commands this process takes."""
    concurrency: int = 4
    """Messages of long work handled at once."""
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    s3_endpoint: str = "127.0.0.1:9000"
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    s3_bucket: str = "loopline"
    s3_secure: bool = False
    data_dir: Path = Path(".loopline")
    """Scratch space and SQLite files."""
    database_url: str = ""
    """SQLAlchemy URL of the projection; a SQLite file in `data_dir` if empty."""
    connections_file: Path | None = None
    """JSON: connection name to {endpoint, access_key, secret_key, secure}."""
    http_host: str = "127.0.0.1"
    http_port: int = 0
    """0 lets the system choose."""
    api_token: SecretStr = SecretStr("")
    """Bearer token that the HTTP API asks for; none if empty."""
    otlp_endpoint: str = ""
    """Where traces go ("http://host:4317"); nowhere if empty."""
    log_level: str = "info"
    drain_s: float = 15.0
    """On SIGTERM, how long messages in flight may take to finish before they are handed back."""

    def connection(self, name: str) -> Connection:
        """Return the customer's connection `name`.

        Raises:
            Rejected: None of that name is configured.
        """
        known = {}
        if self.connections_file is not None and self.connections_file.exists():
            known = json.loads(self.connections_file.read_text())
        if name not in known:
            raise Rejected(
                f"there is no connection {name!r}; configured are {sorted(known) or 'none'}",
                connection=name,
            )
        return Connection.model_validate(known[name])

    def customer_blobs(self, name: str, bucket: str) -> S3Blobs:
        """Return a bucket of the customer's connection `name`; Rejected if it is not configured."""
        connection = self.connection(name)
        return S3Blobs(
            connection.endpoint,
            connection.access_key,
            connection.secret_key.get_secret_value(),
            bucket,
            secure=connection.secure,
        )

    def sqlite_url(self, service: str) -> str:
        """Return the projection's database URL."""
        return self.database_url or f"sqlite:///{self.data_dir / service}.db"
