"""The labeling API: which path asks for what, and who may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Response
from starlette.requests import Request
from starlette.responses import JSONResponse

from loopline.access import Caller, Scope
from loopline.digests import is_digest
from loopline.errors import Forbidden, Rejected
from loopline.store.objects import Area
from services.annotate.adapters import answers, bodies
from services.annotate.adapters.board import LABEL, REVIEW
from services.annotate.adapters.http import Acting, BodyLimit, cursor_of, position_of
from services.annotate.adapters.images import media_type_of
from services.annotate.adapters.items import StateFilter
from services.annotate.adapters.provenance import person
from services.annotate.adapters.reviews import Review
from services.annotate.adapters.submissions import Accepted, OpenJob, Proposal
from services.annotate.adapters.working import Worker
from services.annotate.domain.holding import Held, Overtaken
from services.annotate.domain.shapes import check_labeler
from services.annotate.domain.work import check_reviewable

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
        401: "No token, or one that is not good",
        403: "The token may not do this, or others are asked to work on the job",
        404: "There is no such job, item, image or model",
        409: "Somebody else holds the item, or labeled it meanwhile",
        413: "The body is too large",
        422: "It cannot be, and why",
        503: "The bus, the storage or a model does not answer now: the same again is safe",
    }.items()
}


def app_of(service: Annotate) -> FastAPI:
    """Return the labeling API."""
    app = FastAPI(title="Loopline labeling", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, size_max_bytes=service.settings.body_size_max_bytes)
    app.add_exception_handler(Held, _in_conflict)
    app.add_exception_handler(Overtaken, _in_conflict)
    router = APIRouter(prefix="/v1", responses=REFUSALS)
    for routes in (Jobs(service), Work(service), Reviewing(service)):
        routes.add_to(router)
    app.include_router(router)
    return app


def _in_conflict(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": getattr(error, "message", str(error))}, status_code=409)


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


class Jobs(Routes):
    """Jobs: listed, opened, started, stopped, reopened."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, operate = self.caller(Scope.READ), self.caller(Scope.OPERATE)
        service = self._service

        @router.get("/jobs", dependencies=[read])
        async def list_jobs() -> answers.JobsOut:
            """List labeling jobs: those with a higher priority first, then the latest."""
            return answers.JobsOut(jobs=[answers.job_out(j) for j in await service.board.jobs()])

        @router.post("/jobs", status_code=201)
        async def open_job(body: bodies.JobIn, caller: Caller = operate) -> answers.JobOut:
            """Open a job over listed items, or over those that a rule chooses."""
            actor = Acting(caller).as_(body.actor)
            command = await service.opening.command(body, person(actor))
            return await self._job_after(await service.jobs.open(command))

        @router.get("/jobs/{job}", dependencies=[read])
        async def show_job(job: JobName) -> answers.JobOut:
            """Show a labeling job."""
            return answers.job_out(await service.working.open(job))

        @router.post("/jobs/{job}/start")
        async def start_job(
            job: JobName, body: bodies.ActorIn | None = None, caller: Caller = operate
        ) -> answers.JobOut:
            """Start a job that waits to be started."""
            actor = Acting(caller).as_((body or bodies.ActorIn()).labeler)
            return await self._job_after(await service.jobs.start(job, person(actor)))

        @router.post("/jobs/{job}/stop")
        async def stop_job(
            job: JobName, body: bodies.StopIn | None = None, caller: Caller = operate
        ) -> answers.JobOut:
            """Stop a job; the labels made so far go into the dataset unless told otherwise."""
            stop = body or bodies.StopIn()
            actor = person(Acting(caller).as_(stop.actor))
            stopped = await service.jobs.stop(job, actor, keep_labels=stop.keep_labels)
            return await self._job_after(stopped)

        @router.post("/jobs/{job}/reopen")
        async def reopen_job(
            job: JobName, body: bodies.ReopenIn | None = None, caller: Caller = operate
        ) -> answers.JobOut:
            """Open a job again that is over; some or all of its items go back to the queue."""
            reopen = body or bodies.ReopenIn()
            actor = person(Acting(caller).as_(reopen.actor))
            opened = await service.working.open(job)
            for asset in reopen.assets:
                await service.working.item(opened, asset)
            return await self._job_after(await service.jobs.reopen(job, actor, reopen.assets))

    async def _job_after(self, committed: Any) -> answers.JobOut:  # a job's commit
        await self._service.seen(committed.sequence)
        return answers.job_out(await self._service.working.open(committed.ref.name))


