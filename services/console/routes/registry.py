"""Registers routes: each says which scope it needs, here and in the OpenAPI document.

There is one way to add a route, and it cannot forget to ask who calls: what needs nobody signed in
says so by `Needs.NOTHING`, and a test holds the list of those.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.datastructures import Default
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from loopline.access import Caller, Scope
from services.console.bodies.base import ErrorOut
from services.console.domain.attempts import TooOften

SESSION_COOKIE = "loopline_session"
CSRF_HEADER = "x-csrf-token"
_REASONS = {
    400: "The request cannot be understood.",
    401: "Nobody is signed in.",
    403: "Who is signed in may not do this.",
    404: "There is no such thing.",
    409: "Somebody else was first.",
    413: "Too large.",
    422: "The request is not a good one.",
    429: "Too often.",
    503: "Something else does not answer for now.",
}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}
# By reference: FastAPI would build a validator for each status of each route, half a start's time.
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": reason, "content": _ERROR} for status, reason in _REASONS.items()
}


class Needs(StrEnum):
    """What routes need that need no scope."""

    NOTHING = "nothing"  # anybody may ask: how to sign in
    SESSION = "session"  # anybody who is signed in, whatever the role


Authenticate = Callable[[Request], Awaitable[Caller]]


class Registry:
    """The routes of one application.

    Args:
        authenticate: Tells who calls; raises Unauthenticated, or Forbidden where a request that
            changes something does not come from the page.
    """

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self.router = APIRouter(prefix="/api")

    def add(
        self,
        method: str,
        path: str,
        handler: Callable[..., Any],
        needs: Scope | Needs,
        *,
        tag: str,
        status: int = 200,
        raw: str = "",
        body: type[BaseModel] | None = None,
    ) -> None:
        """Add a route.

        Args:
            method: GET, POST, ...
            path: Below /api.
            handler: Answers.
            needs: What the caller must be allowed to.
            tag: Groups routes in the document.
            status: Of a good answer.
            raw: Media type of an answer that is no JSON body of ours; "" for one that is.
            body: What a handler answers that writes the JSON itself.
        """
        extra: dict[str, Any] = {"x-needs": str(needs), "security": []}
        guards = []
        if needs is not Needs.NOTHING:
            extra["security"] = [{"session": []}, {"bearer": []}]
            guards.append(Depends(self._check(needs)))
        responses = dict(_ERRORS)
        if raw:
            responses[status] = {"description": "As it is.", "content": {raw: {"schema": {}}}}
        if body is not None:
            responses[status] = {"model": body, "description": "A good answer."}
        self.router.add_api_route(
            path,
            handler,
            response_model=None if body is not None else Default(None),
            methods=[method],
            status_code=status,
            dependencies=guards,
            responses=responses,
            response_class=Response if raw or status == 204 else JSONResponse,
            operation_id=handler.__name__,
            tags=[tag],
            openapi_extra=extra,
            response_model_exclude_unset=False,
        )

    def _check(self, needs: Scope | Needs) -> Callable[[Request], Awaitable[None]]:
        async def check(request: Request) -> None:
            caller = await self._authenticate(request)
            if needs is not Needs.SESSION:
                caller.require(needs)
            request.state.caller = caller

        return check


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Current = Annotated[Caller, Depends(_caller)]
"""Who calls, in a handler's parameters."""


def describe(app: FastAPI) -> None:
    """Have an application's OpenAPI document say how callers are known."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["ErrorOut"] = ErrorOut.model_json_schema()
        schemes = components.setdefault("securitySchemes", {})
        schemes["session"] = {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE}
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def answer_errors(app: FastAPI) -> None:
    """Have every refusal of the framework answered as ours are: `{"error": "..."}`."""

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return JSONResponse({"error": "; ".join(map(_sentence, error.errors()[:5]))}, 422)

    async def too_often(_: Request, error: Exception) -> Response:
        assert isinstance(error, TooOften)
        headers = {"retry-after": str(error.retry_after_s)}
        return JSONResponse({"error": error.message}, 429, headers)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        body = {"error": str(error.detail)}
        return JSONResponse(body, error.status_code, dict(error.headers or {}))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(TooOften, too_often)


def _sentence(problem: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query"))
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
