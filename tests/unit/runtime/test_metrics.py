"""What a service tells of itself at /metrics, in units and classes that fit what it does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import metrics
from opentelemetry.metrics import Meter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, MetricsData

from loopline.runtime import http, processing, telemetry


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def meter(reader: InMemoryMetricReader) -> Meter:
    return MeterProvider([reader]).get_meter("test")


def points(reader: InMemoryMetricReader) -> list[HistogramDataPoint]:
    data = reader.get_metrics_data()
    assert isinstance(data, MetricsData)
    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    return [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]


async def test_answers_are_timed_and_probes_are_not(
    meter: Meter, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_answered", meter.create_histogram("answers"))
    app = FastAPI()

    @app.get("/broken")
    def broken() -> None:
        raise AssertionError

    server = http.HttpServer(app, lambda: "", "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.port}", verify=False
    ) as client:
        for method, path in (
            ("GET", "/healthz"),
            ("GET", "/metrics"),
            ("GET", "/nowhere"),
            ("GET", "/broken"),
            ("PROPFIND", "/nowhere"),
        ):
            await client.request(method, path)
    await server.stop()
    told = {
        (point.attributes["method"], point.attributes["status"]): point.count
        for point in points(reader)
        if point.attributes
    }
    assert told == {("GET", "404"): 1, ("GET", "500"): 1, ("other", "404"): 1}


def test_a_training_and_a_reaction_are_told_apart_by_their_class() -> None:
    bounds = processing.HANDLER_BUCKETS_S
    assert sorted(bounds) == list(bounds)
    assert bounds[0] <= 0.005 < 3600 <= bounds[-1]


def test_resources_name_service_instance_and_version() -> None:
    told = telemetry.resource("router", "router-2").attributes
    assert told["service.name"] == "loopline-router"
    assert told["loopline.service"] == "router"
    assert told["service.instance.id"] == "router-2"
    assert told["service.version"]


def test_the_disk_is_that_of_the_folder(
    meter: Meter, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(metrics, "get_meter", lambda _: meter)
    telemetry.observe_disk(tmp_path)
    data = reader.get_metrics_data()
    assert isinstance(data, MetricsData)
    told = {
        metric.name: metric.data.data_points[0]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert set(told) == {"loopline_disk_free", "loopline_disk_size"}


class Figures(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes figures over OTLP/gRPC, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.names: set[tuple[str, str]] = set()

    def Export(  # noqa: N802 - its name in the protocol
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        for resource in request.resource_metrics:
            said = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.names.update(
                (said["service.name"], metric.name)
                for scope in resource.scope_metrics
                for metric in scope.metrics
            )
        return ExportMetricsServiceResponse()


def test_figures_leave_as_otlp_where_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "set_meter_provider", lambda _: None)
    taken = Figures()
    server = grpc.server(ThreadPoolExecutor(1))
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(taken, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    provider = telemetry.configure_metrics("router", f"http://127.0.0.1:{port}")
    provider.get_meter("test").create_counter("counted").add(1)
    provider.shutdown()  # what was gathered leaves at the latest now
    server.stop(None).wait()
    assert taken.names == {("loopline-router", "counted")}
