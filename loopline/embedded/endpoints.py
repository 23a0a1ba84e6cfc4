"""Where a running platform is, and the keys a person at this machine uses it with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loopline.embedded.errors import PlatformError
from loopline.embedded.files import write_private_json
from loopline.embedded.layout import DataFolder


@dataclass(frozen=True)
class Endpoints:
    """Addresses and the user's credentials, as saved in `<data>/endpoints.json`.

    Attributes:
        workspace: The team's name space.
        nats_url: The bus.
        nats_monitor_url: nats-server's monitoring pages.
        nats_user: The SDK's user on the bus.
        nats_password: Its password.
        external_nats_user: A user that may publish public commands only, for programs not ours.
        external_nats_password: Its password.
        s3_endpoint: `host:port` of object storage.
        s3_bucket: The platform's bucket.
        s3_access_key: The SDK's key.
        s3_secret_key: Its secret.
        inference_grpc: `host:port` of the Open Inference Protocol; the first process if scaled.
        inference_rest: Base URL of the same protocol over HTTP; the first process if scaled.
        annotate_http: Base URL of the labeling API.
        lineage_http: Base URL of the lineage API.
        console_http: Base URL of the web page.
        http: Base URL of health, metrics and API of every service process, by process name.
        grpc: `host:port` of every inference process, by process name.
        api_token: Bearer token of the HTTP APIs; none if empty.
        customer_buckets: Buckets of the demonstration customer on the same storage.
        customer_access_key: The customer's key; empty without such buckets.
        customer_secret_key: Its secret.
        connection: The name under which services know the customer's storage.
    """

    workspace: str
    nats_url: str
    nats_monitor_url: str
    nats_user: str
    nats_password: str
    external_nats_user: str
    external_nats_password: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    inference_grpc: str = ""
    inference_rest: str = ""
    annotate_http: str = ""
    lineage_http: str = ""
    console_http: str = ""
    http: Mapping[str, str] = field(default_factory=dict)
    grpc: Mapping[str, str] = field(default_factory=dict)
    api_token: str = ""
    customer_buckets: tuple[str, ...] = ()
    customer_access_key: str = ""
    customer_secret_key: str = ""
    connection: str = ""

    def save(self, data_dir: Path) -> None:
        """Write `<data>/endpoints.json`, readable by its owner alone."""
        write_private_json(DataFolder(data_dir).endpoints, asdict(self))

    @classmethod
    def load(cls, data_dir: Path) -> Endpoints:
        """Return what was saved.

        Raises:
            PlatformError: No platform was started on this data folder.
        """
        path = DataFolder(data_dir).endpoints
        try:
            stored = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise PlatformError(
                f"no platform was started on {data_dir}: run `loopline up --data {data_dir}`",
                data_dir=str(data_dir),
            ) from error
        stored["customer_buckets"] = tuple(stored["customer_buckets"])
        return cls(**stored)
