"""Settings that every service has. Nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from loopline.contracts.catalog import BACKOFF_S
from loopline.names import NAME_PATTERN, Name
from loopline.store.blobs import S3Blobs
from loopline.store.connections import Connection, find_connection


def _labels(value: object) -> object:
    """Read "gpu=h100,pool=lab"."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {key.strip(): text.strip() for key, _, text in pairs}


Labels = Annotated[
    dict[Annotated[str, Field(pattern=NAME_PATTERN)], str], NoDecode, BeforeValidator(_labels)
]
"""A field type for labels, written "gpu=h100,site=lab" in the environment."""


class ServiceSettings(BaseSettings):
    """What every service is told, from `LOOPLINE_*` variables."""

    model_config = SettingsConfigDict(env_prefix="LOOPLINE_", frozen=True, extra="ignore")

    workspace: Name = "default"
    pool: Name = "default"
    """Which pool's commands this process takes."""
    agent: Name | Literal[""] = ""
    """The name of this worker, to which commands can be sent too; by service and host if empty."""
    labels: Labels = {}
    """What this worker is chosen by, shown in `loopline agents`: "gpu=h100,site=lab"."""
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
    access_keys: str = ""
    """JWK set of the keys whose tokens are good beside `api_token`, as JSON or the path of a file;
    see docs/access.md."""
    otlp_endpoint: str = ""
    """Where traces go ("http://host:4317"); nowhere if empty."""
    otlp_metrics_endpoint: str = ""
    """Where the figures of /metrics are sent too, as OTLP; nowhere if empty."""
    log_level: str = "info"
    ack_wait_s: float = 0.0
    """Without a sign of life for this long, work is given to another process. The durables must
    have been declared with the same (`admin.declare`); 0 is what the catalog says for each."""
    retry_delay_max_s: float = BACKOFF_S[-1]
    """Upper bound of the growing delay before a failed message is handled again."""
    drain_s: float = 15.0
    """On SIGTERM, how long messages in flight may take to finish before they are handed back."""

    def connection(self, name: str) -> Connection:
        """Return the customer's connection `name`.

        Raises:
            Rejected: None of that name is configured.
        """
        return find_connection(self.connections_file, name)

    def customer_blobs(self, name: str, bucket: str) -> S3Blobs:
        """Return a bucket of the customer's connection `name`; Rejected if it is not configured."""
        return self.connection(name).bucket(bucket)

    def sqlite_url(self, service: str) -> str:
        """Return the projection's database URL."""
        return self.database_url or f"sqlite:///{self.data_dir / service}.db"
