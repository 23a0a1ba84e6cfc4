"""lineage: the workflow graph, kept from the log and answered over HTTP."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse

from loopline.access import Scope
from loopline.errors import NotFound, Transient
from loopline.lineage import openlineage
from loopline.runtime.service import Service
from loopline.store.database import open_database
from loopline.store.log_reader import LogReader, StoreReader, StreamReader
from loopline.store.projections import Projector
from services.lineage.adapters import http
from services.lineage.adapters.changes import changes
from services.lineage.adapters.projection import LineageGraph
from services.lineage.adapters.queries import Direction, GraphReader
from services.lineage.domain.view import view_of
from services.lineage.settings import LineageSettings

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1)]
Kinds = Annotated[str, Query(description="Kinds to show, comma separated; all if empty.")]

GRAPH_NODES = 500
PAGE_NODES = 100
PAGE_COMMITS = 10_000
MEMORY_IDLE_S = 0.01  # how often the log is read where nothing announces news: in tests


class Lineage(Service):
    """Projects every commit into nodes and edges; emits nothing."""

    name = "lineage"
    settings: LineageSettings

    async def start(self) -> None:
        """Open the database and begin to follow the log; it is ready once it has caught up."""
        self._engine = open_database(self.settings.sqlite_url(self.name))
        self.graph = GraphReader(self._engine)
        self._reader = self._log_reader()
        self.projector = Projector(self._engine, LineageGraph(), self._reader)
        self._stopping = asyncio.Event()
        self._streams = 0
        await self.projector.open()
        self._target = await self._reader.last_sequence()
        # A batch is some 50,000 objects: without this the collector looks at all that start-up made
        # at every few batches, a third of the time that projecting takes.
        gc.freeze()
        self._following = asyncio.create_task(self.projector.follow(), name="follow the log")

    async def stop(self) -> None:
        """Stop following, end the streams, close the database."""
        self._stopping.set()
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        self._engine.dispose()

    def ready(self) -> str:
        """Return why the service is not ready, or ""."""
        if self._following.done() and not self._following.cancelled():
            return f"the graph is not kept: {self._following.exception()}"
        if self.projector.applied < self._target:
            return f"the graph is at sequence {self.projector.applied} of {self._target}"
        return ""

    def api(self) -> FastAPI:
        """Return the graph's API."""
        app = FastAPI(title="Loopline lineage", docs_url=None, redoc_url=None)
        token = Depends(self.access.require(Scope.READ))
        router = APIRouter(prefix="/v1", dependencies=[token], default_response_class=Response)

        def get(path: str, handler: Callable[..., Any], body: type | None) -> None:
            model: dict[int | str, dict[str, Any]] = {200: {"model": body}} if body else {}
            router.add_api_route(path, handler, responses=model, response_model=None)

        get("/graph", self.get_graph, http.GraphOut)
        get("/nodes", self.get_nodes, http.NodesOut)
        get("/nodes/{id:path}/upstream", self.get_upstream, http.GraphOut)
        get("/nodes/{id:path}/downstream", self.get_downstream, http.GraphOut)
        get("/nodes/{id:path}", self.get_node, http.NodeDetailOut)
        get("/runs", self.get_runs, http.NodesOut)
        get("/runs/{run_id}/openlineage", self.get_openlineage, None)
        get("/commits", self.get_commits, http.CommitsOut)
        get("/changes", self.get_changes, http.ChangeOut)
        get("/status", self.get_status, http.StatusOut)
        app.include_router(router)
        return app

    async def get_graph(
        self,
        limit: Limit = GRAPH_NODES,
        focus: str = "",
        direction: Direction = "both",
        kinds: Kinds = "",
        fold: bool = True,
    ) -> Response:
        """Return the newest part of the graph, or what `focus` comes from and what came of it."""
        limit = min(limit, self.settings.graph_nodes_max)
        sequence = self.projector.applied
        if focus:
            found = await self._in_database(self.graph.closure, focus, direction, limit, fold=fold)
            if not found.nodes:
                raise NotFound(f"there is no node {focus!r} in the graph", node=focus)
        else:
            found = await self._in_database(self.graph.newest, limit, fold=fold)
        view = view_of(found.nodes, found.edges, _words(kinds))
        return http.graph_answer(view, sequence, found.total)

    async def get_upstream(
        self, id: str, limit: Limit = GRAPH_NODES, kinds: Kinds = ""
    ) -> Response:
        """Return what a node comes from."""
        return await self.get_graph(limit, id, "upstream", kinds, fold=False)

    async def get_downstream(
        self, id: str, limit: Limit = GRAPH_NODES, kinds: Kinds = ""
    ) -> Response:
        """Return what came of a node."""
        return await self.get_graph(limit, id, "downstream", kinds, fold=False)

    async def get_node(self, id: str) -> Response:
        """Return a node, all that its commit says of it, and the edges at it."""
        row = await self._in_database(self.graph.node, id)
        if row is None:
            raise NotFound(f"there is no node {id!r} in the graph", node=id)
        return http.node_answer(row)

    async def get_nodes(
        self,
        kind: Kinds = "",
        name: str = "",
        digest: str = "",
        before: int = 0,
        limit: Limit = PAGE_NODES,
    ) -> Response:
        """Return committed nodes, the newest first."""
        limit = min(limit, self.settings.graph_nodes_max)
        found = await self._in_database(
            self.graph.find,
            kinds=_words(kind), name=name, digest=digest, before=before, limit=limit,
        )  # fmt: skip
        return http.nodes_answer(found, limit)

    async def get_runs(
        self, kind: str = "", before: int = 0, limit: Limit = PAGE_NODES
    ) -> Response:
        """Return runs, the newest first; of one kind ("train") if given."""
        return await self.get_nodes("run", kind, "", before, limit)

    async def get_commits(self, after: int = 0, limit: Limit = PAGE_COMMITS) -> Response:
        """Return which commits the graph is made of: whoever has the log can compare."""
        limit, applied = min(limit, PAGE_COMMITS), self.projector.applied
        found = await self._in_database(self.graph.sequences, after, limit)
        following = found[-1] if len(found) == limit else None
        return http.json_answer(
            {"applied_sequence": applied, "sequences": found, "next": following}
        )

    async def get_openlineage(self, run_id: str) -> Response:
        """Return a run as an OpenLineage event."""
        run = await self._in_database(self.graph.node, f"run:{run_id}")
        if run is None:
            raise NotFound(f"there is no run {run_id!r} in the graph", run=run_id)
        inputs = [edge["source"] for edge in run["inputs"]]
        outputs = [edge["target"] for edge in run["outputs"]]
        event = openlineage.run_event(
            orjson.loads(run["details"]),
            orjson.loads(run["figures"]),
            await self._in_database(self.graph.by_id, inputs),
            await self._in_database(self.graph.by_id, outputs),
            self.settings.workspace,
        )
        return http.json_answer(event)

    async def get_changes(
        self,
        after: int | None = None,
        last_event_id: Annotated[str, Header()] = "",
    ) -> Response:
        """Stream commits as server-sent events: above `Last-Event-ID` or `after`, then live."""
        if self._streams >= self.settings.changes_streams_max:
            raise Transient("too many streams of changes are open; come back later")
        given = int(last_event_id) if last_event_id.isdigit() else after
        start = self.projector.applied if given is None else given
        return StreamingResponse(
            self._changes(start),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def get_status(self) -> Response:
        """Return where the graph is, and what could not be put into it."""
        last = await self._reader.last_sequence()
        applied = self.projector.applied
        return http.json_answer(
            {
                "workspace": self.settings.workspace,
                "applied_sequence": applied,
                "last_sequence": last,
                "behind": max(0, last - applied),
                "nodes": await self._in_database(self.graph.counts),
                "skipped": await self.projector.skips(),
            }
        )

    async def _changes(self, after: int) -> AsyncIterator[bytes]:
        self._streams += 1
        keepalive_s = self.settings.keepalive_s
        try:
            async for event in changes(
                self.graph, self.projector, self._stopping, after, keepalive_s
            ):
                yield event
        finally:
            self._streams -= 1

    async def _in_database(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(query, *args, **kwargs)

    def _log_reader(self) -> LogReader:
        if self.client is not None:
            js = self.client.jetstream()
            return StreamReader(js, self.settings.workspace, LineageGraph.events)
        store, workspace = self.log.store, self.settings.workspace
        return StoreReader(store, workspace, LineageGraph.events, idle_s=MEMORY_IDLE_S)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
