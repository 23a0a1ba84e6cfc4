"""One world: a platform of its own, the whole story told in it, and whoever kills meanwhile.

The story is a client like any other: where the bus or a service does not answer (`Transient`), it
tries again, from its beginning. What it asked for before is found in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import nats.errors
import structlog
from rich.console import Console

from loopline.client.aio import AsyncLoopline
from loopline.contracts import catalog
from loopline.contracts.catalog import SERVICES, Event
from loopline.demo.scene import Scene
from loopline.demo.screen import Screen
from loopline.demo.story import PHOTOS_BUCKET, RESULTS_BUCKET, Summary
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.errors import Transient
from loopline.lineage.completeness import Completeness
from loopline.store.commits import Committed
from loopline.store.fsck import FsckReport
from loopline.store.verify import VerifyReport
from tests.chaos.killer import Accidents, Steps
from tests.chaos.outcome import Outcome, outcome
from tests.chaos.scene import small_scene
from tests.chaos.story import LongStory

log = structlog.get_logger()

ACK_WAIT_S = 2.0
RETRY_DELAY_MAX_S = 3.0
RESTART_DELAY_MAX_S = 0.5
STORY_TIMEOUT_S = 900.0
RETRY_S = 0.5
READY_TIMEOUT_S = 180.0
UPLOADING = {"LOOPLINE_CHECKPOINT_UPLOAD_EVERY_S": "0"}  # all that a reproduction ever writes
RECORDING = {"LOOPLINE_SAMPLE_SHARE": "1", "LOOPLINE_SAMPLE_EVERY_S": "0.5"}
STARTING = threading.Lock()


@dataclass(frozen=True)
class Told:
    """What came out of a world.

    Attributes:
        summary: What the story saw.
        outcome: What there was at the end.
        commits: The log at the end.
        proven: `loopline verify` over the customer's results.
        checked: `loopline fsck`, deep.
        graphed: `loopline lineage check`.
        again: What the story saw when it was told once more; None if it was not.
        after: What there was then.
        fired: The steps that killed.
        deaths: How often each process was started again.
        attempts: How often the client began.
        seconds: How long the story took.
        figures: What each process told at /metrics in the end, by its name.
    """

    summary: Summary
    outcome: Outcome
    commits: tuple[Committed[Any], ...]
    proven: VerifyReport
    checked: FsckReport
    graphed: Completeness
    again: Summary | None
    after: Outcome | None
    fired: frozenset[str]
    deaths: Counter[str]
    attempts: int
    seconds: float
    figures: Mapping[str, str]

    def committed(self, event: Event[Any]) -> list[Committed[Any]]:
        """Return the commits of an event, oldest first."""
        return [each for each in self.commits if isinstance(each.message, event.message)]


@dataclass(frozen=True)
class World:
    """What a world is like.

    Args:
        folder: Its data folder; must be new.
        webhook_url: Who is told of labeling jobs. It is part of the flow, whose digest is in every
            delivered object: worlds to be compared have the same.
        steps: Steps that kill.
        accidents: Who else kills.
        scale: Processes per service, 1 if not named.
        twice: Tell the story once more, when all is done.
        otlp_endpoint: Where traces go.
        traceparent: What the external publisher's trace is.
    """

    folder: Path
    webhook_url: str
    steps: Steps | None = None
    accidents: Accidents | None = None
    scale: Mapping[str, int] = field(default_factory=dict)
    twice: bool = False
    otlp_endpoint: str = ""
    traceparent: str = ""

    def tell(self) -> Told:
        """Run the world from its start to its end, in a loop of its own on this thread."""
        return asyncio.run(self._tell())

    async def _tell(self) -> Told:
        began = time.monotonic()
        async with (
            self._platform() as platform,
            await AsyncLoopline.connect(self.folder) as loopline,
        ):
            async with self._raging(platform):
                summary, attempts = await self._client(loopline, platform)
            seconds = time.monotonic() - began
            await platform.wait_ready(READY_TIMEOUT_S)
            ended = await outcome(loopline, platform.endpoints)
            commits = [each async for each in loopline.session.log.read(catalog.COMMITS)]
            proven = await loopline.lineage.verify(
                "customer", RESULTS_BUCKET, self._scene().results_prefix
            )
            checked = await loopline.storage.fsck(deep=True)
            graphed = await loopline.lineage.check()
            again = await self._story(loopline, platform) if self.twice else None
            after = await outcome(loopline, platform.endpoints) if self.twice else None
            figures = await _figures(platform.endpoints)
            deaths = Counter({process.name: process.restarts for process in platform.status()})
        return Told(
            summary=summary,
            outcome=ended,
            commits=tuple(commits),
            proven=proven,
            checked=checked,
            graphed=graphed,
            again=again,
            after=after,
            fired=frozenset(self.steps.fired() if self.steps else ()),
            deaths=+deaths,
            attempts=attempts,
            seconds=seconds,
            figures=figures,
        )

    @asynccontextmanager
    async def _platform(self) -> AsyncIterator[Platform]:
        platform = Platform(self._options())
        # One at a time: free ports are chosen first and taken later.
        with STARTING:
            await platform.start()
        try:
            await platform.wait_ready(READY_TIMEOUT_S)
            yield platform
        finally:
            await platform.stop()

    def _options(self) -> PlatformOptions:
        env = {"LOOPLINE_RETRY_DELAY_MAX_S": str(RETRY_DELAY_MAX_S)}
        if self.steps:
            env |= self.steps.environment()
        return PlatformOptions(
            self.folder,
            scale=self.scale,
            customer_buckets=(PHOTOS_BUCKET, RESULTS_BUCKET),
            prefer_default_ports=False,
            ack_wait_s=ACK_WAIT_S,
            restart_delay_max_s=RESTART_DELAY_MAX_S,
            otlp_endpoint=self.otlp_endpoint,
            extra_env=dict.fromkeys(SERVICES, env)
            | {"inference": env | RECORDING, "trainer": env | UPLOADING},
        )

    @asynccontextmanager
    async def _raging(self, platform: Platform) -> AsyncIterator[None]:
        if self.accidents is None:
            yield
            return
        killer = asyncio.create_task(self.accidents.rage(platform))
        try:
            yield
        finally:
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killer

    async def _client(self, loopline: AsyncLoopline, platform: Platform) -> tuple[Summary, int]:
        """Tell the story until it is told; return how often that began."""
        attempts = 0
        async with asyncio.timeout(STORY_TIMEOUT_S):
            while True:
                attempts += 1
                try:
                    return await self._story(loopline, platform), attempts
                except (Transient, nats.errors.Error, OSError) as error:
                    log.info("client_tries_again", reason=str(error))
                    await asyncio.sleep(RETRY_S)

    async def _story(self, loopline: AsyncLoopline, platform: Platform) -> Summary:
        with Screen(Console(file=StringIO())) as screen:
            story = LongStory(loopline, platform.endpoints, screen, self.folder, self._scene())
            return await story.run()

    def _scene(self) -> Scene:
        return replace(small_scene(), webhook_url=self.webhook_url, traceparent=self.traceparent)


async def _figures(endpoints: Endpoints) -> dict[str, str]:
    async with httpx.AsyncClient(timeout=30.0) as client:
        answers = {name: await client.get(f"{url}/metrics") for name, url in endpoints.http.items()}
    return {name: answer.raise_for_status().text for name, answer in answers.items()}
