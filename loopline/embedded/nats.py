"""nats-server: the bus and the commit log of the embedded platform."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopline.embedded.binaries import NATS_SERVER, locate
from loopline.embedded.command import Command
from loopline.embedded.files import private_folder, write_private_json

PREFERRED_PORTS: Mapping[str, int] = {"nats": 4222, "nats_monitor": 8222}
PROBE_TIMEOUT_S = 1.0
INFO_BYTES_MAX = 65_536
# A killed process loses nothing whatever this is (the kernel has the bytes); a power cut loses what
# was acknowledged since the last sync. The server's own default is two minutes; `always` costs 4-5
# times the rate of single publishes. See docs/adr/0004-embedded-servers.md.
SYNC_INTERVAL = "1s"
# The server's own default is three quarters of the free disk, out of which streams reserve their
# bounds: a disk with 10 GB free would refuse streams that hold nothing yet. The bounds are the
# streams' own.
FILE_STORE_BYTES = 1024**4


@dataclass(frozen=True)
class NatsUser:
    """A user of the bus; without permissions (None) everything is allowed.

    Attributes:
        name: Who it is.
        password: Its secret.
        publish: Subjects it may publish to; None allows all.
        subscribe: Subjects it may subscribe to; None allows all.
    """

    name: str
    password: str
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None

    def config(self) -> dict[str, Any]:
        """Return the user as nats-server's configuration has it."""
        user: dict[str, Any] = {"user": self.name, "password": self.password}
        if self.publish is not None or self.subscribe is not None:
            user["permissions"] = {
                "publish": {"allow": list(self.publish or ())} if self.publish else {"deny": ">"},
                "subscribe": ({"allow": list(self.subscribe)} if self.subscribe else {"deny": ">"}),
            }
        return user


@dataclass(frozen=True)
class NatsServer:
    """One nats-server process: its data folder, ports and users (none: no authentication)."""

    folder: Path
    ports: Mapping[str, int]
    users: Sequence[NatsUser] = ()
    host: str = "127.0.0.1"
    name: str = "loopline"
    sync_interval: str = SYNC_INTERVAL

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self.host}:{self.ports['nats']}"

    @property
    def monitor_url(self) -> str:
        """Base of the monitoring pages."""
        return f"http://{self.host}:{self.ports['nats_monitor']}"

    def prepare(self) -> Command:
        """Write the configuration and return the command; call it before each start."""
        private_folder(self.folder)
        config = self.folder / "nats.conf"
        write_private_json(config, self.config())
        return Command(
            name="nats",
            argv=(str(locate(NATS_SERVER)), "--config", str(config)),
            cwd=self.folder,
        )

    def config(self) -> dict[str, Any]:
        """Return the configuration: nats-server reads JSON as well as its own notation."""
        config: dict[str, Any] = {
            "server_name": self.name,
            "host": self.host,
            "port": self.ports["nats"],
            "http": f"{self.host}:{self.ports['nats_monitor']}",
            "jetstream": {
                "store_dir": str(self.folder / "jetstream"),
                "sync_interval": self.sync_interval,
                "max_file_store": FILE_STORE_BYTES,
            },
        }
        if self.users:
            config["authorization"] = authorization(self.users)
        return config

    def is_ready(self) -> bool:
        """Tell whether this very server answers, with JetStream: it greets with its name."""
        info = greeting(self.host, self.ports["nats"])
        return bool(info.get("server_name") == self.name and info.get("jetstream"))


def authorization(users: Sequence[NatsUser]) -> dict[str, Any]:
    """Return users as nats-server's configuration has them."""
    return {"users": [user.config() for user in users]}


def write_error(health: str) -> str:
    """Return what a bad answer of `/healthz` says of a write that failed; "" if it says none.

    After such an error (a full disk) a stream refuses writes until the server is started again,
    also when there is space.
    """
    try:
        reason = str(json.loads(health).get("error", ""))
    except (ValueError, AttributeError):
        return ""
    return reason if "write error" in reason else ""


def greeting(host: str, port: int) -> dict[str, Any]:
    """Return what a nats-server says first to any client; empty if none answers."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S) as connection:
            line = b""
            while not line.endswith(b"\r\n") and len(line) < INFO_BYTES_MAX:
                received = connection.recv(4096)
                if not received:
                    return {}
                line += received
    except OSError:
        return {}
    if not line.startswith(b"INFO "):
        return {}
    # More may have come with it: a server that reads its configuration again greets anew.
    info: dict[str, Any] = json.loads(line[5:].partition(b"\r\n")[0])
    return info
