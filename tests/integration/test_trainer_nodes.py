"""A training that several agents share, each a process as users run it, over a real bus."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from loopline.contracts import CancelRun, ModelCommitted, RunChanged, RunState, catalog
from loopline.runtime.agents import known_agents
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.testing.products import products
from loopline.testing.servers import PlatformServers
from services.trainer.service import Trainer
from tests.integration.trainer_machines import (
    Workspace,
    ask,
    occupied,
    prepare,
    progress,
    trained,
    until,
)
from tests.unit.trainer.workshop import CLASSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARED: Any = {"nodes": 2, "batch_size": 12}
EPOCHS = 10
"""Two are killed, each after a checkpoint of its own."""
ACK_WAIT_S = 8.0
"""How soon a killed agent's command is taken up here; `test_trainer_service` has the catalog's."""


def weights(model: Committed[ModelCommitted]) -> str:
    return next(f.digest for f in model.message.files if f.name == "weights.safetensors")


def members(model: Committed[ModelCommitted]) -> list[str]:
    return [member.id for member in model.commit.run.members]


def furthest(report: RunChanged) -> int:
    """Return the step of the furthest checkpoint in storage; 0 if there is none."""
    return max((checkpoint.step for checkpoint in report.training.checkpoints), default=0)


async def leading(user: Trainer) -> tuple[str, str] | None:
    """Return the run that somebody leads, and who."""
    for state in await known_agents(user.events, user.bus.workspace):
        if state.reported.HasField("leads"):
            return state.reported.leads.run_id, state.name
    return None


def reported(
    user: Trainer, run_id: str, holds: Callable[[RunChanged], bool]
) -> Callable[[], Awaitable[RunChanged | None]]:
    """Return what asks for the run's last report, once that is so."""

    async def found() -> RunChanged | None:
        report = await progress(user, run_id)
        return report if report is not None and holds(report) else None

    return found


async def test_agents_share_a_training_and_whoever_is_killed_is_replaced(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Workspace(platform_servers, s3_bucket, tmp_path, ACK_WAIT_S)
    async with here.user(monkeypatch) as user, here.machine("one") as one:
        await prepare(user, products(24, 16, CLASSES))
        await ask(user, model="alone", epochs=EPOCHS, processes=2, batch_size=12)
        alone = await trained(user, "alone")
        assert members(alone) == []

        await ask(user, epochs=EPOCHS, **SHARED)
        run_id, leader = await until(lambda: leading(user))
        assert leader == "one"
        waiting = await until(
            reported(user, run_id, lambda r: r.state == RunState.RUN_STATE_QUEUED)
        )
        assert waiting.message.startswith("2 agents of pool 'default' are needed")
        assert waiting.message.endswith("here: one; busy elsewhere: 0")

        async with here.machine("two") as two:
            await until(reported(user, run_id, lambda r: furthest(r) > 0))
            running = await occupied(user, "one", "two")
            assert running == {"one": [run_id], "two": [run_id]}
            two.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            # Who leads knows at once: the connection is gone.
            ended = await until(
                reported(user, run_id, lambda r: r.state == RunState.RUN_STATE_QUEUED)
            )
            assert time.monotonic() - killed < 30
            assert furthest(ended) > 0
        async with here.machine("three"):
            second = await until(reported(user, run_id, lambda r: furthest(r) > furthest(ended)))
            running = await occupied(user, "one", "three")
            assert running is not None
            assert (running["one"], running["three"]) == ([run_id], [run_id])
            assert one.returncode is None
            one.send_signal(signal.SIGKILL)  # which led: the command is taken up by another one
            async with here.machine("two"):
                shared = await trained(user)

    run = shared.commit.run
    assert (run.id, run.agent.id) == (run_id, members(shared)[0])
    assert sorted(members(shared)) == ["three", "two"]
    assert runs.plain(run.parameters)["nodes"] == 2
    assert run.figures["resumed_at_step"] >= furthest(second)
    # Two machines with a process each, killed and resumed, and one machine with two processes.
    assert weights(shared) == weights(alone)
    assert [e.metrics for e in shared.message.evaluations] == [
        e.metrics for e in alone.message.evaluations
    ]


async def test_a_shared_training_that_is_cancelled_stops_on_every_agent(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Workspace(platform_servers, s3_bucket, tmp_path)
    async with here.user(monkeypatch) as user, here.machine("one"), here.machine("two"):
        await prepare(user, products(24, 16, CLASSES))
        await until(lambda: occupied(user, "one", "two"))
        await ask(user, epochs=200, **SHARED)
        run_id, _ = await until(lambda: leading(user))
        await until(reported(user, run_id, lambda r: r.training.step > 0))
        began = time.monotonic()
        message = CancelRun(run_id=run_id, reason="enough")
        await user.bus.send(catalog.CANCEL_RUN, message, run_id=run_id)

        async def nobody() -> bool:
            return await occupied(user) == {"one": [], "two": []}

        await until(nobody)
        assert time.monotonic() - began < 5
        report = await until(
            reported(user, run_id, lambda r: r.state == RunState.RUN_STATE_CANCELLED)
        )
        assert report.training.checkpoints
