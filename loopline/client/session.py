"""One connection to a platform, shared by the verbs of the SDK."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import nats
import nats.errors
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg

from loopline.client.settings import ClientSettings
from loopline.clock import Clock, SystemClock
from loopline.contracts import Actor, ArtefactRef, Run, RunChanged, RunKind, RunState, catalog
from loopline.contracts.catalog import Event, Stream
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from loopline.runtime.bus import Bus, JetStreamOutlet
from loopline.store import runs
from loopline.store.blobs import S3Blobs
from loopline.store.commits import CommitLog
from loopline.store.datasets import Datasets
from loopline.store.logstore import JetStreamLog
from loopline.store.objects import ObjectStore

HTTP_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
QUIET_S = 10.0
"""After so long without a report who waits for a run looks for its last one: while the bus was
away reports were stored and reached nobody."""
ENDED = (RunState.RUN_STATE_COMPLETED, RunState.RUN_STATE_FAILED, RunState.RUN_STATE_CANCELLED)


Told = Callable[[RunChanged], None]
"""Called with each report of a run that is waited for."""


class RunFailed(LooplineError):
    """The run that was waited for failed; the message is its reason."""


class Session:
    """Connections and the library objects over them."""

    def __init__(self, settings: ClientSettings, client: Client) -> None:
        self.settings = settings
        self.nats = client
        self.clock: Clock = SystemClock()
        source = f"loopline/user/{settings.user}"
        self.log = CommitLog(
            JetStreamLog(client, Stream.COMMITS), settings.workspace, source=source
        )
        self.events = JetStreamLog(client, Stream.EVENTS)
        self.bus = Bus(JetStreamOutlet(client), settings.workspace, source=source, clock=self.clock)
        self.objects = ObjectStore(
            S3Blobs(
                settings.s3_endpoint,
                settings.s3_access_key,
                settings.s3_secret_key.get_secret_value(),
                settings.s3_bucket,
                secure=settings.s3_secure,
            ),
            settings.workspace,
        )
        self.datasets = Datasets(self.log, self.objects)
        self._http = httpx.AsyncClient(timeout=HTTP_TIMEOUT_S)

    @classmethod
    def within(
        cls,
        settings: ClientSettings,
        *,
        log: CommitLog,
        bus: Bus,
        objects: ObjectStore,
        clock: Clock,
    ) -> Session:
        """Return a session over a service's own connections, for what needs the log alone.

        The service keeps and closes them; `nats` and `http` are not there.
        """
        session = cls.__new__(cls)
        session.settings, session.clock = settings, clock
        session.log, session.bus, session.objects = log, bus, objects
        session.datasets = Datasets(log, objects)
        return session

    @classmethod
    async def open(cls, settings: ClientSettings) -> Session:
        """Connect; Transient if the bus cannot be reached or refuses us."""

        async def quiet(_: Exception) -> None:
            """The reconnecting client's own log would go to the user's terminal."""

        try:
            client = await nats.connect(
                settings.nats_url,
                name="loopline-client",
                user=settings.nats_user or None,
                password=settings.nats_password.get_secret_value() or None,
                inbox_prefix=f"_INBOX.{settings.nats_user or 'user'}".encode(),
                connect_timeout=CONNECT_TIMEOUT_S,
                allow_reconnect=False,
                error_cb=quiet,
            )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Transient(f"the bus at {settings.nats_url} cannot be reached: {error}") from error
        # Once connected, a bus that restarts is waited for.
        client.options["allow_reconnect"] = True
        client.options["max_reconnect_attempts"] = -1
        return cls(settings, client)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        self.objects.close()
        await self.nats.close()

    @property
    def actor(self) -> Actor:
        """Who this client acts for."""
        return Actor(kind="user", name=self.settings.user)

    async def edit(
        self, kind: RunKind, subject: str, *inputs: ArtefactRef, **parameters: Any
    ) -> Run:
        """Return the run of a person's own change.

        A person may do the same twice with something else in between, so the run's key holds where
        the log stood.
        """
        parameters["at_sequence"] = await self.log.store.last_sequence()
        parameters["subject"] = subject
        return runs.new_run(
            kind,
            inputs=inputs,
            parameters=parameters,
            actor=self.actor,
            environment=runs.environment(""),
            clock=self.clock,
        )

    async def http(self, base_url: str, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Call a service's HTTP API; its errors become ours."""
        if not base_url:
            raise NotFound("this service's address is not known: is the platform running?")
        token = self.settings.api_token.get_secret_value()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            response = await self._http.request(
                method, f"{base_url}{path}", headers=headers, **kwargs
            )
        except httpx.HTTPError as error:
            raise Transient(f"{base_url} cannot be reached: {error!r}") from error
        if response.is_success:
            return response
        raise _http_error(response)

    async def command(
        self,
        event: Event[Any],
        message: Message,
        *,
        wait: bool,
        told: Told | None = None,
        id: str = "",
        **tokens: str,
    ) -> CommandResult:
        """Send a command; if `wait`, return once its run has ended.

        `told` is called with each report of the run meanwhile. A command with the `id` of an
        earlier one of its kind is that one, sent again.

        Raises:
            Rejected: The command was refused, with the reason.
            RunFailed: The run failed.
        """
        command_id = id or str(uuid4())
        async with self.reports() as reports:
            await self.bus.send(event, message, id=command_id, **tokens)  # type: ignore[arg-type]
            if not wait:
                return CommandResult(command_id, None)
            # Of a command that was sent before, everything may have been told already.
            heard = self._heard(reports, quiet_s=0.0 if id else QUIET_S)
            async with aclosing(heard):
                return await _follow(command_id, heard, told)

    async def _heard(
        self, reports: AsyncIterator[RunChanged | Rejected], quiet_s: float
    ) -> AsyncGenerator[RunChanged | Rejected, None]:
        """Yield reports; after some quiet the last one of every run: a restart may have hid it."""
        coming = asyncio.ensure_future(anext(reports))
        try:
            while True:
                done, _ = await asyncio.wait([coming], timeout=quiet_s)
                quiet_s = QUIET_S
                if done:
                    yield coming.result()
                    coming = asyncio.ensure_future(anext(reports))
                    continue
                with contextlib.suppress(Transient):
                    for record in await self.events.last(self._every_run):
                        yield RunChanged.FromString(record.data)
        finally:
            coming.cancel()

    @property
    def _every_run(self) -> str:
        return catalog.RUN_CHANGED.subject(self.settings.workspace)

    @asynccontextmanager
    async def reports(self) -> AsyncIterator[AsyncIterator[RunChanged | Rejected]]:
        """Yield the reports of every run from now on, and the rejections of commands."""
        queue: asyncio.Queue[Msg] = asyncio.Queue()
        workspace = self.settings.workspace
        subjects = (
            self._every_run,
            f"{catalog.PREFIX}.{workspace}.dead.>",
        )
        subscriptions = [await self.nats.subscribe(s, cb=queue.put) for s in subjects]
        await self.nats.flush()
        try:
            yield _reports(queue)
        finally:
            for subscription in subscriptions:
                await subscription.unsubscribe()


