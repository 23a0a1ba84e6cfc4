"""One span per call, a child of the caller's (W3C context in the call's metadata)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

_tracer = trace.get_tracer("loopline")


@contextmanager
def serving(method: str, metadata: Mapping[str, str]) -> Iterator[trace.Span]:
    """Open the span of a call that is answered.

    Args:
        method: The method's name, without the service.
        metadata: The call's metadata.
    """
    with _tracer.start_as_current_span(
        f"serve {method}",
        context=propagate.extract(metadata),
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.method": method},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span
