"""Traces across the bus.

W3C context in the headers, one span per publish and per handled message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

_tracer = trace.get_tracer("loopline")
is_exporting = False
"""Whether spans go anywhere. If not, a publish makes none: a third of a commit's cost."""


def publishing(subject: str, key: str) -> AbstractContextManager[dict[str, str]]:
    """Open the span of a publish; yields the headers that carry it."""
    if not is_exporting:
        parent = current_traceparent()
        return nullcontext({"traceparent": parent} if parent else {})
    return _publishing(subject, key)


@contextmanager
def _publishing(subject: str, key: str) -> Iterator[dict[str, str]]:
    with _tracer.start_as_current_span(
        f"publish {key}",
        kind=SpanKind.PRODUCER,
        attributes={"messaging.system": "nats", "messaging.destination.name": subject},
    ):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        yield headers


@contextmanager
def handling(key: str, subject: str, context: Mapping[str, str]) -> Iterator[trace.Span]:
    """Open the span of a handled message, child of the publish whose W3C context it came with."""
    with _tracer.start_as_current_span(
        f"on {key}",
        context=propagate.extract(context),
        kind=SpanKind.CONSUMER,
        attributes={"messaging.system": "nats", "messaging.destination.name": subject},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


@contextmanager
def storage(verb: str, area: str, objects: int = 1) -> Iterator[None]:
    """Open the span of a call to storage, inside the span of what needs it; none outside of any."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with _tracer.start_as_current_span(
        f"{verb} {area}",
        kind=SpanKind.CLIENT,
        attributes={"loopline.area": area, "loopline.objects": objects},
    ):
        yield


def failed(span: trace.Span, reason: str) -> None:
    """Mark a span as failed."""
    span.set_status(Status(StatusCode.ERROR, reason))


def current_trace_id() -> str:
    """Return the current trace's id, 32 hex digits; empty outside of any trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def current_traceparent() -> str:
    """Return the current `traceparent` header; empty outside of any trace."""
    span = trace.get_current_span()
    if span is trace.INVALID_SPAN:
        return ""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
