"""Logs, traces and metrics of one process.

JSON logs on stdout are the source of truth; traces leave as OTLP where an endpoint is set; metrics
are read from /metrics, and leave as OTLP too where an endpoint is set for them.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import structlog
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON
from opentelemetry.trace import format_span_id, format_trace_id

from loopline import __version__, tracing


def configure_logging(service: str, level: str) -> None:
    """Make structlog and the standard library write JSON lines with trace ids to stdout."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        _add_service(service),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer()
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def resource(service: str, instance: str = "") -> Resource:
    """Return what the process says of itself; `OTEL_RESOURCE_ATTRIBUTES` adds to it.

    `loopline.service` is the label `service` of the metrics: traces lead to them by it.

    Args:
        service: Which service.
        instance: Which process of it; unnamed if empty.
    """
    said = {
        "service.name": f"loopline-{service}",
        "service.namespace": "loopline",
        "service.version": __version__,
        "loopline.service": service,
    }
    return Resource.create(said | ({"service.instance.id": instance} if instance else {}))


def configure_traces(service: str, otlp_endpoint: str, instance: str = "") -> TracerProvider:
    """Install the process's tracer.

    Spans leave by OTLP gRPC if `otlp_endpoint` ("http://host:4317") is set.
    """
    # Unsampled, ids are still made and travel; what nobody will read is not recorded.
    provider = TracerProvider(
        resource=resource(service, instance),
        sampler=DEFAULT_ON if otlp_endpoint else ALWAYS_OFF,
    )
    tracing.is_exporting = bool(otlp_endpoint)
    if otlp_endpoint:
        # Imported here: the exporter costs 60 ms and grpc, and most processes have no endpoint.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(otlp_endpoint, insecure=not otlp_endpoint.startswith("https"))
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    trace.set_tracer_provider(provider)
    return provider


def configure_metrics(service: str, otlp_endpoint: str = "", instance: str = "") -> MeterProvider:
    """Install the process's meter, read through /metrics.

    The same figures leave by OTLP gRPC every minute if `otlp_endpoint` is set.
    """
    from opentelemetry.exporter.prometheus import PrometheusMetricReader

    readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False)]
    if otlp_endpoint:
        # Imported here, as the exporter of traces is.
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        insecure = not otlp_endpoint.startswith("https")
        readers.append(
            PeriodicExportingMetricReader(OTLPMetricExporter(otlp_endpoint, insecure=insecure))
        )
    provider = MeterProvider(readers, resource=resource(service, instance))
    metrics.set_meter_provider(provider)
    return provider


def observe_disk(folder: Path) -> None:
    """Offer the free space and the size of the disk of a process's folder."""

    def free(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(shutil.disk_usage(folder).free)

    def size(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(shutil.disk_usage(folder).total)

    meter = metrics.get_meter("loopline")
    about = "the disk of the process's folder."
    meter.create_observable_gauge(
        "loopline_disk_free", [free], unit="By", description=f"Free on {about}"
    )
    meter.create_observable_gauge(
        "loopline_disk_size", [size], unit="By", description=f"Size of {about}"
    )


def _add_trace(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add
