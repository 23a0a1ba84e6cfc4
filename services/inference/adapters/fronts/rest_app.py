"""What the REST front answers on which path.

https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ and Triton's
extensions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Executor
from typing import Any, Final, TypeVar, cast

import orjson
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from loopline import tracing
from loopline.errors import Forbidden, LooplineError, NotFound, Rejected, Transient, Unauthenticated
from services.inference.adapters.control_plane import ControlPlane, NotServed
from services.inference.adapters.data_plane import DataPlane, Ticket
from services.inference.adapters.fronts import call_traces
from services.inference.adapters.fronts.calls import reason_of
from services.inference.adapters.fronts.gate import Gate, Visitor
from services.inference.adapters.protocol import oip_descriptions, rest_codec
from services.inference.adapters.protocol.rest_codec import HEADER_LENGTH, Json, TooLarge
from services.inference.adapters.protocol.shared_memory import AlreadyRegistered
from services.inference.domain.admission import Exhausted, Limits

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"
COMPRESSED_FROM_BYTES: Final = 1_024
_STATUSES: Final = (
    (Exhausted, 429),
    (MemoryError, 503),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (AlreadyRegistered, 409),
    (NotServed, 501),
    (TooLarge, 413),
    (Rejected, 400),
    (Transient, 503),
    (TimeoutError, 504),
    (CancelledError, 499),
)

log = structlog.get_logger()
T = TypeVar("T")
Answer = Callable[[Request, Visitor], Awaitable[Response]]


class RestApp:
    """The ASGI application.

    Args:
        plane: Answers inference.
        control: Answers the rest.
        gate: Who comes in.
        pool: Runs what blocks.
        limits: How long a request may take.
        max_bytes: The largest body.
    """

    def __init__(
        self,
        plane: DataPlane,
        control: ControlPlane,
        gate: Gate,
        pool: Executor,
        limits: Limits,
        max_bytes: int,
    ) -> None:
        self._plane = plane
        self._control = control
        self._gate = gate
        self._pool = pool
        self._timeout_s = limits.request_timeout_s
        self._max_bytes = max_bytes
        self._app = Starlette(routes=self._routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        model = "/v2/models/{model}"
        versions = (model, f"{model}/versions/{{version}}")
        memory, region = "/v2/systemsharedmemory", "/v2/systemsharedmemory/region/{region}"
        cuda, cuda_region = "/v2/cudasharedmemory", "/v2/cudasharedmemory/region/{region}"
        routes = [
            _open("/v2", lambda: rest_codec.plain(oip_descriptions.server_metadata())),
            _open("/v2/health/live", lambda: {"live": True}),
            _open("/v2/health/ready", lambda: {"ready": True}),
            self._route("GET", "/v2/models/stats", self.statistics),
            self._route("GET", "/v2/models", self.models),
            self._route("POST", "/v2/repository/index", self.index),
            self._route("POST", "/v2/repository/models/{model}/load", self.load),
            self._route("POST", "/v2/repository/models/{model}/unload", self.unload),
            self._route("POST", f"{region}/register", self.register_memory),
            self._route("POST", f"{cuda_region}/register", self.register_cuda_memory),
        ]
        for path in versions:
            routes += [
                self._route("GET", path, self.model_metadata),
                self._route("GET", f"{path}/ready", self.model_ready),
                self._route("GET", f"{path}/config", self.model_config),
                self._route("GET", f"{path}/stats", self.statistics),
                self._route("POST", f"{path}/infer", self.infer),
            ]
        for path in (memory, region):
            routes.append(self._route("GET", f"{path}/status", self.memory_status))
            routes.append(self._route("POST", f"{path}/unregister", self.unregister_memory))
        for path in (cuda, cuda_region):
            routes.append(self._route("GET", f"{path}/status", _no_regions))
            routes.append(self._route("POST", f"{path}/unregister", _nothing_to_forget))
        return routes

    async def infer(self, request: Request, visitor: Visitor) -> Response:
        """Run a model version on a batch."""
        body = await self._body(request)
        headers, name, version = request.headers, *_model(request)

        def start() -> Ticket:
            plain = rest_codec.decompress(
                body, headers.get("content-encoding", ""), self._max_bytes
            )
            memory, length = self._plane.memory_of(visitor), headers.get(HEADER_LENGTH, "")
            decoded = rest_codec.decode_request(name, version, plain, length, memory)
            return self._plane.start(decoded, visitor)

        ticket = await self._blocking(start)
        await self._answered(ticket, request)
        encoding = _accepted(headers.get("accept-encoding", ""))
        return await self._blocking(lambda: _inferred(ticket, encoding))

    async def models(self, _: Request, visitor: Visitor) -> Response:
        """Name the models that are ready."""
        found = self._control.index(visitor, ready=True).models
        return _json({"models": sorted({model.name for model in found})})

    async def model_metadata(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.model_metadata`."""
        name, version = _model(request)
        metadata = await self._blocking(
            lambda: self._control.model_metadata(visitor, name, version)
        )
        return _json(rest_codec.plain(metadata))

    async def model_ready(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.model_ready`."""
        name, version = _model(request)
        ready = self._control.model_ready(visitor, name, version)
        return _json({"name": name, "ready": ready}, 200 if ready else 400)

    async def model_config(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.model_config`."""
        name, version = _model(request)
        found = await self._blocking(lambda: self._control.model_config(visitor, name, version))
        return _json(rest_codec.plain(found.config))

    async def statistics(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.statistics`."""
        return _json(rest_codec.plain(self._control.statistics(visitor, *_model(request))))

    async def index(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.index`."""
        document = rest_codec.json_object(await self._body(request))
        index = self._control.index(
            visitor, str(document.get("repository_name", "")), ready=bool(document.get("ready"))
        )
        return _json([rest_codec.plain(model) for model in index.models])

    async def load(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.load`."""
        document = rest_codec.json_object(await self._body(request))
        parameters = document.get("parameters") or {}
        name = _model(request)[0]
        await self._blocking(lambda: self._control.load(visitor, name, parameters=parameters))
        return _json({})

    async def unload(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.unload`."""
        self._control.unload(visitor, _model(request)[0])
        return _json({})

    async def memory_status(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.memory_status`."""
        status = self._control.memory_status(visitor, request.path_params.get("region", ""))
        regions = status.regions
        return _json([rest_codec.plain(regions[name]) for name in sorted(regions)])

    async def register_memory(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.register_memory`."""
        document = rest_codec.json_object(await self._body(request))
        what = "the request"
        offset = rest_codec.whole_number(document, "offset", what)
        size = rest_codec.whole_number(document, "byte_size", what)
        key = rest_codec.text(document, "key", what)
        region = request.path_params["region"]
        self._control.register_memory(visitor, region, key, offset, size)
        return _json({})

    async def unregister_memory(self, request: Request, visitor: Visitor) -> Response:
        """See `ControlPlane.unregister_memory`."""
        self._control.unregister_memory(visitor, request.path_params.get("region", ""))
        return _json({})

    async def register_cuda_memory(self, _: Request, __: Visitor) -> Response:
        """Refuse: memory of a GPU is not shared."""
        raise NotServed("CUDA shared memory is not served: use system shared memory")

    def _route(self, method: str, path: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._guarded(request, answer)

        return Route(path, endpoint, methods=[method])

    async def _guarded(self, request: Request, answer: Answer) -> Response:
        """Let a request in, open a span of its caller's trace, turn errors into statuses."""
        headers = request.headers
        failure: Exception
        name = getattr(answer, "__name__", "rest")
        with call_traces.serving(name, headers.items()) as span:
            try:
                address = request.client.host if request.client else ""
                identity = getattr(request.state, "identity", "")
                shown = headers.get("authorization", "")
                with self._gate.enter(shown, address, identity) as visitor:
                    return await answer(request, visitor)
            except (LooplineError, TimeoutError, CancelledError, MemoryError) as error:
                failure = error
            except ClientDisconnect:
                failure = CancelledError()
            except Exception as error:  # a bug of ours answers, too
                log.exception("call_failed", path=request.url.path)
                failure = error
            tracing.failed(span, reason_of(failure))
        return _refusal(failure)

    async def _body(self, request: Request) -> bytes:
        claimed = request.headers.get("content-length", "0")
        if claimed.isdecimal() and int(claimed) > self._max_bytes:
            raise TooLarge(f"the body has {claimed} bytes: at most {self._max_bytes} are taken")
        chunks: list[bytes] = []
        size = 0
        async with asyncio.timeout(self._timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > self._max_bytes:
                    raise TooLarge(f"the body has more than {self._max_bytes} bytes")
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _answered(self, ticket: Ticket, request: Request) -> None:
        """Wait for an answer; free its place where it comes too late or the client goes away."""
        answer = asyncio.wrap_future(ticket.future)
        gone: asyncio.Future[object] = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait(
                {cast("asyncio.Future[object]", answer), gone},
                timeout=ticket.longest_s(self._timeout_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            gone.cancel()
            if not answer.done():
                ticket.give_up()
        if not ticket.future.done() or ticket.future.cancelled():
            raise CancelledError if gone.done() and not gone.cancelled() else TimeoutError


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_regions(_: Request, __: Visitor) -> Response:
    return _json([])


async def _nothing_to_forget(_: Request, __: Visitor) -> Response:
    return _json({})


def _inferred(ticket: Ticket, encoding: str) -> Response:
    body, json_length = rest_codec.encode_answer(ticket.answer())
    headers = {}
    if json_length:
        headers[HEADER_LENGTH] = str(json_length)
    if encoding and len(body) >= COMPRESSED_FROM_BYTES:
        body = rest_codec.compress(body, encoding)
        headers["content-encoding"] = encoding
    return Response(body, media_type=BINARY if json_length else JSON, headers=headers)


def _accepted(header: str) -> str:
    """Return the first encoding of ours that a client takes; "" if none."""
    names = [each.partition(";")[0].strip() for each in header.split(",") if ";q=0" not in each]
    return next((name for name in names if name in rest_codec.ENCODINGS), "")


def _open(path: str, tell: Callable[[], Json]) -> Route:
    """Return the route of what everybody may know: it needs no token."""

    async def endpoint(_: Request) -> Response:
        return _json(tell())

    return Route(path, endpoint, methods=["GET"])


def _model(request: Request) -> tuple[str, str]:
    return request.path_params.get("model", ""), request.path_params.get("version", "")


def _json(document: Json | Sequence[Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type=JSON)


def _refusal(error: Exception) -> Response:
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
    response = _json({"error": reason_of(error)}, status)
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(retry_after_s)))
    return response
