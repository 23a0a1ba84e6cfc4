"""Items: listed, taken, drafted, labeled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from loopline.access import Caller, Scope
from loopline.errors import Rejected
from services.annotate.adapters import answers, bodies, presenting
from services.annotate.adapters.http import cursor_of, position_of
from services.annotate.adapters.items import StateFilter
from services.annotate.adapters.submissions import Accepted, Proposal
from services.annotate.routes.base import ITEM, Asset, Cursor, JobName, Limit, Routes, worker_of


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
            found, worker = await service.working.open(job), worker_of(caller)
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
            return await service.working.shown(found, worker_of(caller), item)

        @router.get("/assets/{digest}", response_class=Response, dependencies=[read])
        async def show_image(digest: str) -> Response:
            """Return the bytes of an image."""
            return await self.image(digest)

    def _add_taking(self, router: APIRouter) -> None:
        label, service = self.caller(Scope.LABEL), self._service

        @router.post("/jobs/{job}/next")
        async def next_items(
            job: JobName, body: bodies.NextIn | None = None, caller: Caller = label
        ) -> answers.NextOut:
            """Take items to label: those you hold, then new ones. Nobody else gets them."""
            asked = body or bodies.NextIn()
            worker = worker_of(caller, asked.labeler)
            found = await service.working.open(job, worker)
            return await service.working.next(found, worker, asked.count, asked.holding)

        @router.post(ITEM + "/lease")
        async def take_item(
            job: JobName, asset: Asset, body: bodies.ActorIn | None = None, caller: Caller = label
        ) -> answers.LeasedOut:
            """Take one item, whatever its state, or renew it; 409 if somebody else holds it."""
            worker = worker_of(caller, (body or bodies.ActorIn()).labeler)
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
            worker = worker_of(caller, labeler)
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
            worker = worker_of(caller, body.labeler)
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
            await service.desk.drop_draft(job, asset, worker_of(caller, labeler).name)

    def _add_labels(self, router: APIRouter) -> None:
        label, service = self.caller(Scope.LABEL), self._service

        @router.post(ITEM + "/labels")
        async def submit_labels(
            job: JobName, asset: Asset, body: bodies.LabelsIn, caller: Caller = label
        ) -> answers.AcceptedOut:
            """Submit labels for one item, and take what is next; the same again changes nothing."""
            worker = worker_of(caller, body.labeler)
            [accepted] = await self.submit_held(job, worker, [body.drawn_by(asset, worker.name)])
            if isinstance(accepted, Exception):
                raise accepted
            following = None
            if body.next:
                found = await service.working.open(job)
                if found.state.accepts_labels:
                    holding = body.holding
                    following = await service.working.next(found, worker, body.next, holding)
            return presenting.accepted_out(accepted, following)

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
            worker = worker_of(caller, row.labeler or body.labeler)
            by_worker.setdefault(worker.name, []).append(row.drawn_by(row.asset, worker.name))
        outcomes: list[Accepted | answers.RefusedOut] = []
        for name, proposals in by_worker.items():
            found = await self.submit_held(job, worker_of(caller, name), proposals)
            for proposal, outcome in zip(proposals, found, strict=True):
                if isinstance(outcome, Rejected):
                    refused = answers.RefusedOut(asset=proposal.asset, error=outcome.message)
                    outcomes.append(refused)
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    outcomes.append(outcome)
        return answers.BulkOut(
            accepted=[presenting.accepted_out(o) for o in outcomes if isinstance(o, Accepted)],
            refused=[o for o in outcomes if isinstance(o, answers.RefusedOut)],
        )
