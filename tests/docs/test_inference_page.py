"""docs/inference.md: its blocks ask a real server, in a process of their own."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import pytest

from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias, solid
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inference.md"
BLOCK_TIMEOUT_S = 60.0


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[str]:
    """The page, with the addresses of a server that has the model `products`."""
    settings = InferenceSettings(data_dir=tmp_path, engine_threads=1, drain_s=1.0)
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    await service.start()
    model = await commit_model(service.log, service.objects, colour_classifier(), name="products")
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    cv2.imwrite(str(tmp_path / "photo.jpg"), cv2.cvtColor(solid("red", 48), cv2.COLOR_RGB2BGR))
    text = PAGE.read_text().replace("/camera-1", f"/camera-{service.fronts.grpc.port}")
    for preferred, front in (("8001", service.fronts.grpc), ("8000", service.fronts.rest)):
        text = text.replace(f"127.0.0.1:{preferred}", f"127.0.0.1:{front.port}")
    yield text
    await service.stop()
    service.objects.close()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


async def run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), BLOCK_TIMEOUT_S)
    assert process.returncode == 0, errors.decode() + output.decode()
    return output.decode()


async def test_the_python_of_the_page_asks_a_server(page: str, tmp_path: Path) -> None:
    output = await run(tmp_path, sys.executable, "-c", "\n".join(blocks(page, "python")))
    lines = output.splitlines()
    assert lines[0] == "[b'red'] [1.]"
    assert "probabilities" in lines[1]
    assert ":0:red" in lines[2]
    assert [line for line in lines if line.startswith("frame-")] == [
        f"frame-{number} [b'red']" for number in range(3)
    ]
    assert lines[-1] == "[b'red']"


async def test_the_shell_of_the_page_asks_a_server(page: str, tmp_path: Path) -> None:
    (script,) = blocks(page, "sh")
    output = await run(tmp_path, "bash", "-euc", script)
    assert '"data":["red"]' in output
    assert '"name":"products"' in output
