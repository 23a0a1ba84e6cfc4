"""Inference processes on a real bus and real storage, asked by clients that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import grpc
import httpx
import nats
import numpy as np
import pytest
from nats.js.api import ConsumerConfig

from loopline.clock import SystemClock
from loopline.contracts import (
    ApplyModel,
    ArtefactRef,
    ModelCommitted,
    PredictionsCommitted,
    RunKind,
    catalog,
)
from loopline.contracts.catalog import Stream
from loopline.contracts.oip.v2 import service_pb2
from loopline.contracts.permissions import permissions
from loopline.digests import sha256_hex
from loopline.embedded import ports
from loopline.embedded.nats import NatsUser
from loopline.runtime import admin
from loopline.runtime.bus import Bus, JetStreamOutlet
from loopline.store import runs
from loopline.store.blobs import S3Blobs
from loopline.store.commits import CommitLog, Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item
from loopline.store.logstore import JetStreamLog
from loopline.store.objects import Area, ObjectStore
from loopline.testing.onnx_models import (
    COLOURS,
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
    )
    yield platform
    for process in platform.processes:
        process.kill()
    platform.objects.close()
    await client.close()


def _sooner(config: ConsumerConfig) -> ConsumerConfig:
    return config.evolve(ack_wait=ACK_WAIT_S)


# --- serving


async def test_an_unmodified_tritonclient_gets_right_answers(platform: Platform) -> None:
    model = await platform.deploy()
    process = await platform.start()
    seen = await triton(process, platform.folder)

    answers = seen["answers"]
    assert answers["files"] == ["blue", "red"]
    assert answers["raw"] == ["green"]
    assert answers["typed"] == ["blue"]
    assert answers["by_version"] == answers["timeout"] == ["red"]
    assert answers["requested"] == ["confidence"]
    assert (answers["id"], answers["version"]) == ("r1", "1")
    assert answers["digest"] == model.ref.digest
    assert [max(row) for row in answers["probabilities"]] == answers["confidence"]
    assert all(sum(row) == pytest.approx(1) for row in answers["probabilities"])
    assert seen["concurrently"] == [COLOURS[index % 3] for index in range(30)]

    refusals = {name: status for name, (status, _) in seen["refusals"].items()}
    missing = {"model", "version", "metadata"}
    assert refusals == {
        name: f"StatusCode.{'NOT_FOUND' if name in missing else 'INVALID_ARGUMENT'}"
        for name in refusals
    }
    assert "expected [N, 8, 8, 3]" in seen["refusals"]["shape"][1]
    assert "image 1: " in seen["refusals"]["image"][1]

    described = seen["descriptions"]
    assert described["live"]
    assert described["ready"]
    assert described["model_ready"]
    assert not described["other_ready"]
    assert described["server"]["name"] == "loopline"
    assert described["metadata"]["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": ["-1", "8", "8", "3"]}
    ]
    assert described["config"]["config"]["name"] == "colours"
    assert described["config"]["config"]["input"][0]["data_type"] == "TYPE_UINT8"
    assert described["index"]["models"] == [{"name": "colours", "version": "1", "state": "READY"}]
    (statistics,) = described["statistics"]["model_stats"]
    assert int(statistics["inference_stats"]["success"]["count"]) == 36
    assert int(statistics["inference_stats"]["fail"]["count"]) == 5


async def test_it_is_ready_without_a_model_and_serves_the_first_one_when_it_comes(
    platform: Platform,
) -> None:
    process = await platform.start()
    with asking(process) as ask:
        assert await status(ask) == grpc.StatusCode.NOT_FOUND
        await platform.deploy()
        await until(lambda: status(ask), grpc.StatusCode.OK)


async def test_every_process_follows_a_moved_alias(platform: Platform) -> None:
    first = await platform.deploy(0.1)
    one, other = await asyncio.gather(platform.start(), platform.start())
    with asking(one) as ask_one, asking(other) as ask_other:
        for ask in (ask_one, ask_other):
            assert (await asyncio.to_thread(ask)).model_version == "1"
        await platform.deploy(0.2)
        for ask in (ask_one, ask_other):
            await until(lambda ask=ask: version(ask), "2")  # type: ignore[misc]
        await move_alias(platform.log, first.ref)
        for ask in (ask_one, ask_other):
            await until(lambda ask=ask: version(ask), "1")  # type: ignore[misc]


async def test_a_swap_under_load_fails_no_request(platform: Platform) -> None:
    await platform.deploy(0.1)
    process = await platform.start()
    seen: list[str] = []
    stopping = asyncio.Event()

    async def load(ask: Ask) -> None:
        while not stopping.is_set():
            seen.append(await version(ask))

    with asking(process) as ask:
        loads = [asyncio.create_task(load(ask)) for _ in range(4)]
        for number in range(2, 6):
            await platform.deploy(0.1 * number)
            await until(lambda: version(ask), str(number))
        stopping.set()
        await asyncio.gather(*loads)  # raises what any request raised
    assert set(seen) == {"1", "2", "3", "4", "5"}


@pytest.mark.slow
async def test_swaps_during_a_minute_of_load_fail_nothing_and_hardly_show(
    platform: Platform,
) -> None:
    """Four tritonclients ask without pause; in every other 3 s the alias moves."""
    await platform.deploy(0.1)
    process = await platform.start()
    script = Path(__file__).parent / "inference_load_client.py"
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), process.grpc, "4"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    await asyncio.sleep(2.0)  # connections and caches
    quiet: list[tuple[float, float]] = []
    swapping: list[tuple[float, float]] = []
    for number in range(2, 12):  # in turns, so that what else the machine does is in both
        began = time.time()
        await asyncio.sleep(3.0)
        quiet.append((began, time.time()))
        began = time.time()
        await platform.deploy(0.1 * number)
        await asyncio.sleep(3.0)
        swapping.append((began, time.time()))
    output, _ = await asyncio.wait_for(client.communicate(b""), 30)
    answers = [json.loads(line) for line in output.splitlines()]
    assert [error for *_, error in answers if error] == []
    assert {version for _, _, version, _ in answers} >= {str(number) for number in range(1, 12)}
    p99_quiet, p99_swapping = p99(answers, quiet), p99(answers, swapping)
    assert p99_swapping <= 2 * p99_quiet, (p99_quiet, p99_swapping, len(answers))


def p99(answers: Iterable[Any], spans: Iterable[tuple[float, float]]) -> float:
    """Return the 99th percentile of the latencies of what ended within the spans, seconds."""
    spans = list(spans)
    found = [
        latency for at, latency, *_ in answers if any(begin < at < end for begin, end in spans)
    ]
    return float(np.percentile(found, 99))


async def test_it_follows_on_after_the_bus_was_away(
    platform: Platform, bus_server: NatsTestServer
) -> None:
    await platform.deploy(0.1)
    process = await platform.start()
    bus_server.process.restart()
    with asking(process) as ask:
        assert (await asyncio.to_thread(ask)).model_version == "1"
        await until(lambda: deployed(platform), True)
        await until(lambda: version(ask), "2")


async def test_sigterm_ends_it_in_order(platform: Platform) -> None:
    await platform.deploy()
    process = await platform.start()
    with asking(process) as ask:
        assert await status(ask) == grpc.StatusCode.OK
        started = time.monotonic()
        assert await asyncio.to_thread(process.stop) == 0
        assert time.monotonic() - started < 10, platform.output()
        assert await status(ask) == grpc.StatusCode.UNAVAILABLE
    assert "service_stopped" in platform.output()


# --- batch apply


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_worker_that_is_killed_changes_nothing_in_the_predictions(
    platform: Platform,
) -> None:
    """Killed at each step of each handler; another takes over, and the tree is that of no kill."""
    model = await commit_model(platform.log, platform.objects, colour_classifier(sharpness=0.01))
    dataset = await pictures(platform, range(600))
    killed = ",".join(
        f"{handler}/{step}"
        for handler in ("on_apply_model", "on_predict_chunk", "on_join_predictions")
        for step in ("before_write", "after_write", "after_publish")
    )
    failpoints = platform.folder / "failpoints"
    failpoints.mkdir()
    armed = {"LOOPLINE_FAILPOINTS": killed, "LOOPLINE_FAILPOINTS_DIR": str(failpoints)}
    supervisor = asyncio.create_task(keep_running(platform, armed))
    try:
        disturbed = await apply(platform, model.ref, dataset)
        await until(lambda: fired(failpoints), 9)
    finally:
        supervisor.cancel()

    assert (disturbed.message.selected, disturbed.message.tree.count) == (600, 600)
    history = await platform.log.history(catalog.PREDICTIONS_COMMITTED)
    assert len(history) == 1

    for process in platform.processes:
        process.kill()
    await platform.start()
    # Another selection of the same items, by a model of other bytes and equal weights, undisturbed.
    undisturbed = await commit_model(
        platform.log, platform.objects, colour_classifier(sharpness=0.01), name="quiet"
    )
    quiet = await apply(platform, undisturbed.ref, dataset)
    assert quiet.message.tree.digest == disturbed.message.tree.digest


# --- helpers


Ask = Callable[[], service_pb2.ModelInferResponse]


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


async def deployed(platform: Platform) -> bool:
    """Deploy once more; False while the bus does not answer."""
    try:
        await platform.deploy(0.2)
    except Exception:
        return False
    return True


async def fired(failpoints: Path) -> int:
    return sum(1 for _ in os.scandir(failpoints))


async def keep_running(platform: Platform, env: dict[str, str]) -> None:
    """Start the process again whenever it was killed."""
    while True:
        process = platform.spawn(**env)
        await asyncio.to_thread(process.popen.wait)


async def triton(process: Process, folder: Path) -> dict[str, Any]:
    """Run the tritonclient script against a process; return what it saw."""
    write_images(folder)
    script = Path(__file__).with_name("inference_triton_client.py")
    client = await asyncio.create_subprocess_exec(
        sys.executable, script, process.grpc, folder, stdout=-1, stderr=-1
    )
    output, errors = await asyncio.wait_for(client.communicate(), 120)
    assert client.returncode == 0, errors.decode()
    seen: dict[str, Any] = json.loads(output)
    return seen


def write_images(folder: Path) -> None:
    """Write the images that the script sends."""
    for name in ("blue.jpg", "red.png"):
        bgr = cv2.cvtColor(solid(name.partition(".")[0], 48), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / name), bgr)
    jpeg = (folder / "blue.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(jpeg[: len(jpeg) // 2])


def picture(number: int) -> bytes:
    """Return a small PNG that differs from all others."""
    image = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", image)[1])


async def pictures(platform: Platform, numbers: Iterable[int]) -> ArtefactRef:
    files = [picture(number) for number in numbers]
    await platform.objects.put_many(Area.ASSETS, files)
    items = [Item(sha256_hex(data), "image/png", len(data), 8, 8) for data in files]
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"count": len(items)})
    datasets = Datasets(platform.log, platform.objects)
    committed = await datasets.commit_changes("pictures", items, run=run, summary="added")
    return committed.ref


async def apply(
    platform: Platform, model: ArtefactRef, dataset: ArtefactRef
) -> Committed[PredictionsCommitted]:
    """Apply a model and wait for the commit."""
    command = ApplyModel(model=model, dataset=dataset)
    await platform.bus.send(catalog.APPLY_MODEL, command, id=str(uuid4()))
    name = f"{model.name}-{model.digest[:16]}"

    async def is_committed() -> bool:
        return await platform.log.head(catalog.PREDICTIONS_COMMITTED, name=name) is not None

    await until(is_committed, True, timeout_s=150)
    committed = await platform.log.head(catalog.PREDICTIONS_COMMITTED, name=name)
    assert committed is not None
    return committed
