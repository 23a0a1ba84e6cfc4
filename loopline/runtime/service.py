"""What every service is: settings, a bus connection of its own, handlers, health, graceful stop.

A service is a subclass of `Service` whose methods are marked `@on(event)` (short, FastStream) or
`@work(event)` (long, worker loop). Nothing here knows any service.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar

import nats
import nats.errors
import nats.js.errors
import structlog
from fastapi import FastAPI
from faststream.nats import NatsBroker
from faststream.security import SASLPlaintext
from nats.aio.client import Client

from loopline.access.guard import AccessGuard
from loopline.clock import Clock, SystemClock
from loopline.contracts import Agent, Device, Environment, catalog
from loopline.contracts.catalog import DEFAULT_POOL, Event, Stream
from loopline.digests import code_digest
from loopline.runtime import devices, http, reactions, telemetry
from loopline.runtime.agents import AgentReporter, Description, Occupation
from loopline.runtime.bus import Bus, JetStreamOutlet, Outlet
from loopline.runtime.cancellation import Cancellations
from loopline.runtime.chunks import Chunks
from loopline.runtime.processing import Handler, Processor, Retries, StreamDeadLetters
from loopline.runtime.settings import ServiceSettings
from loopline.runtime.worker import Worker
from loopline.store import runs
from loopline.store.blobs import BlobStore, S3Blobs
from loopline.store.commits import CommitLog
from loopline.store.logstore import JetStreamLog, LogStore
from loopline.store.objects import ObjectStore

log = structlog.get_logger()
H = TypeVar("H", bound=Callable[..., Any])

CONNECT_TIMEOUT_S = 5.0
FAREWELL_MS = 2000  # for the last figures to leave


def on(event: Event[Any]) -> Callable[[H], H]:
    """Mark a short, idempotent reaction to `event`."""
    return _marked("_on", event)


def work(event: Event[Any], concurrency: int | None = None) -> Callable[[H], H]:
    """Mark the handler of a command whose work may be long; at most `concurrency` at once."""
    return _marked("_work", (event, concurrency))


def _marked(attribute: str, value: object) -> Callable[[H], H]:
    def mark(method: H) -> H:
        setattr(method, attribute, value)
        return method

    return mark


class Service:
    """Base of every service.

    Subclasses set `name`, override `start`, `stop` and `api`, and mark handlers. `code` names the
    packages whose source is part of the run key; the service's own by default. A service in
    `catalog.AGENTS` reports what it is and what `occupation` says it does.
    """

    name: ClassVar[str]
    code: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        settings: Any,  # each service narrows it to its own settings class
        *,
        commits: LogStore,
        events: LogStore,
        outlet: Outlet,
        blobs: BlobStore,
        clock: Clock | None = None,
        client: Client | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.agent: Agent = runs.this_agent(self.name, settings.agent)
        self.occupation = Occupation(self.clock)
        self.environment: Environment = runs.environment(
            code_digest(*(self.code or (f"services.{self.name}",)))
        )
        source = f"loopline/{self.name}"
        self.client = client
        self.events = events
        self.outlet = outlet
        self.bus = Bus(
            outlet, settings.workspace, source=source, clock=self.clock, agent=self.agent
        )
        self.log = CommitLog(commits, settings.workspace, source=source, clock=self.clock)
        self.objects = ObjectStore(blobs, settings.workspace)
        self.access = AccessGuard(self.log, settings.access_keys, settings.api_token, self.clock)
        self.chunks = Chunks(self.bus, events, self.agent)
        self.cancellations = Cancellations(events, settings.workspace)

    @property
    def code_digest(self) -> str:
        """Digest of the source that this service's results depend on."""
        return self.environment.code_digest

    async def start(self) -> None:
        """Build adapters; called before the first message."""

    async def stop(self) -> None:
        """Close adapters; called after the last message."""

    def api(self) -> FastAPI | None:
        """Return the service's HTTP API, served beside health and metrics; None if it has none."""
        return None

    def ready(self) -> str:
        """Return why the service is not ready, or ""."""
        return ""

    def devices(self) -> list[Device]:
        """Return what it computes with, if it is an agent."""
        return devices.devices()

    def capacity(self) -> int:
        """Return how much work it does at once, if it is an agent."""
        return int(self.settings.concurrency)

    def is_free(self, event: Event[Any]) -> bool:
        """Tell whether a command would be handled at once; else it is left to other processes."""
        return True

    @classmethod
    def reactions(cls) -> dict[str, Event[Any]]:
        """Return the methods marked `@on`, by name."""
        return {n: m._on for n, m in vars(cls).items() if hasattr(m, "_on")}

    @classmethod
    def works(cls) -> dict[str, tuple[Event[Any], int | None]]:
        """Return the methods marked `@work`, by name."""
        return {n: m._work for n, m in vars(cls).items() if hasattr(m, "_work")}


