"""The labeling API: which path asks for what, and who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Response
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.annotate.adapters.http import BodyLimit
from services.annotate.domain.holding import Held, Overtaken
from services.annotate.routes.base import REFUSALS
from services.annotate.routes.help import Help
from services.annotate.routes.jobs import Jobs
from services.annotate.routes.label_studio import Bridge
from services.annotate.routes.reviewing import Reviewing
from services.annotate.routes.told import Told
from services.annotate.routes.work import Work

if TYPE_CHECKING:
    from services.annotate.service import Annotate


def app_of(service: Annotate) -> FastAPI:
    """Return the labeling API."""
    app = FastAPI(title="Loopline labeling", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, size_max_bytes=service.settings.body_size_max_bytes)
    app.add_exception_handler(Held, _in_conflict)
    app.add_exception_handler(Overtaken, _in_conflict)
    router = APIRouter(prefix="/v1", responses=REFUSALS)
    for routes in (
        Jobs(service),
        Work(service),
        Reviewing(service),
        Help(service),
        Told(service),
        Bridge(service),
    ):
        routes.add_to(router)
    app.include_router(router)
    return app


def _in_conflict(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": getattr(error, "message", str(error))}, status_code=409)
