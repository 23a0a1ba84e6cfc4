"""trainer over a real bus and real object storage, as the processes that users run."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from loopline.contracts import CancelRun, RunChanged, RunState, catalog
from loopline.runtime.agents import known_agents
from loopline.store.objects import Area
from loopline.testing.products import products
from loopline.testing.servers import PlatformServers
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


async def test_a_training_whose_machine_dies_goes_on_elsewhere_and_makes_the_same_model(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue = products(24, 16, CLASSES)
    calm = Workspace(platform_servers, s3_bucket, tmp_path / "calm")
    async with calm.user(monkeypatch) as user, calm.machine("one"):
        await prepare(user, catalogue)
        await ask(user)
        undisturbed = await trained(user)

    stormy = Workspace(platform_servers, s3_bucket, tmp_path / "stormy")
    async with (
        stormy.user(monkeypatch) as user,
        stormy.machine("one") as one,
        stormy.machine("two") as two,
    ):
        await prepare(user, catalogue)
        await until(lambda: occupied(user, "one", "two"))
        await ask(user)
        run_id = undisturbed.commit.run.id  # equal work, equal id: in any workspace

        async def stored() -> RunChanged | None:
            report = await progress(user, run_id)
            return report if report is not None and report.training.checkpoints else None

        report = await until(stored)
        agents = {"one": one, "two": two}
        victim, survivor = report.agent.id, *({"one", "two"} - {report.agent.id})
        running = await occupied(user, "one", "two")
        assert running == {victim: [run_id], survivor: []}
        agents[victim].send_signal(signal.SIGKILL)
        await agents[victim].wait()
        died = time.monotonic()

        async def taken_up() -> bool:
            running = await occupied(user)
            return running is not None and running[survivor] == [run_id]

        await until(taken_up)
        assert time.monotonic() - died < 30
        resumed = await trained(user)
        states = {s.name: s for s in await known_agents(user.events, user.bus.workspace)}
        now = states[victim].heard_at + timedelta(seconds=31)
        assert states[victim].state(now) == "gone"

    assert resumed.commit.run.id == run_id
    assert resumed.commit.run.agent.id == survivor
    assert resumed.commit.run.figures["resumed_at_step"] > 0
    assert undisturbed.commit.run.figures["resumed_at_step"] == 0
    assert resumed.ref.digest == undisturbed.ref.digest
    assert [e.metrics for e in resumed.message.evaluations] == [
        e.metrics for e in undisturbed.message.evaluations
    ]
    assert list(resumed.message.files) == list(undisturbed.message.files)


async def test_a_command_sent_to_an_agent_by_name_goes_to_no_other_and_can_be_cancelled(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Workspace(platform_servers, s3_bucket, tmp_path)
    async with here.user(monkeypatch) as user, here.machine("one"), here.machine("two"):
        await prepare(user, products(24, 16, CLASSES))
        await until(lambda: occupied(user, "one", "two"))
        await ask(user, pool="two", epochs=200)

        async def busy() -> list[str] | None:
            running = await occupied(user)
            return running["two"] if running is not None else None

        [run_id] = await until(busy)

        async def under_way() -> RunChanged | None:
            report = await progress(user, run_id)
            return report if report is not None and report.training.step else None

        await until(under_way)
        began = time.monotonic()
        message = CancelRun(run_id=run_id, reason="enough")
        await user.bus.send(catalog.CANCEL_RUN, message, run_id=run_id)

        async def ended() -> RunChanged | None:
            report = await progress(user, run_id)
            cancelled = RunState.RUN_STATE_CANCELLED
            return report if report is not None and report.state == cancelled else None

        report = await until(ended)
        assert time.monotonic() - began < 5
        assert report.message == "cancelled: enough"
        [checkpoint, *_] = report.training.checkpoints
        await user.objects.get(Area.CHECKPOINTS, checkpoint.digest)
        durable = catalog.TRAIN_MODEL.durable_name("trainer", user.bus.workspace, "two")
        assert user.client is not None
        stream = user.client.jetstream()

        async def settled() -> bool:
            consumer = await stream.consumer_info("WORK", durable)
            return (consumer.num_ack_pending, consumer.num_pending) == (0, 0)

        await until(settled)  # it does not come again