class Work(Routes):
    """Items: listed, taken, drafted, labeled."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        self._add_lists(router)
        self._add_taking(router)
        self._add_drafts(router)
        self._add_labels(router)

    def _add_lists(self, router: APIRouter) -> None:
        read, service = self.caller(Scope.READ), self._service

        @router.get("/jobs/{job}/items")
        async def list_items(
            job: JobName,
            state: StateFilter | None = None,
            labeler: Annotated[str, Query(max_length=100)] = "",
            limit: Limit = 100,
            cursor: Cursor = "",
            caller: Caller = read,
        ) -> answers.ItemsOut:
            """List the items of a job in the order to label, with predictions and labels."""
            after, limit = position_of(cursor), min(limit, service.settings.page_items_max)
            found, worker = await service.working.open(job), _worker(caller)
            rows = await service.rows.page(
                job, state=state, now_s=service.working.now_s, after=after, limit=limit,
                labeler=labeler,
            )  # fmt: skip
            more = cursor_of(rows[-1].position) if len(rows) == limit else None
            items = [await service.working.shown(found, worker, row) for row in rows]
            return answers.ItemsOut(items=items, next_cursor=more)

        @router.get(ITEM)
        async def show_item(job: JobName, asset: Asset, caller: Caller = read) -> answers.ItemOut:
            """Show an item."""
            found = await service.working.open(job)
            item = await service.working.item(found, asset)
            return await service.working.shown(found, _worker(caller), item)

        @router.get("/assets/{digest}", response_class=Response, dependencies=[read])
        async def show_image(digest: str) -> Response:
            """Return the bytes of an image."""
            if not is_digest(digest):
                raise Rejected(f"{digest!r} is not the digest of an asset")
            data = await service.objects.get(Area.ASSETS, digest)
            headers = {
                "cache-control": "private, max-age=31536000, immutable",
                "etag": f'"{digest}"',
                "x-content-type-options": "nosniff",
                "content-security-policy": "default-src 'none'; sandbox",
            }
            return Response(data, media_type=media_type_of(data), headers=headers)

    def _add_taking(self, router: APIRouter) -> None:
        label, service = self.caller(Scope.LABEL), self._service

        @router.post("/jobs/{job}/next")
        async def next_items(
            job: JobName, body: bodies.NextIn | None = None, caller: Caller = label
        ) -> answers.NextOut:
            """Take items to label: those you hold, then new ones. Nobody else gets them."""
            asked = body or bodies.NextIn()
            worker = _worker(caller, asked.labeler)
            found = await service.working.open(job, worker)
            return await service.working.next(found, worker, asked.count, asked.holding)

        @router.post(ITEM + "/lease")
        async def take_item(
            job: JobName, asset: Asset, body: bodies.ActorIn | None = None, caller: Caller = label
        ) -> answers.LeasedOut:
            """Take one item, whatever its state, or renew it; 409 if somebody else holds it."""
            worker = _worker(caller, (body or bodies.ActorIn()).labeler)
            found = await service.working.open(job, worker)
            return await service.working.take(found, worker, asset)

        @router.delete(ITEM + "/lease", status_code=204)
        async def release_item(
            job: JobName,
            asset: Asset,
            skip: bool = False,
            labeler: Annotated[str, Query(max_length=100)] = "",
            caller: Caller = label,
        ) -> None:
            """Let go of an item; with `skip`, it comes to you again once nothing else is left."""
            worker = _worker(caller, labeler)
            await service.working.item(await service.working.open(job), asset)
            if skip:
                await service.desk.skip(job, asset, worker.name)
            else:
                await service.desk.give_back(job, [asset], worker.name)

    def _add_drafts(self, router: APIRouter) -> None:
        label, service = self.caller(Scope.LABEL), self._service

        @router.put(ITEM + "/draft")
        async def save_draft(
            job: JobName, asset: Asset, body: bodies.DraftIn, caller: Caller = label
        ) -> answers.SavedOut:
            """Keep what you have drawn of an item you hold, and renew it."""
            worker = _worker(caller, body.labeler)
            found = await service.working.open(job, worker)
            draft = body.draft(service.now_text())
            return await service.working.save(found, worker, asset, draft)

        @router.delete(ITEM + "/draft", status_code=204)
        async def drop_draft(
            job: JobName,
            asset: Asset,
            labeler: Annotated[str, Query(max_length=100)] = "",
            caller: Caller = label,
        ) -> None:
            """Forget what you have drawn of an item."""
            await service.desk.drop_draft(job, asset, _worker(caller, labeler).name)

    def _add_labels(self, router: APIRouter) -> None:
        label, service = self.caller(Scope.LABEL), self._service

        @router.post(ITEM + "/labels")
        async def submit_labels(
            job: JobName, asset: Asset, body: bodies.LabelsIn, caller: Caller = label
        ) -> answers.AcceptedOut:
            """Submit labels for one item, and take what is next; the same again changes nothing."""
            worker = _worker(caller, body.labeler)
            [accepted] = await self._submit_held(job, worker, [body.drawn_by(asset, worker.name)])
            if isinstance(accepted, Exception):
                raise accepted
            following = None
            if body.next:
                found = await service.working.open(job)
                if found.state.accepts_labels:
                    holding = body.holding
                    following = await service.working.next(found, worker, body.next, holding)
            return answers.accepted_out(accepted, following)

        @router.post("/jobs/{job}/labels")
        async def submit_many(
            job: JobName, body: bodies.BulkIn, caller: Caller = label
        ) -> answers.BulkOut:
            """Submit labels for many items; each is accepted or refused by itself.

            Where the bus does not answer, the whole request fails: what was accepted is known by
            then, and the same again changes nothing.
            """
            return await self._submit_many(job, body, caller)

    async def _submit_many(self, job: str, body: bodies.BulkIn, caller: Caller) -> answers.BulkOut:
        most = self._service.settings.bulk_items_max
        if len(body.labels) > most:
            raise Rejected(f"{len(body.labels)} items; one request may hold {most}")
        if len({row.asset for row in body.labels}) != len(body.labels):
            raise Rejected("an asset is in the request twice")
        by_worker: dict[str, list[Proposal]] = {}
        for row in body.labels:
            worker = _worker(caller, row.labeler or body.labeler)
            by_worker.setdefault(worker.name, []).append(row.drawn_by(row.asset, worker.name))
        outcomes: list[Accepted | answers.RefusedOut] = []
        for name, proposals in by_worker.items():
            found = await self._submit_held(job, _worker(caller, name), proposals)
            for proposal, outcome in zip(proposals, found, strict=True):
                if isinstance(outcome, Rejected):
                    refused = answers.RefusedOut(asset=proposal.asset, error=outcome.message)
                    outcomes.append(refused)
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    outcomes.append(outcome)
        return answers.BulkOut(
            accepted=[answers.accepted_out(o) for o in outcomes if isinstance(o, Accepted)],
            refused=[o for o in outcomes if isinstance(o, answers.RefusedOut)],
        )

    async def _submit_held(
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


class Reviewing(Routes):
    """Reviews, and what was said of an item."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, review = self.caller(Scope.READ), self.caller(Scope.REVIEW)
        service = self._service

        @router.post("/jobs/{job}/review/next")
        async def next_reviews(
            job: JobName, body: bodies.NextIn | None = None, caller: Caller = review
        ) -> answers.NextOut:
            """Take items to review: those you hold, then new ones."""
            asked = body or bodies.NextIn()
            worker = _worker(caller, asked.labeler, REVIEW)
            found = await service.working.open(job, worker)
            return await service.working.next(found, worker, asked.count, asked.holding)

        @router.post(ITEM + "/review")
        async def submit_review(
            job: JobName, asset: Asset, body: bodies.ReviewIn, caller: Caller = review
        ) -> answers.ReviewOut:
            """Accept an item's labels, mended or as they are, or send them back with a comment."""
            worker = _worker(caller, body.reviewer, REVIEW)
            sequence, version = await self._review(job, worker, asset, body)
            await service.seen(sequence)
            await service.working.done(job, worker.name, [asset])
            following = None
            if body.next:
                found = await service.working.open(job)
                if found.state.accepts_labels:
                    following = await service.working.next(found, worker, body.next, body.holding)
            return answers.ReviewOut(
                asset=asset, verdict=body.verdict, version=version, next=following
            )

        @router.get(ITEM + "/history")
        async def show_history(
            job: JobName, asset: Asset, caller: Caller = read
        ) -> answers.HistoriesOut:
            """Show everything that was said of an item, oldest first."""
            found = await service.working.open(job)
            item = await service.working.item(found, asset)
            is_blind = found.options.labelers_per_item > 1 or item.truth is not None
            if is_blind and not caller.may(Scope.REVIEW):
                raise Forbidden("only a reviewer sees what several labelers say", job=job)
            return answers.HistoriesOut(asset=asset, history=await service.histories.of(job, asset))

    async def _review(
        self, job: str, worker: Worker, asset: str, body: bodies.ReviewIn
    ) -> tuple[int, int]:
        """Commit what the reviewer mended, then the review; return the review's place."""
        service = self._service
        opened = await service.submissions.open_job(job, [asset])
        check_reviewable(opened.item(asset).result, body.labels_version, asset)
        held = await service.working.hold(await service.working.open(job, worker), worker, [asset])
        if asset in held:
            raise Held(job, asset, held[asset])
        version = body.labels_version
        if body.shapes is not None:
            if body.verdict != "accepted":
                raise Rejected("labels are mended by accepting them, not by sending them back")
            drawn = bodies.Drawn(shapes=body.shapes, tags=body.tags, spent_s=body.spent_s)
            mended = drawn.drawn_by(asset, worker.name, by_reviewer=True)
            accepted = await service.submit(opened, mended)
            await service.seen(accepted.sequence)
            opened = await service.submissions.open_job(job, [asset])
            version = accepted.version
        said = Review(
            asset, worker.name, body.verdict == "accepted", body.comment, version, body.spent_s
        )
        committed = await service.reviews.submit(opened, said)
        return committed.sequence, committed.ref.version


def _worker(caller: Caller, given: str = "", purpose: str = LABEL) -> Worker:
    name = Acting(caller).as_(given)
    return Worker(name, purpose, sees_all=caller.may(Scope.REVIEW) and purpose == REVIEW)
