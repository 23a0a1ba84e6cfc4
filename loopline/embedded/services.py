"""How each service process is started: its command, its environment, its ports."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loopline.embedded.access_keys import AccessKeys
from loopline.embedded.command import Command, import_path
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.files import private_folder
from loopline.embedded.identities import UPLOADS, Secret, uploads_bucket
from loopline.embedded.layout import DataFolder

INGRESS = ("console", "annotate", "lineage")
"""Services that people and programs call: the first to stop."""
PREFERRED_HTTP: Mapping[str, int] = {
    "console": 8080,
    "annotate": 8081,
    "lineage": 8082,
    "ingest": 8083,
    "trainer": 8084,
    "inference": 8085,
    "router": 8086,
}
PREFERRED_GRPC: Mapping[str, int] = {"inference": 8001}
PREFERRED_REST: Mapping[str, int] = {"inference": 8000}
"""Open Inference Protocol over gRPC and HTTP, where Triton has them."""
CUSTOMER_FACING = ("ingest", "router")
"""The only services that get the customers' keys."""
SHARED_DATABASE = ("annotate",)
"""Services whose processes work on one database: who holds which item to label is in there."""
THREADS: Mapping[str, str] = {
    # Threads that wait must sleep: spinning doubles the CPU of several processes on few cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Each memory arena of a thread pool keeps tens of megabytes; two are enough.
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True)
class ServiceProcess:
    """One process of a service.

    Attributes:
        service: Which service.
        index: Its number among the processes of that service, from 0.
    """

    service: str
    index: int

    @property
    def name(self) -> str:
        """`ingest` for the first, `ingest-2` for the second."""
        return self.service if self.index == 0 else f"{self.service}-{self.index + 1}"

    def preferred_ports(self) -> dict[str, int]:
        """Return the ports it needs, with what to prefer: 0 prefers none."""
        first = self.index == 0
        wanted = {f"{self.name}_http": PREFERRED_HTTP.get(self.service, 0) if first else 0}
        if self.service in PREFERRED_GRPC:
            wanted[f"{self.name}_grpc"] = PREFERRED_GRPC[self.service] if first else 0
            wanted[f"{self.name}_rest"] = PREFERRED_REST[self.service] if first else 0
        return wanted


@dataclass(frozen=True)
class ServiceSurroundings:
    """What every service process is told.

    Attributes:
        folder: The data folder.
        host: The address to listen on.
        endpoints: Where everything is.
        ports: All ports, by name.
        otlp_endpoint: Where traces go; nowhere if empty.
        log_level: How much is logged.
        ack_wait_s: What the durables were declared with; 0 is what the catalog says.
        extra_env: Variables added for one service, by service or process name.
        access_keys: The console signs tokens with them, the others check tokens.
    """

    folder: DataFolder
    host: str
    endpoints: Endpoints
    ports: Mapping[str, int]
    otlp_endpoint: str
    log_level: str
    ack_wait_s: float
    extra_env: Mapping[str, Mapping[str, str]]
    access_keys: AccessKeys

    def command(self, process: ServiceProcess, secret: Secret) -> Command:
        """Return the command of a process, its folder made."""
        folder = private_folder(self.folder.services / process.name)
        return Command(
            name=process.name,
            argv=(sys.executable, "-m", f"services.{process.service}"),
            cwd=folder,
            env=self._environment(process, secret, folder),
        )

    def _environment(self, process: ServiceProcess, secret: Secret, folder: Path) -> dict[str, str]:
        endpoints = self.endpoints
        env = {
            **THREADS,
            **import_path(),
            "LOOPLINE_WORKSPACE": endpoints.workspace,
            "LOOPLINE_AGENT": process.name,
            "LOOPLINE_NATS_URL": endpoints.nats_url,
            "LOOPLINE_NATS_USER": process.service,
            "LOOPLINE_NATS_PASSWORD": secret.password,
            "LOOPLINE_S3_ENDPOINT": endpoints.s3_endpoint,
            "LOOPLINE_S3_BUCKET": endpoints.s3_bucket,
            "LOOPLINE_S3_ACCESS_KEY": secret.access_key,
            "LOOPLINE_S3_SECRET_KEY": secret.secret_key,
            "LOOPLINE_DATA_DIR": str(folder),
            "LOOPLINE_HTTP_HOST": self.host,
            "LOOPLINE_HTTP_PORT": str(self.ports[f"{process.name}_http"]),
            "LOOPLINE_API_TOKEN": endpoints.api_token,
            "LOOPLINE_ACCESS_KEYS": str(self.access_keys.public_file),
            "LOOPLINE_OTLP_ENDPOINT": self.otlp_endpoint,
            "LOOPLINE_LOG_LEVEL": self.log_level,
            "LOOPLINE_ACK_WAIT_S": str(self.ack_wait_s),
            "LOOPLINE_ANNOTATE_URL": endpoints.annotate_http,
            "LOOPLINE_LINEAGE_URL": endpoints.lineage_http,
            "LOOPLINE_CONSOLE_URL": endpoints.console_http,
            "LOOPLINE_INFERENCE_GRPC": endpoints.inference_grpc,
        }
        if process.service in PREFERRED_GRPC:
            env["LOOPLINE_GRPC_HOST"] = self.host
            env["LOOPLINE_GRPC_PORT"] = str(self.ports[f"{process.name}_grpc"])
            env["LOOPLINE_REST_PORT"] = str(self.ports[f"{process.name}_rest"])
        if process.service in SHARED_DATABASE:
            database = self.folder.services / process.service / f"{process.service}.db"
            env["LOOPLINE_DATABASE_URL"] = f"sqlite:///{database}"
        if process.service in CUSTOMER_FACING:
            env["LOOPLINE_CONNECTIONS_FILE"] = str(self.folder.connections)
        if process.service == "console":
            env |= self._console_environment()
        for name in (process.service, process.name):
            env.update(self.extra_env.get(name, {}))
        return env

    def _console_environment(self) -> dict[str, str]:
        """Return what the console alone is told: its signing key, uploads, names, logs."""
        known = json.loads(self.folder.connections.read_text())
        names = sorted(name for name in known if name != UPLOADS)
        return {
            "LOOPLINE_SIGNING_KEY": str(self.access_keys.signing_file),
            "LOOPLINE_CONNECTIONS_FILE": str(self.folder.uploads),
            "LOOPLINE_CONNECTION_NAMES": json.dumps(names),
            "LOOPLINE_UPLOADS_BUCKET": uploads_bucket(self.endpoints.s3_bucket),
            "LOOPLINE_LOGS_DIR": str(self.folder.logs),
        }
