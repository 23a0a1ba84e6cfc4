"""What the console is told; nothing else of it reads the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from loopline.access import Role
from loopline.runtime.settings import ServiceSettings

MIB = 1024**2


class ConsoleSettings(ServiceSettings):
    """Settings of the console, from `LOOPLINE_*` variables."""

    public_url: str = ""
    """Where people reach the console ("https://loopline.example.org"), for links and the identity
    provider; the address a browser used if empty. With https cookies are marked Secure."""
    pages_dir: Path | None = None
    """Folder of the built page; the one that the package ships if None."""
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Host names under which browsers may reach the page; "*" for any. Keeps a foreign page, whose
    name was made to point here (DNS rebinding), from reading anything."""
    signing_key: SecretStr = SecretStr("")
    """Signs tokens: a private JWK as JSON, or the path of its file. Without it there are no API
    tokens and no one-time links, and other services are asked with `api_token`."""
    session_lifetime_s: float = Field(default=7 * 86_400.0, gt=0)
    """A session ends after this long, used or not."""
    session_idle_s: float = Field(default=86_400.0, gt=0)
    """A session that is not used for this long ends."""

    oidc_issuer: str = ""
    """URL of an OpenID Connect provider that people may sign in with; none if empty."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_name: str = "single sign-on"
    """What the button says."""
    oidc_name_claim: str = "preferred_username"
    """The claim that a new person is named by."""
    oidc_default_role: Role | None = None
    """Role of people who come by the identity provider for the first time; without it only those
    come in whom an admin added with the e-mail address that the provider vouches for."""

    annotate_url: str = "http://127.0.0.1:8081"
    """Where annotate answers."""
    lineage_url: str = "http://127.0.0.1:8082"
    """Where the lineage service answers."""
    upstream_timeout_s: float = Field(default=30.0, gt=0)
    """For one request to them."""
    answer_size_max_bytes: int = Field(default=64 * MIB, ge=1_024)
    """Larger answers of them are refused."""
    body_size_max_bytes: int = Field(default=32 * MIB, ge=1_024)
    """Larger request bodies are refused; files of uploads have a limit of their own."""

    thumbnail_memory_max_bytes: int = Field(default=32 * MIB, ge=0)
    """Thumbnails kept in memory."""
    thumbnail_disk_max_bytes: int = Field(default=512 * MIB, ge=0)
    """Thumbnails kept in `data_dir`; 0 for none."""
    thumbnail_pixels_max: int = Field(default=100_000_000, ge=1)
    """Images with more pixels have no thumbnail."""
    thumbnail_threads: int = Field(default=2, ge=1)
    """Images made small at once."""

    uploads_connection: str = "uploads"
    """Name, in `connections_file` here and at ingest, of the storage for uploads."""
    uploads_bucket: str = ""
    """The bucket for uploads; people cannot upload if empty."""
    upload_file_max_bytes: int = Field(default=64 * MIB, ge=1_024)
    """The largest file of an upload."""
    upload_max_bytes: int = Field(default=20 * 1024 * MIB, ge=1_024)
    """All files of an upload."""
    upload_files_max: int = Field(default=100_000, ge=1)
    """Files of an upload."""
    upload_lifetime_s: float = Field(default=86_400.0, gt=0)
    """An upload that was not imported is removed after this long."""
    connection_names: tuple[str, ...] = ()
    """Names of customers' storage to offer for imports; their keys are ingest's alone."""

    scan_items_max: int = Field(default=50_000, ge=1_000)
    """Items that one page of a filtered search looks at."""
    events_behind_max: int = Field(default=2_000, ge=1)
    """A reader of events that is further behind is told to ask for everything again."""
    events_readers_max: int = Field(default=200, ge=1)
    """Readers of events at once; more are told to come back."""
    keepalive_s: float = Field(default=15.0, gt=0)
    """A silent stream of events says something this often, so that nothing between closes it."""
    logs_dir: Path | None = None
    """Folder with the services' logs, to show those of a run; None if they are elsewhere."""
    trace_url: str = ""
    """Where a trace is shown, with `{trace_id}` in it; none if empty."""
