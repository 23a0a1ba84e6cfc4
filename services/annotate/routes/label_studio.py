"""A job worked in a real Label Studio: pushed there, and back by webhook or on request."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response

from loopline.access import Scope, local_caller
from loopline.errors import NotFound, Rejected
from services.annotate.adapters import answers
from services.annotate.adapters.submissions import Accepted, Proposal
from services.annotate.routes.base import JobName, Routes, worker_of

BRIDGE = "/jobs/{job}/label-studio"


class Bridge(Routes):
    """See the module."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        operate, service = self.caller(Scope.OPERATE), self._service

        @router.post(BRIDGE, dependencies=[operate])
        async def push_job(job: JobName) -> answers.LabelStudioOut:
            """Put the items that wait for labels into a project of Label Studio."""
            found = await service.working.open(job)
            base = service.settings.annotate_url.rstrip("/")
            callback = f"{base}/v1/jobs/{job}/label-studio/events" if base else ""
            made = await service.label_studio.push(found, callback)
            return answers.LabelStudioOut(
                job=job, project=made.project, url=made.url, tasks=made.tasks, added=made.added
            )

        @router.post(BRIDGE + "/pull", dependencies=[operate])
        async def pull_job(job: JobName) -> answers.PulledOut:
            """Take what was annotated there: for webhooks that were lost."""
            found = await service.working.open(job)
            return await self._submit(job, await service.label_studio.pull(found))

        @router.post(BRIDGE + "/events")
        async def hear_event(
            job: JobName,
            event: Annotated[dict[str, Any], Body()],
            secret: Annotated[str, Header(alias="X-Loopline-Secret")] = "",
        ) -> answers.PulledOut:
            """Hear of an annotation: Label Studio's webhook, which shows the secret."""
            service.label_studio.check_secret(secret)
            found = await service.working.open(job)
            proposal = await service.label_studio.heard(found, event)
            return await self._submit(job, [] if proposal is None else [proposal])

        @router.get("/label-studio/images/{digest}", response_class=Response)
        async def show_linked_image(
            digest: str, until: int = 0, signature: Annotated[str, Query(max_length=64)] = ""
        ) -> Response:
            """Return an image to who has a link to it that a task carries."""
            if service.label_studio.links is None:
                raise NotFound("images are not linked here")
            service.label_studio.links.check(digest, until, signature)
            return await self.image(digest)

    async def _submit(self, job: str, proposals: list[Proposal]) -> answers.PulledOut:
        accepted, refused = 0, list[answers.RefusedOut]()
        for proposal in proposals:
            worker = worker_of(local_caller(), proposal.labeler)
            [outcome] = await self.submit_held(job, worker, [proposal])
            if isinstance(outcome, Accepted):
                accepted += 1
            elif isinstance(outcome, Rejected):
                refused.append(answers.RefusedOut(asset=proposal.asset, error=outcome.message))
            else:
                raise outcome
        return answers.PulledOut(job=job, accepted=accepted, refused=refused)
