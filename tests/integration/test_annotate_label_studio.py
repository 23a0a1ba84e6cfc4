"""A job worked in a real Label Studio, in an environment of its own (`make test-external`)."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from loopline.contracts import OpenLabelingJob, catalog
from loopline.digests import canonical_json
from loopline.formats.label_studio import shapes_of_result
from loopline.store.items import Item, Prediction, Shape
from loopline.store.objects import Area
from loopline.testing.flywheel import Flywheel
from loopline.testing.servers import PlatformServers
from loopline.vision import masks
from tests.integration.test_annotate_service import JOB, Platform, completed, job_state, until

LABEL_STUDIO = Path(__file__).parents[2] / ".bench/peers/label-studio/bin/label-studio"
pytestmark = [pytest.mark.external, pytest.mark.timeout(400)]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
USER = "ada@example.org"
STARTS_S = 240.0
DISC = np.hypot(*np.mgrid[-20:20, -30:30]) < 9


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], env: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "studio.log").open("w") as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[str]:
    """A Label Studio with one user."""
    port, folder = free_port(), tmp_path / "studio"
    folder.mkdir()
    env = {
        **os.environ,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
    }
    command = [
        str(LABEL_STUDIO), "start", "--no-browser", "--port", str(port),
        "--internal-host", "127.0.0.1", "--username", USER, "--password", "a-long-password",
        "--user-token", TOKEN, "--data-dir", str(folder), "--log-level", "ERROR",
    ]  # fmt: skip
    process = start(command, env, folder)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(STARTS_S), httpx.AsyncClient() as client:
            while not await _answers(client, url):
                assert process.poll() is None, (folder / "studio.log").read_text()[-2000:]
                await asyncio.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(30)


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health")).status_code == 200
    except httpx.HTTPError:
        return False


async def opened(process: Any) -> list[str]:
    """Open a job over three images with predictions of every kind."""
    service = process.service
    flywheel = Flywheel(service.log, service.objects)
    assets = []
    for number in range(3):
        image = np.full((40, 60, 3), 80 * number, np.uint8)
        data = bytes(cv2.imencode(".png", image)[1])
        assets.append(await service.objects.put(Area.ASSETS, data))
    dataset = await flywheel.dataset("catalogue", [Item(a, "image/png", 1, 60, 40) for a in assets])
    model = await flywheel.model("catalogue", "weights", {"accuracy": 0.8})
    shapes = (
        Shape("p1", "coat", bbox_xyxy=(5.0, 5.0, 20.0, 25.0), confidence=0.6),
        Shape("p2", "shirt", polygon=(30.0, 5.0, 50.0, 5.0, 40.0, 30.0), confidence=0.7),
        Shape("p3", "coat", mask_rle=masks.encode(DISC), confidence=0.8),
    )
    rows = [Prediction(a, shapes, ()) for a in assets]
    predictions = await flywheel.predictions(model, dataset, rows)
    command = OpenLabelingJob(
        job=JOB,
        dataset=dataset.ref,
        items_digest=await service.objects.put(Area.PLANS, canonical_json(assets)),
        items_count=3,
        classes=["coat", "shirt"],
        predictions=predictions.ref,
        predictions_tree=predictions.message.tree,
    )
    id_ = service.bus.workspace
    await service.bus.send(catalog.OPEN_LABELING_JOB, command, id=id_, queue="people")
    await until(lambda: job_state(process))
    return assets


async def test_tasks_go_there_with_predictions_and_annotations_come_back(
    platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path, studio: str
) -> None:
    platform, port = Platform(platform_servers, s3_bucket, tmp_path), free_port()
    settings = {
        "label_studio_url": studio,
        "label_studio_token": SecretStr(TOKEN),
        "label_studio_secret": SecretStr("shown by the webhook"),
        "http_port": port,
        "annotate_url": f"http://127.0.0.1:{port}",
    }
    headers = {"authorization": f"Token {TOKEN}"}
    async with (
        platform.annotate(**settings) as process,
        httpx.AsyncClient(base_url=studio, headers=headers, timeout=60) as ls,
    ):
        assets = await opened(process)
        pushed = await process.client.post(f"/v1/jobs/{JOB}/label-studio")
        assert pushed.status_code == 200, pushed.text
        assert pushed.json()["added"] == 3
        query = {"project": pushed.json()["project"], "fields": "all"}
        tasks = (await ls.get("/api/tasks/", params=query)).json()["tasks"]
        assert {task["data"]["asset"] for task in tasks} == set(assets)
        for task in tasks:
            [prediction] = task["predictions"]
            said = shapes_of_result(prediction["result"], 60, 40)
            assert [shape.id for shape in said] == ["p1", "p2", "p3"]
            assert said[2].mask_rle == masks.encode(DISC)
            kept = {"result": prediction["result"][:2], "lead_time": 3.0}
            made = await ls.post(f"/api/tasks/{task['id']}/annotations/", json=kept)
            assert made.status_code == 201, made.text
        await until(lambda: completed(process))  # by webhook alone
        datasets = Flywheel(process.service.log, process.service.objects).datasets
        head = await datasets.head("catalogue")
        assert head is not None
        found = await (await datasets.tree(head)).get(assets)
        for item in found.values():
            assert item.shapes[0].bbox_xyxy == pytest.approx((5, 5, 20, 25), abs=1e-6)
            assert [shape.edited_from for shape in item.shapes] == ["p1", "p2"]
            assert item.shapes[0].source.startswith("labeler:label-studio:")
