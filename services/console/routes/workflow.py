"""The workflow graph."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse

from loopline.access import Scope
from services.console.bodies.workflow import NodeDetailOut, WorkflowOut
from services.console.routes.parameters import Text, Words
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.workflow import Workflow

TAG = "workflow"
NODES_MAX = 5_000
NodeId = Annotated[str, Path(min_length=1, max_length=2000)]
Direction = Literal["ancestors", "descendants", "both"]


class WorkflowRoutes:
    """The graph of the workspace."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add = registry.add
        add("GET", "/workflow", self.get_workflow, Scope.READ, tag=TAG)
        add("GET", "/workflow/nodes/{id:path}", self.get_node, Scope.READ, tag=TAG)

    async def get_workflow(
        self,
        request: Request,
        response: Response,
        kinds: Words = "",
        datasets: Words = "",
        after: datetime | None = None,
        before: datetime | None = None,
        search: Text = "",
        focus: Text = "",
        direction: Direction = "both",
        since: Text = "",
        limit: int = NODES_MAX,
    ) -> WorkflowOut:
        """Return the graph, filtered.

        Kinds that are left out do not cut it: what led to them leads to what came of them. With
        `since` only what changed after that revision; with `If-None-Match` nothing if nothing did.
        """
        found = await self._workflow.graph(
            kinds=_words(kinds), datasets=_words(datasets), after=after, before=before,
            search=search, focus=focus, direction=direction, since=since,
            limit=max(1, min(limit, NODES_MAX)),
        )  # fmt: skip
        tag = f'W/"{found.revision}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)  # type: ignore[return-value]
        return JSONResponse(found.model_dump(mode="json"), headers=headers)  # type: ignore[return-value]

    async def get_node(self, id: NodeId, caller: Current) -> NodeDetailOut:
        """Return everything about a node, and what who asks can do with it."""
        return await self._workflow.node(id, caller)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())
