"""What the console is told; nothing else of it reads the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from loopline.runtime.settings import ServiceSettings


class ConsoleSettings(ServiceSettings):
    """Settings of the console, from `LOOPLINE_*` variables."""

    lineage_url: str = "http://127.0.0.1:8093"
    """Where the lineage service answers."""
    lineage_token: SecretStr = SecretStr("")
    """Bearer token for it; `api_token` if empty. It never reaches a browser."""
    lineage_timeout_s: float = Field(default=30.0, gt=0)
    """For one request to the lineage service."""
    answer_size_max_bytes: int = Field(default=64 * 1024 * 1024, ge=1_024)
    """Larger answers of the lineage service are refused."""
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Host names under which browsers may reach the page; "*" for any. Keeps a foreign page, whose
    name was made to point here (DNS rebinding), from reading the graph."""