async def connect(settings: ServiceSettings, service: str) -> Client:
    """Connect to the bus as `service`, for ever reconnecting."""

    async def on_error(error: Exception) -> None:
        log.warning("bus_error", reason=repr(error))

    return await nats.connect(
        settings.nats_url,
        name=service,
        user=settings.nats_user or None,
        password=settings.nats_password.get_secret_value() or None,
        inbox_prefix=_inbox(service),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        connect_timeout=CONNECT_TIMEOUT_S,
        error_cb=on_error,
    )


def _inbox(service: str) -> bytes:
    """Return the prefix of replies: the only subjects a service may subscribe to."""
    return f"_INBOX.{service}".encode()


def _security(settings: ServiceSettings) -> SASLPlaintext | None:
    if not settings.nats_user:
        return None
    return SASLPlaintext(settings.nats_user, settings.nats_password.get_secret_value())


class Host:
    """Runs one service in this process until it is told to stop."""

    def __init__(self, service: Service, client: Client) -> None:
        self.service = service
        self._client = client
        self._workers: list[Worker] = []
        self._broker: NatsBroker | None = None
        self._http: http.HttpServer | None = None
        self._reporter: AgentReporter | None = None
        self._pools: dict[str, None] = {}  # whose commands it takes, in order

    async def start(self) -> None:
        """Start adapters, handlers and the HTTP endpoint, in this order."""
        settings = self.service.settings
        await self.service.access.start()
        await self.service.start()
        await self._start_workers()
        self._start_retries()
        await self._start_reactions()
        self._http = http.HttpServer(
            self.service.api(), self._unready, settings.http_host, settings.http_port
        )
        await self._http.start()
        await self._start_reporter()
        gc.freeze()  # what is loaded now stays: the collector need not walk it again and again
        log.info("service_started", http_port=self._http.port, workspace=settings.workspace)

    async def stop(self) -> None:
        """Take nothing new, drain, close."""
        drain_s = self.service.settings.drain_s
        if self._broker is not None:
            await self._broker.stop()
        await asyncio.gather(*(worker.stop(drain_s) for worker in self._workers))
        await self.service.stop()
        if self._reporter is not None:
            await self._reporter.stop()
        await self.service.access.stop()
        if self._http is not None:
            await self._http.stop()
        self.service.objects.close()
        await self._client.close()
        log.info("service_stopped")

    def _processor(self, event: Event[Any], handler: Handler) -> Processor:
        service, settings = self.service, self.service.settings
        dead = StreamDeadLetters(service.outlet, settings.workspace, service.name)
        durable = event.consumed_by(service.name).waiting(settings.ack_wait_s)
        return Processor(event, durable, handler, dead, settings.retry_delay_max_s)

    async def _start_workers(self) -> None:
        service = self.service
        for name, (event, concurrency) in service.works().items():
            processor = self._processor(event, getattr(service, name))
            durables = await self._durables(event)
            worker = Worker(
                self._client,
                processor,
                durables,
                concurrency or service.settings.concurrency,
                partial(service.is_free, event),
            )
            worker.start()
            self._workers.append(worker)

    async def _durables(self, event: Event[Any]) -> list[str]:
        """Return the durable of the pool, and that of commands by name if one was declared."""
        service, settings = self.service, self.service.settings
        pool = event.durable_name(service.name, settings.workspace, settings.pool)
        own = event.durable_name(service.name, settings.workspace, service.agent.id)
        self._pools[settings.pool] = None
        if not event.by_name(service.name) or own == pool:
            return [pool]
        try:
            await self._client.jetstream(timeout=CONNECT_TIMEOUT_S).consumer_info(event.stream, own)
        except (nats.errors.Error, nats.js.errors.Error):  # a denied request is not answered
            log.info("no_commands_by_name", agent=service.agent.id, event_key=event.key)
            return [pool]
        self._pools[service.agent.id] = None
        return [pool, own]

    async def _start_reporter(self) -> None:
        service, settings = self.service, self.service.settings
        if service.name not in catalog.AGENTS:
            return
        description = Description(
            agent=service.agent,
            labels={"pool": settings.pool, **settings.labels},
            pools=tuple(self._pools),
            devices=await asyncio.to_thread(service.devices),
            capacity=service.capacity(),
            folder=settings.data_dir,
        )
        self._reporter = AgentReporter(service.bus, service.clock, description, service.occupation)
        self._reporter.start()

    def _start_retries(self) -> None:
        """Take reactions that died and were put back by a person (`loopline dead retry`)."""
        service = self.service
        marked = {**service.reactions(), **{n: e for n, (e, _) in service.works().items()}}
        processors = {
            event.key: self._processor(event, getattr(service, name))
            for name, event in marked.items()
            if event.stream == Stream.COMMITS
        }
        if processors:
            name = catalog.retry_durable(service.settings.workspace, service.name)
            retries = Retries(processors, catalog.RETRY.waiting(service.settings.ack_wait_s))
            worker = Worker(self._client, retries, [name], service.settings.concurrency)
            worker.start()
            self._workers.append(worker)

    async def _start_reactions(self) -> None:
        service, settings = self.service, self.service.settings
        if not service.reactions():
            return
        self._broker = NatsBroker(
            settings.nats_url,
            name=f"{service.name}-reactions",
            security=_security(settings),
            inbox_prefix=_inbox(service.name),
            max_reconnect_attempts=-1,
            apply_types=False,
            logger=None,
        )
        for name, event in service.reactions().items():
            reactions.subscribe(
                self._broker,
                self._processor(event, getattr(service, name)),
                event.subject(settings.workspace),
                event.durable_name(service.name, settings.workspace, DEFAULT_POOL),
                _inbox(service.name),
            )
        await self._broker.start()

    def _unready(self) -> str:
        if not self._client.is_connected:
            return "the bus is not connected"
        return self.service.ready()