class CommandResult:
    """What became of a command.

    Args:
        command_id: The CloudEvents id it was sent under.
        last: The run's last report; None if it was not waited for.
    """

    def __init__(self, command_id: str, last: RunChanged | None) -> None:
        self.command_id = command_id
        self.last = last

    @property
    def run_id(self) -> str:
        """The run's id; empty if it was not waited for."""
        return self.last.run_id if self.last else ""

    @property
    def artefact(self) -> ArtefactRef | None:
        """What the run made."""
        return self.last.artefact if self.last else None


async def _reports(queue: asyncio.Queue[Msg]) -> AsyncIterator[RunChanged | Rejected]:
    while True:
        message = await queue.get()
        headers = message.headers or {}
        if "Loopline-Dead-Reason" in headers:
            yield Rejected(headers["Loopline-Dead-Reason"], event_id=headers.get("ce-id", ""))
        else:
            yield RunChanged.FromString(message.data)


async def _follow(
    command_id: str, reports: AsyncIterator[RunChanged | Rejected], told: Told | None
) -> CommandResult:
    run_id = ""
    async for report in reports:
        if isinstance(report, Rejected):
            if report.ids.get("event_id") == command_id:
                raise report
            continue
        if report.command_id == command_id:
            run_id = report.run_id
        if not run_id or report.run_id != run_id:
            continue
        if told is not None:
            told(report)
        if report.state == RunState.RUN_STATE_FAILED:
            raise RunFailed(report.message, run_id=run_id)
        if report.state in ENDED:
            return CommandResult(command_id, report)
    raise Transient("the connection ended before the run did", command_id=command_id)


def _http_error(response: httpx.Response) -> LooplineError:
    try:
        reason = str(response.json().get("error") or response.json().get("detail") or "")
    except ValueError:
        reason = response.text[:300]
    message = f"{response.request.url.path}: {reason or response.reason_phrase}"
    if response.status_code == 404:
        return NotFound(message)
    if response.status_code >= 500 or response.status_code == 429:
        return Transient(message)
    return Rejected(message, status=response.status_code)
