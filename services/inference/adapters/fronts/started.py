"""ModelInfer without a thread that waits: started on an event loop, answered when it is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import grpc
import structlog
from opentelemetry import trace

from loopline import tracing
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts import call_traces
from services.inference.adapters.fronts.calls import (
    Call,
    Calls,
    Metadata,
    is_foreseen,
    pushback_of,
    reason_of,
    status_of,
)
from services.inference.adapters.models.repository import WouldBlock
from services.inference.adapters.protocol.oip import InferRequest
from services.inference.domain.queueing import Hold
from services.inference.domain.tensors import Buffer

METHOD: Final = "ModelInfer"

log = structlog.get_logger()


class StartedContext(grpc.ServicerContext, ABC):
    """A call that no thread holds: it is answered from any thread, at any time."""

    @abstractmethod
    def answer(self, message: bytes) -> None:
        """Answer it."""

    @abstractmethod
    def refuse(self, status: grpc.StatusCode, reason: str, trailing: Metadata = ()) -> None:
        """End it with an error."""

    @abstractmethod
    def expect(self, within_s: float, late: Callable[[], object]) -> None:
        """Have a function called where the call is not over by then."""

    @abstractmethod
    def in_thread(self, work: Callable[[], None]) -> None:
        """Do what may block."""


Starter = Callable[[Buffer, StartedContext], None]
"""Starts the answer to a call's message; it must not block."""


class StartedInference:
    """Answers ModelInfer.

    Args:
        calls: Lets calls in.
        plane: Infers.
    """

    def __init__(self, calls: Calls, plane: DataPlane) -> None:
        self._calls = calls
        self._plane = plane

    def __call__(self, data: Buffer, context: StartedContext) -> None:
        """Start a call; its answer comes later."""
        asked = _Asked(context)
        try:
            call = self._calls.enter(context)
            request = self._plane.read(data, call.visitor)
            if not request.is_raw:  # numbers that came typed take long to convert
                raise WouldBlock
            self._start(request, call, asked, blocks=False)
        except WouldBlock:
            context.in_thread(lambda: self._start_in_thread(request, call, asked))
        except Exception as error:
            asked.refuse(error)

    def _start_in_thread(self, request: InferRequest, call: Call, asked: _Asked) -> None:
        try:
            self._start(request, call, asked, blocks=True)
        except Exception as error:
            asked.refuse(error)

    def _start(self, request: InferRequest, call: Call, asked: _Asked, *, blocks: bool) -> None:
        ticket = self._plane.start(request, call.visitor, hold=Hold.BRIEFLY, blocks=blocks)
        give_up = ticket.tell(asked.answer, asked.refuse)
        if not call.context.add_callback(give_up):  # who went away frees its place
            give_up()
        asked.context.expect(ticket.longest_s(call.timeout_s), lambda: asked.refuse(TimeoutError()))


class _Asked:
    """One call, with its span."""

    def __init__(self, context: StartedContext) -> None:
        self.context = context
        self._span: trace.Span = trace.INVALID_SPAN
        if tracing.is_exporting:
            span = self._span = call_traces.begin(METHOD, context.invocation_metadata())
            context.add_callback(span.end)

    def answer(self, message: bytes) -> None:
        self.context.answer(message)

    def refuse(self, error: BaseException) -> None:
        if not is_foreseen(error):
            log.error("call_failed", rpc=METHOD, exc_info=error)
        tracing.failed(self._span, reason_of(error))
        self.context.refuse(status_of(error), reason_of(error), pushback_of(error))
