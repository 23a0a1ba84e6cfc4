"""What a job tells of models, of people and of who was told."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Query

from loopline.access import Scope
from loopline.errors import Rejected
from services.annotate.adapters import answers, bodies
from services.annotate.adapters.http import position_of
from services.annotate.adapters.receivers import place_of
from services.annotate.routes.base import Cursor, JobName, Limit, Routes


class Told(Routes):
    """What a job tells of models and of people."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, review = self.caller(Scope.READ), self.caller(Scope.REVIEW)
        operate = self.caller(Scope.OPERATE)
        service = self._service

        @router.get("/jobs/{job}/wrong", dependencies=[read])
        async def list_wrong(
            job: JobName,
            kind: Literal["", "class", "missed", "invented", "moved"] = "",
            class_name: Annotated[str, Query(max_length=200)] = "",
            confidence_min: Annotated[float, Query(ge=0, le=1)] = 0.0,
            limit: Limit = 100,
            cursor: Cursor = "",
        ) -> answers.WrongsOut:
            """List where the model that was shown was wrong, item by item."""
            await service.working.open(job)
            return await service.insights.wrong(
                job,
                position_of(cursor),
                min(limit, service.settings.page_items_max),
                kind=kind,
                class_name=class_name,
                confidence_min=confidence_min,
            )

        @router.get("/jobs/{job}/notifications", dependencies=[operate])
        async def list_notifications(job: JobName) -> answers.NotificationsOut:
            """List what became of telling others of a job, the latest first."""
            await service.working.open(job)
            return answers.NotificationsOut(notifications=await service.notifications.told(job))

        @router.post("/jobs/{job}/notifications/redeliver", dependencies=[operate])
        async def redeliver(
            job: JobName, body: bodies.RedeliverIn | None = None
        ) -> answers.RedeliveredOut:
            """Tell one or every receiver of a job's commit again."""
            again = body or bodies.RedeliverIn()
            found = await service.notifications.commit(job, again.version)
            version = found.ref.version
            sent = await service.send_notifications(
                job, version, found.message, receiver=again.receiver, redelivery=uuid4().hex
            )
            if not sent:
                raise Rejected(f"job {job} has no receiver {again.receiver}".rstrip(), job=job)
            return answers.RedeliveredOut(
                job=job, version=version, receivers=[place_of(one) for one in sent]
            )

        @router.get("/jobs/{job}/labelers", dependencies=[review])
        async def list_people(job: JobName) -> answers.PeopleOut:
            """Show how each labeler does, against the truth and against each other."""
            return await service.insights.people(await service.working.open(job))
