"""The console's page in a real browser, over a real lineage service."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import ManualClock, MemoryBus, memory_service
from loopline.testing.provenance import Provenance
from services.console.service import Console
from services.console.settings import ConsoleSettings
from services.lineage.service import Lineage
from services.lineage.settings import LineageSettings

pytestmark = pytest.mark.external  # needs a Chromium

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIRTUAL_TIME_MS = 5_000
TIMEOUT_S = 60.0
Browse = Callable[[str], Awaitable[str]]


def browser() -> str:
    """Return the path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"this test needs one of {BROWSERS}: apt-get install chromium"
    return found


@asynccontextmanager
async def console(folder: Path, turns: int) -> AsyncIterator[Browse]:
    """Run lineage and console over a log with some turns of the loop; yields what shows a page."""
    bus = MemoryBus()
    lineage = memory_service(Lineage, LineageSettings(data_dir=folder), bus, MemoryBlobs())
    for turn in range(turns):
        await Provenance(lineage.log, ManualClock(), name=f"catalogue{turn}").turn()
    await lineage.start()
    await lineage.projector.wait_applied(await lineage.log.store.last_sequence(), TIMEOUT_S)
    api = HttpServer(lineage.api(), lineage.ready, "127.0.0.1", 0)
    await api.start()
    settings = ConsoleSettings(lineage_url=f"http://127.0.0.1:{api.port}")
    service = memory_service(Console, settings, MemoryBus(), MemoryBlobs())
    await service.start()
    server = HttpServer(service.api(), service.ready, "127.0.0.1", 0)
    await server.start()

    async def browse(path: str) -> str:
        """Return the page's elements as they are once it has settled."""
        process = await asyncio.create_subprocess_exec(
            browser(), "--headless=new", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={folder / 'browser'}", "--window-size=1440,900",
            f"--virtual-time-budget={VIRTUAL_TIME_MS}", "--dump-dom",
            f"http://127.0.0.1:{server.port}{path}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        return output.decode()

    yield browse
    await server.stop()
    await service.stop()
    await api.stop()
    await lineage.stop()
    for running in (service, lineage):
        running.objects.close()


async def test_graph_is_drawn_and_live(tmp_path: Path) -> None:
    async with console(tmp_path, turns=1) as browse:
        dom = await browse("/")
    cards = re.findall(r'<g class="card (\w+)', dom)
    assert {"source", "dataset", "model", "alias", "predictions", "delivery", "flow"} <= set(cards)
    assert "run" not in cards, "runs are told in the panel of what they made"
    assert "· live" in dom
    assert 'id="empty" class="notice" hidden' in dom


async def test_deep_link_opens_everything_about_a_node(tmp_path: Path) -> None:
    async with console(tmp_path, turns=1) as browse:
        dom = await browse("/#node=model%3Acatalogue0%402")
    panel = dom[dom.index('id="detail"') :]
    for said in ("accuracy 0.81", "Made from", "train on", "asked by", "Parameters", "Environment"):
        assert said in panel, said


async def test_empty_workspace_says_what_to_do_next(tmp_path: Path) -> None:
    async with console(tmp_path, turns=0) as browse:
        dom = await browse("/")
    assert '<div id="empty" class="notice">' in dom
    assert "loopline demo" in dom
