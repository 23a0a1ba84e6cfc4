"""Real servers for tests: each on free ports, in its own folder, stopped by its own pid.

They run without an event loop, so that a session-scoped fixture can own them while every test has
its own loop.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from minio import Minio

from loopline.embedded import nats, ports
from loopline.embedded.command import Command, die_with_parent
from loopline.embedded.errors import NotReady
from loopline.embedded.objects import weed

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.02
LOG_TAIL_BYTES = 2_000
STARTS_MAX = 3

T = TypeVar("T")


class ServerProcess:
    """A child process that can be killed and started again on the same ports and data.

    Args:
        prepare: Writes the server's configuration and returns its command.
        is_ready: Tells whether the server does its work.
        log: The file that takes what it prints.
    """

    def __init__(
        self, prepare: Callable[[], Command], is_ready: Callable[[], bool], log: Path
    ) -> None:
        self._prepare = prepare
        self._is_ready = is_ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start the server and wait until it does its work.

        Raises:
            NotReady: It ended, or was not ready in time; the message has the end of its log.
        """
        command = self._prepare()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )
        self._wait_ready(command.name)
        return self

    def stop(self) -> None:
        """Ask the server to end, and kill it if it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Start the server again on its ports and data, after killing it if it runs."""
        self.kill()
        self.start()

    def _wait_ready(self, name: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                code = self._process.poll()
                self.kill()
                raise NotReady(f"{name} did not start (exit code {code}): {self._log_tail()}")
            time.sleep(POLL_S)

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


@dataclass
class NatsTestServer:
    """A running nats-server.

    Attributes:
        server: What was configured; `server.url`, `server.monitor_url`.
        process: The process: `kill()`, `restart()`, `stop()`, `pid`.
        user: The first user's name; empty without authentication.
        password: Its password; empty without authentication.
    """

    server: nats.NatsServer
    process: ServerProcess
    user: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.server.url

    @property
    def monitor_url(self) -> str:
        """Base of the monitoring pages."""
        return self.server.monitor_url

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()


@dataclass
class S3TestServer:
    """A running SeaweedFS, with the key pair of its administrator.

    Attributes:
        server: What was configured.
        process: The process: `kill()`, `restart()`, `stop()`, `pid`.
        access_key: The administrator's key.
        secret_key: The administrator's secret.
        secure: Whether it speaks TLS (it does not).
    """

    server: weed.WeedServer
    process: ServerProcess
    access_key: str
    secret_key: str
    secure: bool = False

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return self.server.endpoint

    def stop(self) -> None:
        """Stop it and remove what it leaves outside its folder."""
        self.process.stop()
        weed.remove_sockets(self.server.ports)

    def create_bucket(self, prefix: str = "test") -> str:
        """Make a bucket with a name nobody has, and return the name."""
        bucket = f"{prefix}-{secrets.token_hex(6)}"
        weed.ensure_buckets(self._client(), [bucket])
        return bucket

    def remove_bucket(self, bucket: str) -> None:
        """Remove a bucket and what is in it."""
        self._client().remove_bucket(bucket)

    def _client(self) -> Minio:
        return weed.client(self.endpoint, self.access_key, self.secret_key, retries=2)


@dataclass(frozen=True)
class PlatformServers:
    """The two servers that every service needs."""

    nats: NatsTestServer
    s3: S3TestServer


def start_nats(folder: Path, users: Sequence[nats.NatsUser] = ()) -> NatsTestServer:
    """Start a nats-server with JetStream; without users everybody may do everything.

    Args:
        folder: Its data folder.
        users: Who may connect. The first one's name and password become attributes of the answer.

    Raises:
        NotReady: It did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = users[0] if users else None

    def start(given: Mapping[str, int]) -> NatsTestServer:
        # A name nobody else has: readiness is of the process that was started here.
        name = f"test-{secrets.token_hex(6)}"
        server = nats.NatsServer(folder=folder, ports=given, users=users, name=name)
        process = ServerProcess(server.prepare, server.is_ready, folder / "nats.log").start()
        return NatsTestServer(
            server, process, first.name if first else "", first.password if first else ""
        )

    # Preferring none: tests run beside a platform that has the defaults.
    return _on_free_ports(lambda: ports.choose(dict.fromkeys(nats.PREFERRED_PORTS, 0)), start)


def start_s3(folder: Path, identities: Sequence[weed.S3Identity] = ()) -> S3TestServer:
    """Start a SeaweedFS with an administrator's identity and the ones given.

    Raises:
        NotReady: It did not start.
    """
    admin = weed.S3Identity("admin", secrets.token_hex(10), secrets.token_hex(20), ("Admin",))
    folder.mkdir(parents=True, exist_ok=True)

    def start(given: Mapping[str, int]) -> S3TestServer:
        server = weed.WeedServer(folder=folder, ports=given, identities=(admin, *identities))
        probe = weed.client(server.endpoint, admin.access_key, admin.secret_key)
        process = ServerProcess(
            server.prepare, lambda: weed.is_writable(probe, "ready"), folder / "weed.log"
        )
        return S3TestServer(server, process.start(), admin.access_key, admin.secret_key)

    return _on_free_ports(lambda: weed.choose_ports({"weed_admin": 0}), start)


def _on_free_ports(
    choose: Callable[[], Mapping[str, int]], start: Callable[[Mapping[str, int]], T]
) -> T:
    """Start a server, again on others if somebody takes one of its ports before it listens.

    Tests start such servers in several processes at once.
    """
    for _ in range(STARTS_MAX - 1):
        given = choose()
        try:
            return start(given)
        except NotReady:
            if all(ports.is_free(port) for port in given.values()):
                raise
    return start(choose())
