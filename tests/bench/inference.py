"""Inference: processor time the server adds to what the engine itself takes.

`python -m tests.bench.inference` prints the entries. Server and client are on separate cores where
there are two; the figure is the scheduler's own accounting of the server's process, which is steady
where rates are not.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import grpc
import numpy as np
import psutil

from loopline.contracts.oip.v2 import service_pb2
from loopline.digests import sha256_hex
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from services.inference.adapters.bulk import BulkPredictor
from services.inference.adapters.engine import EngineOptions, OnnxEngine
from services.inference.adapters.preprocessing import prepare
from services.inference.adapters.servable import Servable
from services.inference.domain.model import ModelVersion
from services.inference.domain.queueing import BatchPolicy
from services.inference.domain.tensors import UInt8Batch, join_raw_bytes
from tests.bench import _inference_server as server

BATCH = 8  # the raw engine's optimum, and the server's largest batch
CLIENTS = 8
ROUNDS = 5
BULK_IMAGES = 512
PIXELS_MAX = 50_000_000
Entry = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Args:
        name: What it is called.
        model: The model that is asked.
        datatype: Of its input.
        shape: Of its input.
        raw: Its input.
        engine: Does the same work for `BATCH` requests without a server.
        requests: Per round.
    """

    name: str
    model: str
    datatype: str
    shape: Sequence[int]
    raw: bytes
    engine: Callable[[], object]
    requests: int

    def message(self) -> bytes:
        """Return the request's bytes."""
        request = service_pb2.ModelInferRequest(model_name=self.model)
        request.inputs.add(name="image", datatype=self.datatype, shape=self.shape)
        request.raw_input_contents.append(self.raw)
        return request.SerializeToString()


