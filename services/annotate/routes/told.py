"""What a job tells of models, of people and of who was told."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from loopline.access import Scope
from services.annotate.adapters import answers
from services.annotate.adapters.http import position_of
from services.annotate.routes.base import Cursor, JobName, Limit, Routes


class Told(Routes):
    """What a job tells of models and of people."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, review = self.caller(Scope.READ), self.caller(Scope.REVIEW)
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

        @router.get("/jobs/{job}/labelers", dependencies=[review])
        async def list_people(job: JobName) -> answers.PeopleOut:
            """Show how each labeler does, against the truth and against each other."""
            return await service.insights.people(await service.working.open(job))
