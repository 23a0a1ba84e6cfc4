"""Inference processes on a real bus and real storage, for tests of several subjects."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import nats
import pytest
from nats.js.api import ConsumerConfig

from loopline.clock import SystemClock
from loopline.contracts import (
    ModelCommitted,
    catalog,
)
from loopline.contracts.catalog import Stream
from loopline.contracts.oip.v2 import service_pb2
from loopline.contracts.permissions import permissions
from loopline.embedded import ports
from loopline.embedded.nats import NatsUser
from loopline.runtime import admin
from loopline.runtime.bus import Bus, JetStreamOutlet
from loopline.store.blobs import S3Blobs
from loopline.store.commits import CommitLog, Committed
from loopline.store.logstore import JetStreamLog
from loopline.store.objects import ObjectStore
from loopline.testing.onnx_models import (
    colour_classifier,
    commit_model,
    move_alias,
    solid,
)
from loopline.testing.servers import NatsTestServer, S3TestServer

WORKSPACE = "default"
ROOT = Path(__file__).parents[2]
READY_TIMEOUT_S = 60.0
ACK_WAIT_S = 1.0  # so that a killed worker's message comes again before a test loses patience


Ask = Callable[[], service_pb2.ModelInferResponse]


@dataclass
class Process:
    """One inference process."""

    popen: subprocess.Popen[bytes]
    http: str
    grpc: str

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        self.popen.terminate()
        return self.popen.wait(30)


@dataclass
class Platform:
    """A workspace of its own on shared servers, and the processes started in it."""

    env: dict[str, str]
    folder: Path
    log: CommitLog
    objects: ObjectStore
    bus: Bus
    events: JetStreamLog
    processes: list[Process] = field(default_factory=list)

    async def start(self, **env: str) -> Process:
        """Start a process and wait until it is ready."""
        process = self.spawn(**env)
        deadline = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient() as http:
            while True:
                try:
                    if (await http.get(f"{process.http}/readyz")).status_code == 200:
                        return process
                except httpx.TransportError:
                    pass
                assert process.popen.poll() is None, self.output()
                assert time.monotonic() < deadline, self.output()
                await asyncio.sleep(0.05)

    def spawn(self, **env: str) -> Process:
        chosen = ports.choose({"http": 0, "grpc": 0})
        listening = {
            "LOOPLINE_HTTP_PORT": str(chosen["http"]),
            "LOOPLINE_GRPC_PORT": str(chosen["grpc"]),
        }
        with (self.folder / "inference.log").open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "services.inference"],
                cwd=ROOT,
                env=os.environ | self.env | listening | env,
                stdout=output,
                stderr=output,
            )
        process = Process(
            popen, f"http://127.0.0.1:{chosen['http']}", f"127.0.0.1:{chosen['grpc']}"
        )
        self.processes.append(process)
        return process

    def output(self) -> str:
        return (self.folder / "inference.log").read_text()

    async def deploy(self, sharpness: float = 0.1) -> Committed[ModelCommitted]:
        onnx = colour_classifier(sharpness=sharpness)
        model = await commit_model(self.log, self.objects, onnx)
        await move_alias(self.log, model.ref)
        return model


@pytest.fixture
def bus_server(nats_server_with: Callable[..., NatsTestServer]) -> NatsTestServer:
    """A bus where inference may do what the catalog lets it, and no more."""
    allowed = permissions("inference", workspace=WORKSPACE)
    return nats_server_with(
        NatsUser("admin", "secret"),
        NatsUser("inference", "secret", allowed.publish, allowed.subscribe),
    )


@pytest.fixture
async def platform(
    bus_server: NatsTestServer, s3_server: S3TestServer, s3_bucket: str, tmp_path: Path
) -> AsyncIterator[Platform]:
    s3, workspace = s3_server, WORKSPACE
    client = await nats.connect(bus_server.url, user=bus_server.user, password=bus_server.password)
    js = client.jetstream()
    await admin.declare(js, workspace)
    for event in (catalog.APPLY_MODEL, catalog.PREDICT_CHUNK, catalog.JOIN_PREDICTIONS):
        name = event.durable_name("inference", workspace)
        known = (await js.consumer_info(event.stream, name)).config
        await js.add_consumer(event.stream, _sooner(known))
    env = {
        "LOOPLINE_WORKSPACE": workspace,
        "LOOPLINE_NATS_URL": bus_server.url,
        "LOOPLINE_NATS_USER": "inference",
        "LOOPLINE_NATS_PASSWORD": "secret",
        "LOOPLINE_S3_ENDPOINT": s3.endpoint,
        "LOOPLINE_S3_ACCESS_KEY": s3.access_key,
        "LOOPLINE_S3_SECRET_KEY": s3.secret_key,
        "LOOPLINE_S3_BUCKET": s3_bucket,
        "LOOPLINE_DATA_DIR": str(tmp_path / "data"),
        "LOOPLINE_ENGINE_THREADS": "1",
        "LOOPLINE_DRAIN_S": "5",
    }
    blobs = S3Blobs(s3.endpoint, s3.access_key, s3.secret_key, s3_bucket)
    outlet = JetStreamOutlet(client)
    platform = Platform(
        env,
        tmp_path,
        CommitLog(JetStreamLog(client, Stream.COMMITS), workspace, source="test"),
        ObjectStore(blobs, workspace),
        Bus(outlet, workspace, source="test", clock=SystemClock()),
        JetStreamLog(client, Stream.EVENTS),
    )
    yield platform
    for process in platform.processes:
        process.kill()
    platform.objects.close()
    await client.close()


def _sooner(config: ConsumerConfig) -> ConsumerConfig:
    return config.evolve(ack_wait=ACK_WAIT_S)


@contextmanager
def asking(process: Process) -> Iterator[Ask]:
    """Yield a call that asks the default version of `colours` about a red image."""
    request = service_pb2.ModelInferRequest(model_name="colours")
    request.inputs.add(name="image", datatype="UINT8", shape=[1, 8, 8, 3])
    request.raw_input_contents.append(solid("red").tobytes())
    with grpc.insecure_channel(process.grpc) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        yield lambda: call(request, timeout=20)


async def version(ask: Ask) -> str:
    return (await asyncio.to_thread(ask)).model_version


async def status(ask: Ask) -> grpc.StatusCode:
    try:
        await asyncio.to_thread(ask)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def until(look: Callable[[], Any], wanted: object, timeout_s: float = 60.0) -> None:
    """Wait until `look()` gives `wanted`."""
    deadline = time.monotonic() + timeout_s
    while (seen := await look()) != wanted:
        assert time.monotonic() < deadline, f"{seen!r}, not {wanted!r}"
        await asyncio.sleep(0.02)