def run(service_class: type[Service], settings_class: type[ServiceSettings]) -> None:
    """Run a service until SIGTERM or SIGINT: the whole of its `__main__`."""
    import uvloop

    settings = settings_class()
    telemetry.configure_logging(service_class.name, settings.log_level)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    uvloop.run(_run(service_class, settings))


async def _run(service_class: type[Service], settings: ServiceSettings) -> None:
    name, instance = service_class.name, settings.agent or socket.gethostname()
    traces = telemetry.configure_traces(name, settings.otlp_endpoint, instance)
    measured = telemetry.configure_metrics(name, settings.otlp_metrics_endpoint, instance)
    telemetry.observe_disk(settings.data_dir)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stopping.set)
    client = await connect(settings, service_class.name)
    host = Host(build(service_class, settings, client), client)
    try:
        await host.start()
        await stopping.wait()
    finally:
        await host.stop()
        traces.shutdown()
        measured.shutdown(timeout_millis=FAREWELL_MS)


def build(service_class: type[Service], settings: ServiceSettings, client: Client) -> Service:
    """Return the service over the real bus and storage."""
    blobs = S3Blobs(
        settings.s3_endpoint,
        settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
        settings.s3_bucket,
        secure=settings.s3_secure,
    )
    return service_class(
        settings,
        commits=JetStreamLog(client, Stream.COMMITS),
        events=JetStreamLog(client, Stream.EVENTS),
        outlet=JetStreamOutlet(client),
        blobs=blobs,
        client=client,
    )
