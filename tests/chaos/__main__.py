"""The fault tests at length: `python -m tests.chaos --seed 7 --minutes 20` (`make chaos`).

One undisturbed world, then one world after another until the time is over. Each draws from its own
seed which steps of which handlers kill, how fast accidents follow each other, and how many
processes each service has. The first that ends otherwise stops the run; its data folder and logs
stay, and its seed tells it again.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog

from loopline.contracts.catalog import SERVICES
from loopline.errors import LooplineError
from tests.chaos.killer import Accidents, Steps, every_step
from tests.chaos.receivers import webhook
from tests.chaos.world import ACK_WAIT_S, Told, World

PACES_S = ((0.05, 0.6), (0.2, 2.5), (1.0, 6.0))
PASSES = 3  # a handler publishes several times: what it made, and what follows from it
ARMED_SHARE = 0.15  # of all steps: accidents take some of a message's eight lives, too
DIFFERENCES_SHOWN = 20


def main() -> int:
    """Run until the time is over or a world differs; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of the first world; the next has +1")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--data", type=Path, help="where the worlds' folders go")
    arguments = parser.parse_args()
    root = arguments.data or Path(tempfile.mkdtemp(prefix="loopline-chaos-"))
    ends = time.monotonic() + arguments.minutes * 60
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with webhook() as url:
        reference = World(root / "undisturbed", url).tell()
        print(f"undisturbed: {_line(reference)}", flush=True)
        worlds = deaths = 0
        seed = arguments.seed
        while time.monotonic() < ends:
            folder = root / f"seed-{seed}"
            print(f"seed {seed}: ", end="", flush=True)
            try:
                told = _world(seed, folder, url).tell()
            except (LooplineError, AssertionError, TimeoutError) as error:
                print(f"{error!r}; see {folder}/logs")
                return 1
            print(_line(told), flush=True)
            if faults := _faults(told, reference):
                print("\n".join(faults[:DIFFERENCES_SHOWN]))
                print(f"{len(faults)} faults; see {folder}/logs")
                return 1
            shutil.rmtree(folder)
            worlds, deaths, seed = worlds + 1, deaths + sum(told.deaths.values()), seed + 1
    print(f"{worlds} worlds, {deaths} deaths: every one ended as the undisturbed one")
    shutil.rmtree(root)
    return 0


def _world(seed: int, folder: Path, url: str) -> World:
    chance = random.Random(seed)
    armed = tuple(step for step in every_step(PASSES) if chance.random() < ARMED_SHARE)
    return World(
        folder,
        url,
        steps=Steps(folder.with_name(f"{folder.name}-deaths"), armed),
        accidents=Accidents(
            seed,
            pause_s=chance.choice(PACES_S),
            deaths_max=chance.randint(1, 3),
            power_cuts=chance.randint(0, 1),
            stop_s=chance.choice((0.0, 2.5 * ACK_WAIT_S)),
        ),
        scale={service: chance.randint(1, 2) for service in SERVICES},
    )


def _faults(told: Told, reference: Told) -> list[str]:
    faults = told.outcome.differences(reference.outcome)
    faults += [f"verify: {problem}" for problem in told.proven.problems]
    faults += [f"fsck: {problem}" for problem in (*told.checked.missing, *told.checked.corrupt)]
    faults += [f"not in the graph: {commit}" for commit in told.graphed.absent]
    faults += [f"in the graph alone: {sequence}" for sequence in told.graphed.surplus]
    return faults


def _line(told: Told) -> str:
    who = ", ".join(f"{name} {count}" for name, count in sorted(told.deaths.items()))
    return (
        f"{told.seconds:.0f} s, {sum(told.deaths.values())} deaths ({who or 'nobody'}), "
        f"{len(told.fired)} at named steps, the client began {told.attempts}x"
    )


if __name__ == "__main__":
    sys.exit(main())
