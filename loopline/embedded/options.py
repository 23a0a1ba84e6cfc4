"""What a platform is asked to be."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopline.contracts.catalog import AGENTS, DEFAULT_POOL, SERVICES
from loopline.embedded.errors import PlatformError
from loopline.embedded.services import ServiceProcess
from loopline.embedded.supervisor import BACKOFF_MAX_S
from loopline.names import validate_name

PROCESSES_MAX = 64  # of one service
BUCKET = "loopline"
DATABASE_URL = "LOOPLINE_DATABASE_URL"


@dataclass(frozen=True)
class PlatformOptions:
    """What a platform is asked to be.

    Attributes:
        data_dir: Everything it keeps; one platform at a time owns it.
        workspace: The team's name space.
        services: Which services to run; none of them is fine, the two servers always run.
        scale: Processes per service, 1 if not named.
        pools: Pools that commands may be sent to.
        host: The address the services' HTTP and gRPC listen on. nats-server and SeaweedFS always
            listen on 127.0.0.1.
        api_token: Bearer token of the HTTP APIs; one is made for the data folder if empty.
        otlp_endpoint: Where traces go ("http://host:4317"); nowhere if empty.
        log_level: How much services log.
        customer_buckets: Buckets to make for a demonstration customer on the same storage, reached
            by services as connection "customer", with an identity that sees nothing else.
        ack_wait_s: How soon a killed process's work is taken up again; 0 is what the catalog says.
        restart_delay_max_s: Upper bound of the growing delay before a process that ended is
            started again.
        extra_env: Variables added for one service, by service or process name.
        prefer_default_ports: Take the well-known ports where free; else any free ones.
        fork_server: Fork services from one process that has the imports done; where forking is not
            safe (macOS), each is started on its own.
    """

    data_dir: Path
    workspace: str = "default"
    services: tuple[str, ...] = SERVICES
    scale: Mapping[str, int] = field(default_factory=dict)
    pools: tuple[str, ...] = (DEFAULT_POOL,)
    host: str = "127.0.0.1"
    api_token: str = ""
    otlp_endpoint: str = ""
    log_level: str = "info"
    customer_buckets: tuple[str, ...] = ()
    ack_wait_s: float = 0.0
    restart_delay_max_s: float = BACKOFF_MAX_S
    extra_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prefer_default_ports: bool = True
    fork_server: bool = sys.platform == "linux"

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_dir", self.data_dir.absolute())
        validate_name("workspace", self.workspace)
        for service in (*self.services, *self.scale):
            if service not in SERVICES:
                raise PlatformError(
                    f"there is no service {service!r}; there are {', '.join(SERVICES)}"
                )
        for service, count in self.scale.items():
            if not 1 <= count <= PROCESSES_MAX:
                raise PlatformError(
                    f"{service} can run as 1 to {PROCESSES_MAX} processes, not {count}"
                )
        told = {**os.environ, **self.extra_env.get("console", {})}
        if self.scale.get("console", 1) > 1 and not told.get(DATABASE_URL):
            raise PlatformError(
                f"several consoles need one PostgreSQL database: set {DATABASE_URL}; with a "
                "SQLite file each they would not know each other's sessions"
            )
        for bucket in (BUCKET, f"{BUCKET}-uploads"):
            if bucket in self.customer_buckets:
                raise PlatformError(f"{bucket!r} is the platform's own bucket, not a customer's")
        if not self.api_token and not ipaddress.ip_address(self.host).is_loopback:
            raise PlatformError(
                f"{self.host} can be reached from other machines: give an API token as well"
            )

    def agents(self) -> tuple[str, ...]:
        """Return the names of the workers that can be sent commands by name."""
        return tuple(p.name for p in self.processes() if p.service in AGENTS)

    def processes(self) -> tuple[ServiceProcess, ...]:
        """Return every service process to run."""
        return tuple(
            ServiceProcess(service, index)
            for service in self.services
            for index in range(self.scale.get(service, 1))
        )
