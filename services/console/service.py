"""The console: the page, and everything it asks for, behind one sign-in and one origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, FastAPI
from sqlalchemy import Engine

from loopline.access import KeySet, SigningKey, TokenIssuer, TokenVerifier
from loopline.access.links import ONE_TIME_AUDIENCE
from loopline.runtime.service import Service
from loopline.store.blobs import BlobStore
from loopline.store.database import open_database
from loopline.store.datasets import Datasets
from services.console.adapters.accounts import AccountStore
from services.console.adapters.assets import Assets
from services.console.adapters.bus_figures import BusFigures
from services.console.adapters.commands import Commands
from services.console.adapters.datasets import DatasetDesk
from services.console.adapters.events import EventFeed
from services.console.adapters.front_door import FrontDoor
from services.console.adapters.imports import ImportDesk
from services.console.adapters.log_view import LogView
from services.console.adapters.models import ModelDesk
from services.console.adapters.oidc import IdentityProvider
from services.console.adapters.pages import STATIC, Guard, add_pages
from services.console.adapters.passwords import Passwords
from services.console.adapters.people import People
from services.console.adapters.queues import Queues
from services.console.adapters.runs import RunDesk
from services.console.adapters.sdk import Sdk
from services.console.adapters.thumbnails import Limits, Thumbnails
from services.console.adapters.upstream import Upstream
from services.console.adapters.workflow import WorkflowDesk
from services.console.routes.assets import AssetRoutes
from services.console.routes.datasets import DatasetRoutes
from services.console.routes.imports import ImportRoutes
from services.console.routes.live import LiveRoutes
from services.console.routes.models import ModelRoutes
from services.console.routes.people import PeopleRoutes
from services.console.routes.registry import Registry, answer_errors, describe
from services.console.routes.runs import RunRoutes
from services.console.routes.session import SessionRoutes
from services.console.routes.upstream import UpstreamRoutes
from services.console.routes.workflow import WorkflowRoutes
from services.console.settings import ConsoleSettings

MEMORY_IDLE_S = 0.02  # how often the log is read where nothing announces news: in tests


@dataclass(frozen=True)
class Desks:
    """What the routes ask."""

    door: FrontDoor
    people: People
    workflow: WorkflowDesk
    datasets: DatasetDesk
    assets: Assets
    models: ModelDesk
    runs: RunDesk
    commands: Commands
    queues: Queues
    feed: EventFeed
    imports: ImportDesk
    annotate: Upstream
    lineage: Upstream


class Console(Service):
    """Shows a workspace in a browser, and does there what who is signed in may do."""

    name = "console"
    settings: ConsoleSettings

    async def start(self) -> None:
        """Open the database, read the log, build what the routes ask."""
        settings = self.settings
        self._engine: Engine = open_database(settings.sqlite_url(self.name))
        self.accounts = AccountStore(self._engine)
        self.accounts.create()
        idle_s = {} if self.client is not None else {"idle_s": MEMORY_IDLE_S}
        self.view = LogView(self.log.store, self.events, settings.workspace, self.client, **idle_s)
        limits = Limits(
            settings.thumbnail_memory_max_bytes,
            settings.thumbnail_disk_max_bytes,
            settings.thumbnail_pixels_max,
            settings.thumbnail_threads,
        )
        self._thumbnails = Thumbnails(settings.data_dir / "thumbnails", limits)
        self.desks = self._desks()
        await self.view.start()
        self._figures = BusFigures(
            self.client, settings.workspace, self.desks.queues, self.view.agents.values, self.clock
        )
        for part in (self.desks.feed, self.desks.workflow, self.desks.imports, self._figures):
            await part.start()

    async def stop(self) -> None:
        """End streams, stop following, close what was opened."""
        parts = (self.desks.feed, self.desks.workflow, self.desks.imports, self._figures, self.view)
        for part in parts:
            await part.stop()
        await self.desks.annotate.close()
        await self.desks.lineage.close()
        self._thumbnails.close()
        self._engine.dispose()

    def ready(self) -> str:
        """Return why the service is not ready, or ""."""
        return self.view.trouble

    def api(self) -> FastAPI:
        """Return the page and what it asks for."""
        app = _app(self.routes())
        app.add_middleware(
            Guard,
            allowed_hosts=self.settings.allowed_hosts,
            public_url=self.settings.public_url,
            body_max_bytes=self.settings.body_size_max_bytes,
        )
        add_pages(app, self.settings.pages_dir or STATIC)
        return app

    def routes(self) -> APIRouter:
        """Return everything below /api."""
        return router_over(self.desks)

    def _desks(self) -> Desks:
        settings, view, clock = self.settings, self.view, self.clock
        key = settings.signing_key.get_secret_value()
        signing = SigningKey.of_setting(key) if key else None
        issuer = TokenIssuer(signing, settings.workspace, clock) if signing else None
        datasets, sdk = Datasets(self.log, self.objects), Sdk(self)
        runs = RunDesk(view, clock, settings.trace_url, settings.logs_dir)
        commands = Commands(self.bus, self.log, runs)
        passwords = Passwords()
        return Desks(
            door=self._door(passwords, signing),
            people=People(
                self.accounts, passwords, issuer, self.access.revocations, clock,
                settings.public_url,
            ),
            workflow=WorkflowDesk(view, runs, datasets),
            datasets=DatasetDesk(view, datasets, self.objects, sdk, settings.scan_items_max),
            assets=Assets(self.objects, self._thumbnails),
            models=ModelDesk(view, datasets, self.objects, sdk),
            runs=runs,
            commands=commands,
            queues=Queues(self.client, settings.workspace, clock),
            feed=EventFeed(
                view, runs, clock, readers_max=settings.events_readers_max,
                behind_max=settings.events_behind_max, keepalive_s=settings.keepalive_s,
            ),
            imports=ImportDesk(settings, self._uploads(), commands, runs, clock),
            annotate=self._upstream("annotate", settings.annotate_url, issuer),
            lineage=self._upstream("lineage", settings.lineage_url, issuer),
        )  # fmt: skip

    def _door(self, passwords: Passwords, signing: SigningKey | None) -> FrontDoor:
        settings = self.settings
        links = provider = None
        if signing is not None:
            links = TokenVerifier(
                KeySet.of(signing), settings.workspace, clock=self.clock,
                audience=ONE_TIME_AUDIENCE,
            )  # fmt: skip
        if settings.oidc_issuer:
            provider = IdentityProvider(
                settings.oidc_issuer,
                settings.oidc_client_id,
                settings.oidc_client_secret.get_secret_value(),
                settings.oidc_name_claim,
            )
        return FrontDoor(
            settings, self.accounts, passwords, links, self.access, provider, self.clock
        )

    def _uploads(self) -> BlobStore | None:
        if not self.settings.uploads_bucket:
            return None
        connection = self.settings.uploads_connection
        return self.settings.customer_blobs(connection, self.settings.uploads_bucket)

    def _upstream(self, name: str, url: str, issuer: TokenIssuer | None) -> Upstream:
        settings = self.settings
        return Upstream(
            name, url, issuer, settings.api_token.get_secret_value(),
            timeout_s=settings.upstream_timeout_s,
            answer_max_bytes=settings.answer_size_max_bytes,
            body_max_bytes=settings.body_size_max_bytes,
        )  # fmt: skip


def document_app() -> FastAPI:
    """Return the API without anything behind it, for its OpenAPI document."""
    return _app(router_over(cast("Desks", _Nothing())))


class _Nothing:
    """Stands where the document needs no desk."""

    def __getattr__(self, name: str) -> _Nothing:
        return self


def router_over(desks: Desks) -> APIRouter:
    """Return the routes of the API, which ask `desks`."""
    registry = Registry(desks.door.authenticate)
    for routes in (
        SessionRoutes(desks.door),
        PeopleRoutes(desks.people),
        WorkflowRoutes(desks.workflow),
        DatasetRoutes(desks.datasets),
        AssetRoutes(desks.assets),
        ModelRoutes(desks.models, desks.commands),
        RunRoutes(desks.runs, desks.commands),
        LiveRoutes(desks.queues, desks.feed),
        ImportRoutes(desks.imports),
        UpstreamRoutes(desks.annotate, desks.lineage),
    ):
        routes.register(registry)
    return registry.router


def _app(routes: APIRouter) -> FastAPI:
    app = FastAPI(
        title="Loopline console",
        description="Everything the console's pages ask for; programs use it with a token.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(routes)
    describe(app)
    answer_errors(app)
    return app
