"""Other services' APIs below this origin: labeling jobs, and the lineage service's own graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Request, Response

from loopline.access import Scope
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.upstream import Upstream

Rest = Annotated[str, Path(min_length=1, max_length=2000)]
JSON = "application/json"


class UpstreamRoutes:
    """What annotate and lineage answer, asked with a token of who asks, good for a minute.

    What of it a person may do is decided there. Here it takes a role that may begin: of what is
    below a job, the smallest that any of it needs.
    """

    def __init__(self, annotate: Upstream, lineage: Upstream) -> None:
        self._annotate = annotate
        self._lineage = lineage

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, tag = registry.add, "jobs"
        add("GET", "/jobs", self.get_jobs, Scope.READ, tag=tag, raw=JSON)
        add("POST", "/jobs", self.post_jobs, Scope.OPERATE, tag=tag, raw=JSON)
        add("GET", "/jobs/{path:path}", self.get_jobs_path, Scope.READ, tag=tag, raw=JSON)
        add("POST", "/jobs/{path:path}", self.post_jobs_path, Scope.LABEL, tag=tag, raw=JSON)
        add("PUT", "/jobs/{path:path}", self.put_jobs_path, Scope.LABEL, tag=tag, raw=JSON)
        add("PATCH", "/jobs/{path:path}", self.patch_jobs_path, Scope.OPERATE, tag=tag, raw=JSON)
        add("DELETE", "/jobs/{path:path}", self.delete_jobs_path, Scope.LABEL, tag=tag, raw=JSON)
        add("GET", "/assist/{path:path}", self.get_assist, Scope.READ, tag=tag, raw=JSON)
        add("POST", "/assist/{path:path}", self.post_assist, Scope.LABEL, tag=tag, raw=JSON)
        add("GET", "/lineage/{path:path}", self.get_lineage, Scope.READ, tag="lineage", raw=JSON)

    async def get_jobs(self, request: Request, caller: Current) -> Response:
        """List labeling jobs: GET /v1/jobs of annotate."""
        return await self._annotate.forward(request, "/v1/jobs", caller)

    async def post_jobs(self, request: Request, caller: Current) -> Response:
        """Open a labeling job: POST /v1/jobs of annotate."""
        return await self._annotate.forward(request, "/v1/jobs", caller)

    async def get_jobs_path(self, path: Rest, request: Request, caller: Current) -> Response:
        """GET /v1/jobs/{path} of annotate."""
        return await self._job(path, request, caller)

    async def post_jobs_path(self, path: Rest, request: Request, caller: Current) -> Response:
        """POST /v1/jobs/{path} of annotate."""
        return await self._job(path, request, caller)

    async def put_jobs_path(self, path: Rest, request: Request, caller: Current) -> Response:
        """PUT /v1/jobs/{path} of annotate."""
        return await self._job(path, request, caller)

    async def patch_jobs_path(self, path: Rest, request: Request, caller: Current) -> Response:
        """PATCH /v1/jobs/{path} of annotate."""
        return await self._job(path, request, caller)

    async def delete_jobs_path(self, path: Rest, request: Request, caller: Current) -> Response:
        """DELETE /v1/jobs/{path} of annotate."""
        return await self._job(path, request, caller)

    async def get_assist(self, path: Rest, request: Request, caller: Current) -> Response:
        """GET /v1/assist/{path} of annotate."""
        return await self._annotate.forward(request, f"/v1/assist/{path}", caller)

    async def post_assist(self, path: Rest, request: Request, caller: Current) -> Response:
        """POST /v1/assist/{path} of annotate."""
        return await self._annotate.forward(request, f"/v1/assist/{path}", caller)

    async def get_lineage(self, path: Rest, request: Request, caller: Current) -> Response:
        """GET /v1/{path} of lineage."""
        return await self._lineage.forward(request, f"/v1/{path}", caller)

    async def _job(self, path: str, request: Request, caller: Current) -> Response:
        return await self._annotate.forward(request, f"/v1/jobs/{path}", caller)
