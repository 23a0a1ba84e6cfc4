"""What every gRPC call goes through: the gate, a span, and errors turned into statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import Message

from loopline import tracing
from loopline.errors import Forbidden, LooplineError, NotFound, Rejected, Transient, Unauthenticated
from services.inference.adapters.control_plane import NotServed
from services.inference.adapters.fronts import call_traces
from services.inference.adapters.fronts.gate import Gate, Visitor
from services.inference.adapters.protocol.shared_memory import AlreadyRegistered
from services.inference.domain.admission import Exhausted, Limits

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""Trailing metadata that tells clients of gRPC when to try again (gRFC A6)."""
_STATUSES: Final = (
    (Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (MemoryError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyRegistered, grpc.StatusCode.ALREADY_EXISTS),
    (NotServed, grpc.StatusCode.UNIMPLEMENTED),
    (Rejected, grpc.StatusCode.INVALID_ARGUMENT),
    (Transient, grpc.StatusCode.UNAVAILABLE),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (CancelledError, grpc.StatusCode.CANCELLED),
)
_EXPECTED: Final = (LooplineError, TimeoutError, CancelledError, MemoryError)
PEERS_REMEMBERED: Final = 4_096

log = structlog.get_logger()
Q = TypeVar("Q")
R = TypeVar("R")
Metadata = tuple[tuple[str, str | bytes], ...]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs alone


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in.

    Args:
        context: grpcio's.
        visitor: Who calls.
        timeout_s: How long it may take from now on.
    """

    context: grpc.ServicerContext
    visitor: Visitor
    timeout_s: float


class Calls:
    """Makes handlers.

    Args:
        gate: Who comes in.
        limits: Its timeout holds where a client set none.
        shows_identities: Whether clients show certificates.
    """

    def __init__(self, gate: Gate, limits: Limits, *, shows_identities: bool = False) -> None:
        self._gate = gate
        self._shows_identities = shows_identities
        self._limits = limits

    def unary(
        self, name: str, answer: Callable[[Any, Call], Message], request: type[Message]
    ) -> Handler:
        """Return the handler of a method that takes a message and gives one."""
        return grpc.unary_unary_rpc_method_handler(
            self._guarded(name, answer),
            request_deserializer=request.FromString,
            response_serializer=_serialized,
        )

    def raw(self, name: str, answer: Callable[[bytes, Call], bytes]) -> Handler:
        """Return the handler of a method whose messages stay bytes."""
        return grpc.unary_unary_rpc_method_handler(self._guarded(name, answer))

    def raw_stream(
        self, name: str, answer: Callable[[Iterator[bytes], Call], Iterator[bytes]]
    ) -> Handler:
        """Return the handler of a method whose messages stay bytes, streamed in both directions."""

        def answers(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with _answering(name, context):
                yield from answer(requests, self.enter(context))

        return grpc.stream_stream_rpc_method_handler(answers)

    def open(self, answer: Callable[[], Message], request: type[Message]) -> Handler:
        """Return the handler of a method that tells everybody the same: it needs no token."""
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: answer(),
            request_deserializer=request.FromString,
            response_serializer=_serialized,
        )

    def _guarded(
        self, name: str, answer: Callable[[Q, Call], R]
    ) -> Callable[[Q, grpc.ServicerContext], R]:
        def answered(request: Q, context: grpc.ServicerContext) -> R:
            if tracing.is_exporting:
                with _answering(name, context):
                    return answer(request, self.enter(context))
            try:
                return answer(request, self.enter(context))
            except Exception as error:
                if _is_over(name, context, error):
                    raise
                failure = error
            _abort(context, failure)

        return answered

    def enter(self, context: grpc.ServicerContext) -> Call:
        """Let a call in until it is over: until its answer is read, or its client is gone.

        Raises:
            LooplineError: It may not: see `Gate.enter`.
            CancelledError: It is over already.
        """
        shown = ""
        for key, value in context.invocation_metadata():
            if key == "authorization" and isinstance(value, str):
                shown = value
        identity = _identity(context) if self._shows_identities else ""
        visitor = self._gate.visitor(shown, address_of(context.peer()), identity)
        quotas = self._gate.quotas
        quotas.enter(visitor.name)
        leave = partial(quotas.leave, visitor.name)
        if not context.add_callback(leave):
            leave()
            raise CancelledError
        return Call(context, visitor, self._timeout_s(context))

    def _timeout_s(self, context: grpc.ServicerContext) -> float:
        remaining_s = cast("float | None", context.time_remaining())  # none without a deadline
        longest_s = self._limits.request_timeout_s
        return longest_s if remaining_s is None else min(remaining_s, longest_s)


def status_of(error: BaseException) -> grpc.StatusCode:
    """Return the gRPC status that says what kind of error it is."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return grpc.StatusCode.INTERNAL


def reason_of(error: BaseException) -> str:
    """Return what a client is told of an error."""
    if isinstance(error, LooplineError):
        return error.message
    if isinstance(error, TimeoutError):
        return "the answer did not come in time"
    if isinstance(error, CancelledError):
        return "the client cancelled the call"
    if isinstance(error, MemoryError):
        return "the server has not enough memory for this request"
    return f"{type(error).__name__}: {error}"


def pushback_of(error: BaseException) -> Metadata:
    """Return the trailing metadata that tells when to try again; none where that is unknown."""
    retry_after_s = getattr(error, "retry_after_s", None)
    return () if retry_after_s is None else ((PUSHBACK, str(int(retry_after_s * 1000))),)


def is_foreseen(error: BaseException) -> bool:
    """Tell whether an error is one that clients are told of; any other is a fault of ours."""
    return isinstance(error, _EXPECTED)


@lru_cache(PEERS_REMEMBERED)
def address_of(peer: str) -> str:
    """Return the address of a gRPC peer; "" for a socket of this machine.

    >>> address_of("ipv4:10.0.0.7:5123"), address_of("ipv6:%5B::1%5D:5123"), address_of("unix:")
    ('10.0.0.7', '::1', '')
    """
    scheme, _, rest = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return "" if scheme == "unix" else peer
    return unquote(rest).rpartition(":")[0].strip("[]")


def _identity(context: grpc.ServicerContext) -> str:
    """Return the name in the client's certificate; "" where it showed none."""
    found = cast("Mapping[str, Sequence[bytes]]", context.auth_context())
    return next((name.decode("utf-8", "replace") for name in found.get("x509_common_name", ())), "")


@contextmanager
def _answering(name: str, context: grpc.ServicerContext) -> Iterator[None]:
    """Open a span of the caller's trace, and turn errors into gRPC statuses."""
    with call_traces.serving(name, context.invocation_metadata()) as span:
        try:
            yield
            return
        except Exception as error:
            if _is_over(name, context, error):
                return  # grpcio raises where the messages of a call that is over are asked for
            failure = error
        tracing.failed(span, reason_of(failure))
    _abort(context, failure)


def _is_over(name: str, context: grpc.ServicerContext, error: Exception) -> bool:
    """Tell whether an error came of the call's end; one that nobody foresaw is logged."""
    if is_foreseen(error):
        return False
    if not context.is_active():
        return True
    log.error("call_failed", rpc=name, exc_info=error)
    return False


def _abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call. It raises, so it stays out of the span, where that would be an exception."""
    context.set_trailing_metadata(pushback_of(error))
    context.abort(status_of(error), reason_of(error))
    raise AssertionError("unreachable")


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
