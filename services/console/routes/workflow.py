"""The workflow graph."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Path, Query, Request, Response

from loopline.access import Scope
from services.console.bodies.workflow import NodeDetailOut, WorkflowOut
from services.console.domain.questions import Question
from services.console.routes.parameters import Text, Words
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.workflow import WorkflowDesk

TAG = "workflow"
NODES_MAX = 5_000
NodeId = Annotated[str, Path(min_length=1, max_length=2000)]
Direction = Literal["ancestors", "descendants", "both"]


class WorkflowRoutes:
    """The graph of the workspace."""

    def __init__(self, workflow: WorkflowDesk) -> None:
        self._workflow = workflow

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add = registry.add
        add("GET", "/workflow", self.get_workflow, Scope.READ, tag=TAG, body=WorkflowOut)
        add("GET", "/workflow/nodes/{id:path}", self.get_node, Scope.READ, tag=TAG)

    async def get_workflow(
        self,
        request: Request,
        kinds: Words = "",
        datasets: Words = "",
        after: datetime | None = None,
        before: datetime | None = None,
        search: Text = "",
        focus: Text = "",
        direction: Direction = "both",
        since: Text = "",
        limit: Annotated[int, Query(ge=1, le=NODES_MAX)] = NODES_MAX,
    ) -> Response:
        """Return the graph, filtered.

        Kinds that are left out do not cut it: what led to them leads to what came of them. With
        `since` only what changed after that revision; with `If-None-Match` nothing if nothing did.
        """
        question = Question(
            kinds=_words(kinds),
            datasets=_words(datasets),
            after=moment_text(after),
            before=moment_text(before),
            search=search,
            focus=focus,
            up=direction != "descendants",
            down=direction != "ancestors",
        )
        tag = f'W/"{self._workflow.revision}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        body = self._workflow.graph(question, since, limit)
        return Response(body, headers=headers, media_type="application/json")

    async def get_node(self, id: NodeId, caller: Current) -> NodeDetailOut:
        """Return everything about a node, and what who asks can do with it."""
        return await self._workflow.node(id, caller)


def moment_text(moment: datetime | None) -> str:
    """Return a moment as the graph's own times are written; "" for none."""
    if moment is None:
        return ""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())
