"""What all routes share: paths, callers, and who works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from loopline.access import Caller, Scope
from loopline.digests import is_digest
from loopline.errors import Rejected
from loopline.store.objects import Area
from services.annotate.adapters.board import LABEL, REVIEW
from services.annotate.adapters.http import Acting
from services.annotate.adapters.images import media_type_of
from services.annotate.adapters.submissions import Accepted, OpenJob, Proposal
from services.annotate.adapters.working import Worker
from services.annotate.domain.holding import Held
from services.annotate.domain.shapes import check_labeler

if TYPE_CHECKING:
    from services.annotate.service import Annotate


JobName = Annotated[str, Path(max_length=63)]
Asset = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Limit = Annotated[int, Query(ge=1, le=100_000)]
Cursor = Annotated[str, Query(max_length=64)]
ITEM = "/jobs/{job}/items/{asset}"
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"description": about, "content": {"application/json": {}}}
    for code, about in {
        400: "The body is not UTF-8 text",
        401: "No token, or one that is not good",
        403: "The token may not do this, or others are asked to work on the job",
        404: "There is no such job, item, image or model",
        409: "Somebody else holds the item, or labeled it meanwhile",
        413: "The body is too large",
        422: "It cannot be, and why",
        503: "The bus, the storage or a model does not answer now: the same again is safe",
    }.items()
}


class Routes:
    """Routes over one service."""

    def __init__(self, service: Annotate) -> None:
        self._service = service

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        raise NotImplementedError

    def caller(self, scope: str) -> Any:  # what FastAPI injects
        """Return the dependency on a caller who may do what needs `scope`."""
        return Depends(self._service.access.require(scope))

    async def image(self, digest: str) -> Response:
        """Return an image as it is stored, and as nothing that could run.

        Raises:
            Rejected: It is no digest.
            NotFound: There is no such image.
        """
        if not is_digest(digest):
            raise Rejected(f"{digest!r} is not the digest of an asset")
        data = await self._service.objects.get(Area.ASSETS, digest)
        headers = {
            "cache-control": "private, max-age=31536000, immutable",
            "etag": f'"{digest}"',
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        return Response(data, media_type=media_type_of(data), headers=headers)

    async def submit_held(
        self, job: str, worker: Worker, proposals: list[Proposal]
    ) -> list[Accepted | Exception]:
        """Submit while the worker holds the items, and let go of them afterwards."""
        service = self._service
        check_labeler(worker.name)
        assets = [proposal.asset for proposal in proposals]
        opened = await service.submissions.open_job(job, assets)
        board = await service.working.open(job, worker)
        there = [asset for asset in assets if asset in opened.items]
        held = await service.working.hold(board, worker, there)
        outcomes = await asyncio.gather(
            *(self._submit_one(opened, proposal, held) for proposal in proposals)
        )
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
        await service.seen(max((a.sequence for a in accepted), default=0))
        await service.working.done(job, worker.name, [a.asset for a in accepted])
        if len(proposals) > 1:  # a program does not go on with what was refused; a person does
            await service.desk.give_back(job, there, worker.name)
        return list(outcomes)

    async def _submit_one(
        self, job: OpenJob, proposal: Proposal, held: dict[str, str]
    ) -> Accepted | Exception:
        if proposal.asset in held:
            return Held(job.name, proposal.asset, held[proposal.asset])
        try:
            return await self._service.submit(job, proposal)
        except Exception as error:
            return error


def worker_of(caller: Caller, given: str = "", purpose: str = LABEL) -> Worker:
    """Return who works: the caller, or whom the machine's own key names."""
    name = Acting(caller).as_(given)
    return Worker(name, purpose, sees_all=caller.may(Scope.REVIEW) and purpose == REVIEW)
