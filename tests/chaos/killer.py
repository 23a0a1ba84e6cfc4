"""Who kills: a step of every handler, or a seeded accident at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loopline.embedded.errors import NotReady
from loopline.embedded.platform import FORK_SERVER, Platform
from loopline.embedded.servers import NATS, WEED
from loopline.failpoints import STEPS
from loopline.runtime.service import Service

READY_TIMEOUT_S = 120.0
POWER = "power"  # a victim: everything at once
STOPPED_SHARE = 0.3


@dataclass(frozen=True)
class Steps:
    """Handlers die at named steps, once at each.

    Args:
        folder: Takes a marker for each death.
        armed: What kills, as "on_import_chunk/after_write"; all there are if empty.
    """

    folder: Path
    armed: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return what arms them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return {
            "LOOPLINE_FAILPOINTS": ",".join(self.armed or every_step()),
            "LOOPLINE_FAILPOINTS_DIR": str(self.folder),
        }

    def fired(self) -> set[str]:
        """Return what has killed, as "on_import_chunk/after_write"."""
        return {path.name.replace(".", "/") for path in self.folder.iterdir()}


@dataclass
class Accidents:
    """SIGKILL to services, the bus and storage at random moments.

    Args:
        seed: The same seed draws the same victims and pauses.
        pause_s: Shortest and longest time from one victim's return to the next death.
        deaths_max: Of each victim. A message may be delivered eight times, and no killer may use
            all of them up: where storage is down, work fails as well.
        power_cuts: How often everything dies at once.
        stop_s: How long a service that is stopped (SIGSTOP) instead of killed is kept so: its work
            is given to another meanwhile, and then it goes on. 0 stops none.
    """

    seed: int
    pause_s: tuple[float, float] = (0.2, 2.5)
    deaths_max: int = 3
    power_cuts: int = 0
    stop_s: float = 0.0

    async def rage(self, platform: Platform) -> None:
        """Kill until every victim has died often enough."""
        chance = random.Random(self.seed)
        services = [process.name for process in platform.options.processes()]
        left = Counter(dict.fromkeys((*services, NATS, WEED), self.deaths_max))
        left[POWER] = self.power_cuts
        while victims := sorted(+left):
            await asyncio.sleep(chance.uniform(*self.pause_s))
            victim = chance.choice(victims)
            if victim in services and self.stop_s and chance.random() < STOPPED_SHARE:
                await _stop(platform, victim, self.stop_s)
            elif victim == POWER:
                _cut_power(platform)
            elif not platform.kill(victim):
                continue
            left[victim] -= 1
            await _back(platform, *(left if victim == POWER else [victim]))


async def _stop(platform: Platform, victim: str, stop_s: float) -> None:
    platform.kill(victim, signal.SIGSTOP)
    try:
        await asyncio.sleep(stop_s)
    finally:
        platform.kill(victim, signal.SIGCONT)


def _cut_power(platform: Platform) -> None:
    """Kill everything at once: the services die with what they were forked from."""
    [forks] = [process.pid for process in platform.status() if process.name == FORK_SERVER]
    os.kill(forks, signal.SIGKILL)
    platform.kill(NATS)
    platform.kill(WEED)


async def _back(platform: Platform, *victims: str) -> None:
    try:
        await platform.wait_ready(READY_TIMEOUT_S, *(v for v in victims if v != POWER))
    except NotReady as error:
        raise AssertionError(f"{victims} did not come back: {error}") from error


def service_classes() -> tuple[type[Service], ...]:
    """Return the class of every service."""
    # Imported here: together they load OpenCV and onnxruntime, and most tests need neither.
    from services.annotate.service import Annotate
    from services.console.service import Console
    from services.inference.service import Inference
    from services.ingest.service import Ingest
    from services.lineage.service import Lineage
    from services.router.service import Router
    from services.trainer.service import Trainer

    return Annotate, Console, Inference, Ingest, Lineage, Router, Trainer


def handlers() -> list[str]:
    """Return the name of every handler of every service."""
    names = [name for each in service_classes() for name in (*each.works(), *each.reactions())]
    assert len(names) == len(set(names)), "a failpoint is named by its handler: names must differ"
    return sorted(names)


def every_step(passes: int = 1) -> list[str]:
    """Return every step of every handler, each for the first `passes` times it is passed."""
    numbers = ["", *(f"#{n}" for n in range(2, passes + 1))]
    return [f"{handler}/{step}{n}" for handler in handlers() for step in STEPS for n in numbers]
