"""Batch apply: what a worker spends beside decoding and the engine, and what a second one adds.

`python -m tests.bench.inference` prints the entries. What a request costs a server is in
`tests/bench/serving`.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from loopline.digests import sha256_hex
from loopline.store.blobs import MemoryBlobs
from loopline.store.objects import Area, ObjectStore
from services.inference.adapters.bulk import BulkPredictor
from services.inference.adapters.engine.preprocessing import prepare
from services.inference.adapters.engine.session import EngineOptions, OnnxEngine
from services.inference.adapters.models.servable import Servable
from services.inference.adapters.process_tuning import keep_large_blocks
from services.inference.domain.queueing import BatchPolicy
from tests.bench.serving import networks
from tests.bench.serving.cases import MODEL, PIXELS_MAX, photograph

BATCH = 8
IMAGES = 512
ROUNDS = 3
WORKER_S = 5.0
Entry = dict[str, Any]


class Work:
    """Images in memory, a network, and a worker to predict them."""

    def __init__(self) -> None:
        keep_large_blocks()
        cv2.setNumThreads(1)
        onnx = networks.paths()[networks.IMAGE].read_bytes()
        self.files = [photograph(number) for number in range(32)]
        self.engine = OnnxEngine(onnx, MODEL, EngineOptions(threads=1, max_batch=BATCH))
        policy = BatchPolicy(BATCH, preferred=self.engine.preferred_batch)
        self.servable = Servable(MODEL, self.engine, policy, IMAGES)
        self.objects = ObjectStore(MemoryBlobs(), "bench")
        self.pool = ThreadPoolExecutor(1)
        self.predictor = BulkPredictor(self.objects, self.pool, PIXELS_MAX)

    async def load(self) -> Sequence[str]:
        """Store the images; return what to predict."""
        assets = await self.objects.put_many(Area.ASSETS, self.files)
        assert assets == [sha256_hex(file) for file in self.files]
        return [assets[index % len(assets)] for index in range(IMAGES)]

    def close(self) -> None:
        """Let everything go."""
        self.servable.retire()
        self.pool.shutdown()
        self.objects.close()


def run() -> list[Entry]:
    """Measure, and return the entries."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        alone = asyncio.run(efficiency())
    finally:
        os.sched_setaffinity(0, set(cores))
    return [alone, scaling(cores)]


async def efficiency() -> Entry:
    """Compare predicting stored images with decoding and inferring them in a plain loop."""
    work = Work()
    wanted = await work.load()
    ratios = []
    for _ in range(ROUNDS):
        before = time.process_time()
        await work.predictor.predict(work.servable, wanted)
        spent = time.process_time() - before
        before = time.process_time()
        for start in range(0, IMAGES, BATCH):
            some = [work.files[(start + i) % len(work.files)] for i in range(BATCH)]
            pixels = [prepare(file, MODEL, PIXELS_MAX)[0] for file in some]
            work.engine.run({"image": np.stack(pixels)})
        ratios.append((time.process_time() - before) / spent)
    work.close()
    return entry(
        "inference: batch apply, efficiency", statistics.median(ratios), 0.9,
        "decode + bare engine in a loop = 1; CPU of the worker, images in memory",
    )  # fmt: skip


def scaling(cores: Sequence[int]) -> Entry:
    """Compare the images that two workers predict with those of one in the same time."""
    one, two = [], []
    for _ in range(ROUNDS):
        one.append(sum(workers(cores[:1])))
        two.append(sum(workers(cores[:2])))
    ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
    goal = 1.8 if len(cores) > 1 else None
    return entry("inference: batch apply, two workers to one", ratio, goal, f"{len(cores)} cores")


def workers(cores: Sequence[int]) -> list[int]:
    """Run a worker on each core at once; return how many images each predicted."""
    command = [sys.executable, "-m", "tests.bench.inference", "--worker"]
    running = [
        subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in cores
    ]
    for popen in running:
        assert popen.stdout is not None
        assert popen.stdout.readline() == "ready\n"
    for popen in running:
        assert popen.stdin is not None
        popen.stdin.write("go\n")
        popen.stdin.flush()
    return [int(popen.communicate(timeout=60)[0]) for popen in running]


async def worker() -> int:
    """Predict for `WORKER_S`; return how many images."""
    work = Work()
    wanted = await work.load()
    await work.predictor.predict(work.servable, wanted[:64])
    print("ready", flush=True)
    sys.stdin.readline()
    until, images = time.perf_counter() + WORKER_S, 0
    while time.perf_counter() < until:
        await work.predictor.predict(work.servable, wanted[:128])
        images += 128
    work.close()
    return images


def entry(name: str, value: float, goal: float | None, against: str) -> Entry:
    """Return one result."""
    return {
        "name": name,
        "value": round(float(value), 3),
        "unit": "ratio",
        "goal": None if goal is None else f">= {goal}",
        "holds": None if goal is None else bool(value >= goal),
        "against": against,
    }


if __name__ == "__main__":
    print(asyncio.run(worker()) if "--worker" in sys.argv else json.dumps(run(), indent=1))
