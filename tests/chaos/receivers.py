"""Who the worlds call: a team's webhook, and a collector of traces."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

LOOPBACK = "127.0.0.1"


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def webhook() -> Iterator[str]:
    """Yield the URL of a receiver that takes everything, from any number of worlds at once."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _Hook)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="webhook")
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/hooks/loopline"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class SpanOf:
    """A span, the service that told it, and what that process says of itself."""

    service: str
    span: Span
    attributes: Mapping[str, str]

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.span.trace_id.hex()


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans over OTLP/gRPC, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[SpanOf] = []

    def Export(  # noqa: N802 - its name in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take a batch."""
        with self._lock:
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                service = names.get("service.name", "")
                for scope in resource.scope_spans:
                    self._spans.extend(SpanOf(service, span, names) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> tuple[SpanOf, ...]:
        """Return every span so far."""
        with self._lock:
            return tuple(self._spans)


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    """Yield a collector and the endpoint it listens on."""
    collector = Collector()
    # The name keeps the server alive: grpc stops one that is collected.
    server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="collector"))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        collector, server
    )
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    try:
        yield collector, f"http://{LOOPBACK}:{port}"
    finally:
        server.stop(grace=None).wait()
