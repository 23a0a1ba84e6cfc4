"""Reviews, and what was said of an item."""

from __future__ import annotations

from fastapi import APIRouter

from loopline.access import Caller, Scope
from loopline.errors import Forbidden, Rejected
from services.annotate.adapters import answers, bodies
from services.annotate.adapters.board import REVIEW
from services.annotate.adapters.reviews import Review
from services.annotate.adapters.working import Worker
from services.annotate.domain.holding import Held
from services.annotate.domain.work import check_reviewable
from services.annotate.routes.base import ITEM, Asset, JobName, Routes, worker_of


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
            worker = worker_of(caller, asked.labeler, REVIEW)
            found = await service.working.open(job, worker)
            return await service.working.next(found, worker, asked.count, asked.holding)

        @router.post(ITEM + "/review")
        async def submit_review(
            job: JobName, asset: Asset, body: bodies.ReviewIn, caller: Caller = review
        ) -> answers.ReviewOut:
            """Accept an item's labels, mended or as they are, or send them back with a comment."""
            worker = worker_of(caller, body.reviewer, REVIEW)
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
