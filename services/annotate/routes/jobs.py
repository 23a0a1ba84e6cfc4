"""Jobs: listed, opened, changed, started, stopped, reopened."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from loopline.access import Caller, Scope
from services.annotate.adapters import answers, bodies, presenting
from services.annotate.adapters.http import Acting
from services.annotate.adapters.provenance import person
from services.annotate.routes.base import JobName, Routes


class Jobs(Routes):
    """Jobs: listed, opened, started, stopped, reopened."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, operate = self.caller(Scope.READ), self.caller(Scope.OPERATE)
        service = self._service

        @router.get("/jobs", dependencies=[read])
        async def list_jobs() -> answers.JobsOut:
            """List labeling jobs: those with a higher priority first, then the latest."""
            return answers.JobsOut(jobs=[presenting.job_out(j) for j in await service.board.jobs()])

        @router.post("/jobs", status_code=201)
        async def open_job(body: bodies.JobIn, caller: Caller = operate) -> answers.JobOut:
            """Open a job over listed items, or over those that a rule chooses."""
            actor = Acting(caller).as_(body.actor)
            command = await service.opening.command(body, person(actor))
            return await self._job_after(await service.jobs.open(command))

        @router.get("/jobs/{job}", dependencies=[read])
        async def show_job(job: JobName) -> answers.JobOut:
            """Show a labeling job."""
            return presenting.job_out(await service.working.open(job))

        @router.get("/jobs/{job}/history", dependencies=[read])
        async def show_job_history(job: JobName) -> answers.JobHistoryOut:
            """Show what became of a job: opened, changed, stopped, reopened, by whom."""
            await service.jobs.get(job)
            return answers.JobHistoryOut(job=job, history=await service.histories.of_job(job))

        @router.patch("/jobs/{job}")
        async def change_job(
            job: JobName, body: bodies.JobChangeIn, caller: Caller = operate
        ) -> answers.JobOut:
            """Ask other people to label or review it, or by another date, or more urgently."""
            actor = person(Acting(caller).as_(body.actor))
            return await self._job_after(await service.jobs.change(job, actor, body.changes()))

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
        return presenting.job_out(await self._service.working.open(committed.ref.name))