def run() -> list[Entry]:
    """Measure, and return the entries."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    try:
        with serving(cores[0]) as (process, port):
            entries = [e for case in cases() for e in measure(case, process, port)]
        return [*entries, asyncio.run(bulk())]
    finally:
        os.sched_setaffinity(0, set(cores))


def cases() -> list[Case]:
    """Return the requests that are measured."""
    random = np.random.default_rng(0)
    tiny, photo = engine_of(server.tiny(), server.TINY_SHAPE), photo_engine()
    digit = random.integers(0, 256, (1, *server.TINY_SHAPE), dtype=np.uint8)
    image = random.integers(0, 256, (1, *server.PHOTO_SHAPE), dtype=np.uint8)
    jpeg = photograph()
    model = version(server.PHOTO_SHAPE)

    def decode_and_run() -> object:
        return photo.run(
            {"image": np.stack([prepare(jpeg, model, PIXELS_MAX)[0] for _ in range(BATCH)])}
        )

    return [
        Case("tiny network", "tiny", "UINT8", digit.shape, digit.tobytes(),
             lambda: tiny.run({"image": np.repeat(digit, BATCH, 0)}), 2_400),
        Case("224 x 224 pixels", "photo", "UINT8", image.shape, image.tobytes(),
             lambda: photo.run({"image": np.repeat(image, BATCH, 0)}), 480),
        Case("JPEG 640 x 480", "photo", "BYTES", [1], join_raw_bytes([jpeg]), decode_and_run, 240),
    ]  # fmt: skip


def measure(case: Case, process: psutil.Process, port: int) -> Iterator[Entry]:
    """Yield processor time per request, its ratio to the engine's, and latency."""
    message = case.message()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=bytes,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        load(ask, message, case.requests // 4)
        served, alone, latencies = [], [], []
        for _ in range(ROUNDS):
            before = cpu_s(process)
            latencies += load(ask, message, case.requests)
            served.append((cpu_s(process) - before) / case.requests * 1e6)
            alone.append(engine_us(case.engine, case.requests // BATCH))
    ratios = [own / with_server for own, with_server in zip(alone, served, strict=True)]
    engine = statistics.median(alone)
    name = f"inference: {case.name}"
    yield entry(
        f"{name}, server CPU per request", statistics.median(served), "us",
        f"raw onnxruntime, batch {BATCH}: {engine:,.0f} us",
    )  # fmt: skip
    yield entry(f"{name}, efficiency", statistics.median(ratios), "ratio", "raw onnxruntime = 1")
    p50, p99 = np.percentile(latencies, [50, 99])
    yield entry(f"{name}, p50", p50 * 1e3, "ms", f"{CLIENTS} clients; p99 {p99 * 1e3:.1f} ms")


def load(
    ask: Callable[[bytes], service_pb2.ModelInferResponse], message: bytes, requests: int
) -> list[float]:
    """Ask from `CLIENTS` threads; return the seconds each request took."""

    def client(count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            answer = ask(message)
            seconds.append(time.perf_counter() - started)
            assert len(answer.raw_output_contents) == 3
        return seconds

    with ThreadPoolExecutor(CLIENTS) as threads:
        shares = threads.map(client, [requests // CLIENTS] * CLIENTS)
        return [one for share in shares for one in share]


def engine_us(engine: Callable[[], object], batches: int) -> float:
    """Return the engine's processor time per image, microseconds."""
    before = time.process_time()
    for _ in range(batches):
        engine()
    return (time.process_time() - before) / (batches * BATCH) * 1e6


async def bulk() -> Entry:
    """Compare predicting stored images in bulk with decoding and inferring them in a plain loop."""
    blobs = MemoryBlobs()
    objects = ObjectStore(blobs, "bench")
    files = [photograph(number) for number in range(32)]
    assets = await objects.put_many(Area.ASSETS, files)
    assert assets == [sha256_hex(file) for file in files]
    model, engine = version(server.PHOTO_SHAPE), photo_engine()
    servable = Servable(model, engine, BatchPolicy(BATCH), 512)
    wanted = [assets[index % len(assets)] for index in range(BULK_IMAGES)]
    ratios = []
    with ThreadPoolExecutor(1) as pool:
        predictor = BulkPredictor(objects, pool, PIXELS_MAX)
        for _ in range(3):
            before = time.process_time()
            await predictor.predict(servable, wanted)
            spent = time.process_time() - before
            before = time.process_time()
            for start in range(0, BULK_IMAGES, BATCH):
                some = [files[(start + i) % len(files)] for i in range(BATCH)]
                pixels = [prepare(file, model, PIXELS_MAX)[0] for file in some]
                engine.run({"image": np.stack(pixels)})
            ratios.append((time.process_time() - before) / spent)
    servable.retire()
    objects.close()
    return entry(
        "inference: batch apply, efficiency", statistics.median(ratios), "ratio",
        "decode + raw onnxruntime in a loop = 1; CPU of the worker, images in memory",
    )  # fmt: skip


@contextmanager
def serving(core: int) -> Iterator[tuple[psutil.Process, int]]:
    """Start the server on a core; yield its process and port."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "tests.bench._inference_server", str(core)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert popen.stdin is not None
    assert popen.stdout is not None
    try:
        line = next(line for line in popen.stdout if line.startswith("port "))
        yield psutil.Process(popen.pid), int(line.split()[1])
    finally:
        popen.stdin.close()
        popen.wait(30)
        popen.stdout.close()


def photo_engine() -> OnnxEngine:
    """Return the engine of the network for photographs."""
    return engine_of(server.photo(), server.PHOTO_SHAPE)


def engine_of(onnx: bytes, shape: tuple[int, int, int]) -> OnnxEngine:
    """Return a single-threaded engine."""
    return OnnxEngine(onnx, version(shape), EngineOptions(threads=1))


def version(shape: tuple[int, int, int]) -> ModelVersion:
    """Return the model version of a network."""
    return ModelVersion("bench", 1, "0" * 64, server.CLASSES, *shape, "area", "0" * 64, 1)


def photograph(seed: int = 0) -> bytes:
    """Return a 640 x 480 JPEG of about 60 KB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image: UInt8Batch = np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process so far, seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def entry(name: str, value: float, unit: str, against: str) -> Entry:
    """Return one result; this issue sets no goal for it."""
    return {
        "name": name,
        "value": round(float(value), 3),
        "unit": unit,
        "goal": None,
        "holds": None,
        "against": against,
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
