"""What annotate is told; nothing else of it reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from loopline.runtime.settings import ServiceSettings
from services.annotate.adapters.receivers import MailSettings


class AnnotateSettings(ServiceSettings):
    """Settings of annotate, from `LOOPLINE_*` variables."""

    job_items_max: int = Field(default=200_000, ge=1)
    """The most items one labeling job may have."""
    page_items_max: int = Field(default=1_000, ge=1)
    """The most items one page of the API holds."""
    bulk_items_max: int = Field(default=1_000, ge=1)
    """The most submissions one bulk request may hold."""
    body_size_max_bytes: int = Field(default=32 * 1024 * 1024, ge=1_024)
    """Larger request bodies are refused before they are read."""
    submit_concurrency: int = Field(default=64, ge=1)
    """Submissions of bulk requests committed at once, over all requests."""
    lease_s: float = Field(default=900.0, ge=1)
    """How long a person keeps an item without a sign of life, where the job does not say."""
    assist_dir: Path | None = None
    """Holds a folder for each SAM-style pair of graphs that users bring (docs/labeling.md)."""
    inference_grpc: str = ""
    """Where models answer ("127.0.0.1:8001"), for predictions on demand; none if empty."""
    predict_timeout_s: float = Field(default=30.0, gt=0)
    """For one question to a model."""
    predict_images: int = Field(default=8, ge=1, le=256)
    """Images in one question to a model."""
    projection_wait_s: float = Field(default=5.0, gt=0)
    """How long a request or handler waits until the database has what the log has."""
    webhook_secret: SecretStr = SecretStr("")
    """Signs notifications ("whsec_" and base64, as Standard Webhooks has it); unsigned if empty."""
    smtp_host: str = ""
    """Mail server for job receivers "mailto:..."; none if empty."""
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_from: str = "loopline@localhost"
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    chats_file: Path | None = None
    """JSON: chat name to Apprise URL, for job receivers "chat:<name>"."""
    label_studio_url: str = ""
    """A Label Studio server that jobs can be worked in ("http://127.0.0.1:8080"); none if empty."""
    label_studio_token: SecretStr = SecretStr("")
    """A user's access token there."""
    label_studio_secret: SecretStr = SecretStr("")
    """What its webhooks show to us; signs links to images."""
    label_studio_images: Literal["inline", "linked"] = "inline"
    """Whether its tasks carry the images, or links to them, which its users' browsers must reach at
    `annotate_url`."""
    label_studio_link_s: float = Field(default=30 * 86_400.0, gt=0)
    """How long such a link is good."""
    annotate_url: str = ""
    """Where others reach this service, for webhooks that call back."""
    webhook_timeout_s: float = Field(default=10.0, gt=0)
    """For one attempt, from connecting to the last byte of the answer's head."""
    webhook_delays_s: tuple[float, ...] = (
        5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 18_000, 36_000, 43_200, 43_200, 43_200, 43_200,
    )  # fmt: skip
    """Delays between attempts: the last one is made 2.8 days after the first."""

    def mail(self) -> MailSettings:
        """Return how mail leaves."""
        return MailSettings(
            self.smtp_host,
            self.smtp_port,
            self.smtp_from,
            self.smtp_user,
            self.smtp_password,
            self.smtp_tls,
            self.webhook_timeout_s,
        )
