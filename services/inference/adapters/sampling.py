"""Recording a share of the requests: their images become assets, what the model said an event.

Nothing here may slow an answer. What is chosen is handed over by reference and looked at later, off
the request's way; where too much waits already it is dropped and counted.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from loopline.clock import Clock
from loopline.contracts import (
    Agent,
    ArtefactKind,
    ArtefactRef,
    RequestsSampled,
    SampledImage,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.errors import LooplineError
from loopline.runtime.bus import Bus
from loopline.store.objects import Area, ObjectStore
from loopline.vision.geometry import Placement
from loopline.vision.headers import read_header
from services.inference.adapters.protocol.messages import shape_message
from services.inference.domain.answers import predictions
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import Arrays

WAITING_MAX: Final = 64  # images chosen and not looked at yet
IMAGES_PER_EVENT: Final = 32

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SamplingPolicy:
    """How much is recorded.

    Args:
        share: Of the requests with encoded images, in [0, 1].
        per_minute: Images at most.
        every_s: How long images are gathered for one event.
    """

    share: float = 0.0
    per_minute: int = 60
    every_s: float = 30.0


@dataclass(frozen=True, slots=True)
class _Chosen:
    model: ModelVersion
    files: Sequence[bytes]
    outputs: Arrays
    placements: Sequence[Placement]


class Sampler:
    """Chooses requests, and tells of them.

    Args:
        policy: How much is recorded.
        objects: Where images go.
        bus: Where events go.
        agent: Who tells.
        clock: Time.
        draw: Gives a number in [0, 1) for each request.
    """

    def __init__(
        self,
        policy: SamplingPolicy,
        objects: ObjectStore,
        bus: Bus,
        agent: Agent,
        clock: Clock,
        draw: random.Random | None = None,
    ) -> None:
        self._policy = policy
        self._objects = objects
        self._bus = bus
        self._agent = agent
        self._clock = clock
        self._random = draw or random.Random()
        self._waiting: deque[_Chosen] = deque()
        self._lock = threading.Lock()
        self._minute, self._in_minute = 0, 0
        self.dropped = 0

    def wants(self) -> bool:
        """Tell whether the next request is one of the share."""
        return self._policy.share > 0 and self._random.random() < self._policy.share

    def offer(
        self,
        model: ModelVersion,
        files: Sequence[bytes],
        outputs: Arrays,
        placements: Sequence[Placement],
    ) -> None:
        """Hand over a request that was answered; never blocks.

        Args:
            model: Who answered.
            files: Its images, those with an answer.
            outputs: What the graph gave, a row per image.
            placements: How each image sat in the input.
        """
        minute = int(self._clock.monotonic_s() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute, self._in_minute = minute, 0
            room = sum(len(chosen.files) for chosen in self._waiting) + len(files) <= WAITING_MAX
            if not room or self._in_minute + len(files) > self._policy.per_minute:
                self.dropped += len(files)
                return
            self._in_minute += len(files)
            self._waiting.append(_Chosen(model, files, outputs, placements))

    async def run_for_ever(self) -> None:
        """Tell of what was chosen, every so often."""
        while True:
            await asyncio.sleep(self._policy.every_s)
            await self.flush()

    async def flush(self) -> None:
        """Tell of all that was chosen until now; what cannot be told is dropped and counted."""
        with self._lock:
            chosen, self._waiting = list(self._waiting), deque()
        by_model: dict[str, list[_Chosen]] = {}
        for one in chosen:
            by_model.setdefault(one.model.digest, []).append(one)
        for some in by_model.values():
            count = sum(len(one.files) for one in some)
            try:
                await self._tell(some)
            except LooplineError as error:
                self.dropped += count
                log.warning("samples_not_told", images=count, reason=error.message)

    async def _tell(self, chosen: Sequence[_Chosen]) -> None:
        model = chosen[0].model
        images: dict[bytes, SampledImage] = {}
        for one in chosen:
            images |= await asyncio.to_thread(_messages, one)
        await self._objects.put_many(Area.ASSETS, list(images))
        told = list(images.values())
        for start in range(0, len(told), IMAGES_PER_EVENT):
            event = RequestsSampled(
                model=ArtefactRef(
                    kind=ArtefactKind.ARTEFACT_KIND_MODEL,
                    name=model.name,
                    version=model.version,
                    digest=model.digest,
                ),
                task=model.task,
                classes=model.classes,
                images=told[start : start + IMAGES_PER_EVENT],
                agent=self._agent,
                dropped=self.dropped,
            )
            await self._bus.send(catalog.REQUESTS_SAMPLED, event, model=model.name)


def _messages(chosen: _Chosen) -> dict[bytes, SampledImage]:
    assets = [sha256_hex(file) for file in chosen.files]
    found = predictions(assets, chosen.model, chosen.outputs, chosen.placements)
    return {
        file: SampledImage(
            asset=said.asset,
            media_type=read_header(file).media_type,
            size_bytes=len(file),
            width_px=place.image_width_px,
            height_px=place.image_height_px,
            shapes=map(shape_message, said.shapes),
            scores=said.scores,
        )
        for file, said, place in zip(chosen.files, found, chosen.placements, strict=True)
    }
