"""Applying a model to a dataset by processes that share it, and are killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest

from loopline.contracts import (
    ApplyModel,
    ArtefactRef,
    ChunkCompleted,
    PredictionsCommitted,
    RunKind,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.testing.onnx_models import (
    colour_classifier,
    commit_model,
)
from services.inference.domain.application import CHUNK_ITEMS
from tests.integration.inference_platform import (
    WORKSPACE,
    Platform,
    until,
)

CHUNKS = 4
MORTAL = "mortal"  # the worker that dies


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


@pytest.mark.timeout(120)
async def test_two_workers_share_an_application_and_one_dies_in_the_middle(
    platform: Platform,
) -> None:
    """The one left does the rest, and the tree is that of one worker alone."""
    model = await commit_model(platform.log, platform.objects, colour_classifier(sharpness=0.01))
    failpoints = platform.folder / "failpoints"
    failpoints.mkdir()
    # It said that its first chunk is done, acknowledged none, and holds one more or said so too.
    armed = {
        "LOOPLINE_AGENT": MORTAL,
        "LOOPLINE_DATA_DIR": str(platform.folder / MORTAL),
        "LOOPLINE_FAILPOINTS": "on_predict_chunk/after_publish",
        "LOOPLINE_FAILPOINTS_DIR": str(failpoints),
    }
    dataset, _, dying = await asyncio.gather(
        pictures(platform, range(CHUNKS * CHUNK_ITEMS)),
        platform.start(),
        platform.start(**armed),
    )
    shared = await apply(platform, model.ref, dataset)
    assert await asyncio.to_thread(dying.popen.wait, 30) == -signal.SIGKILL

    count = CHUNKS * CHUNK_ITEMS
    assert (shared.message.selected, shared.message.tree.count) == (count, count)
    assert len(await platform.log.history(catalog.PREDICTIONS_COMMITTED)) == 1
    done_by = await chunks_done_by(platform)
    assert done_by.total() == CHUNKS
    assert 0 < done_by[MORTAL] < CHUNKS

    again = await commit_model(
        platform.log, platform.objects, colour_classifier(sharpness=0.01), name="quiet"
    )
    alone = await apply(platform, again.ref, dataset)
    assert alone.message.tree.digest == shared.message.tree.digest
    assert (await chunks_done_by(platform))[MORTAL] == done_by[MORTAL]


async def chunks_done_by(platform: Platform) -> Counter[str]:
    """Return how many chunks each worker did."""
    subject = catalog.CHUNK_COMPLETED.subject(WORKSPACE)
    done = [
        ChunkCompleted.FromString(record.data) for record in await platform.events.last(subject)
    ]
    return Counter(chunk.agent.id for chunk in done)


async def fired(failpoints: Path) -> int:
    return sum(1 for _ in os.scandir(failpoints))


async def keep_running(platform: Platform, env: dict[str, str]) -> None:
    """Start the process again whenever it was killed."""
    while True:
        process = platform.spawn(**env)
        await asyncio.to_thread(process.popen.wait)


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
