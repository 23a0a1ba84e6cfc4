"""Where the platform is and who we are.

From the environment, else from a platform's data folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from loopline.errors import NotFound
from loopline.names import Name

DEFAULT_DATA_DIR = Path(".loopline")


class ClientSettings(BaseSettings):
    """What the SDK and the command line need to know, from `LOOPLINE_*` variables."""

    model_config = SettingsConfigDict(env_prefix="LOOPLINE_", frozen=True, extra="ignore")

    workspace: Name = "default"
    user: str = "user"
    """Recorded as the actor of what this client does."""
    nats_url: str = ""
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    s3_endpoint: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    s3_bucket: str = "loopline"
    s3_secure: bool = False
    inference_grpc: str = ""
    """"host:port"."""
    inference_tls: bool = False
    """Whether inference speaks TLS there."""
    inference_ca: Path | None = None
    """PEM file of who issued its certificate; those the machine trusts if empty."""
    inference_certificate: Path | None = None
    """PEM file of our own certificate, where it asks for one (mutual TLS)."""
    inference_key: Path | None = None
    """PEM file of its private key."""
    annotate_http: str = ""
    """"http://host:port", as the two below."""
    lineage_http: str = ""
    console_http: str = ""
    api_token: SecretStr = SecretStr("")
    connections_file: Path | None = None
    """Customers' object storage, for `verify`; see docs/operating.md."""

    @classmethod
    def load(cls, data_dir: Path | None = None, **overrides: Any) -> ClientSettings:
        """Return the settings.

        What the environment leaves out comes from `data_dir`/endpoints.json.

        Raises:
            NotFound: Neither says where the platform is.
        """
        folder = data_dir or DEFAULT_DATA_DIR
        settings = cls(**overrides)
        if settings.nats_url and data_dir is None:
            return settings
        path = folder / "endpoints.json"
        if not path.exists():
            raise NotFound(
                f"no platform at {folder}: start one with `loopline up --data {folder}`, "
                "or set LOOPLINE_NATS_URL and the others",
                data_dir=str(folder),
            )
        found = json.loads(path.read_text())
        found.setdefault("connections_file", str(folder / "connections.json"))
        known = {key: value for key, value in found.items() if key in cls.model_fields}
        return cls(**(known | overrides))
