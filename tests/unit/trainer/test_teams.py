"""Leading a training that agents share, over in-memory twins: calls, choices, and who is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from loopline.contracts import (
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Membership,
    Run,
    RunKind,
    Team,
)
from loopline.errors import LooplineError, Rejected, Transient
from loopline.runtime.agents import AgentReporter, Description
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.logstore import LogStore
from loopline.testing.memory import MemoryBus, memory_service
from services.trainer import teams
from services.trainer.adapters.colleagues import colleagues
from services.trainer.adapters.messages import InitialWeights, Training
from services.trainer.adapters.process import TrainingProcess
from services.trainer.domain.ending import Separated
from services.trainer.domain.job import Described
from services.trainer.domain.team import Colleague
from services.trainer.memberships import Memberships
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings
from services.trainer.teams import Teams
from services.trainer.watch import watch
from services.trainer.workbench import Workbench

TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.trainer.teams.POLL_S", 0.005)
    monkeypatch.setattr("services.trainer.watch.POLL_S", 0.005)


@dataclass
class Agent:
    """An agent that reports, and what it waited for."""

    service: Trainer
    reporter: AgentReporter
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    waited: list[str] = field(default_factory=list)

    @property
    def process(self) -> TrainingProcess:
        """Its part of a training, of which only the end matters here."""
        return cast("TrainingProcess", self)

    def kill(self) -> None:
        """End its part of the training."""
        self.killed.set()

    async def waits(self, reason: str) -> None:
        """Hear what is waited for."""
        self.waited.append(reason)

    def teams(self, join: teams.Join | None = None) -> Teams:
        """Return what it leads with; without `join` it is never asked to join others."""

        async def nobody(team: Team, leader: str) -> None:
            raise AssertionError(f"asked to join {leader}")

        return Teams(self.service, self.service.settings, join or nobody)

    def say(self, team: str = "", **more: Any) -> None:
        """Report a part in a training."""
        self.service.occupation.join(Membership(team=team, **more) if team else None)

    async def call(self) -> Team:
        """Return what it leads, once it does."""
        async with asyncio.timeout(TIMEOUT_S):
            while (team := self.service.occupation.leads) is None:
                await asyncio.sleep(0.001)
        return team


@dataclass
class Lab:
    """Agents of one workspace."""

    bus: MemoryBus
    folder: Path
    agents: dict[str, Agent] = field(default_factory=dict)

    def agent(self, name: str, **more: Any) -> Agent:
        """Return an agent that has begun to report."""
        settings = TrainerSettings(agent=name, data_dir=self.folder / name, **more)
        service = memory_service(Trainer, settings, self.bus, MemoryBlobs())
        description = Description(service.agent, {}, ("default", name), (), 1, self.folder)
        reporter = AgentReporter(service.bus, service.clock, description, service.occupation)
        reporter.start()
        self.agents[name] = Agent(service, reporter)
        return self.agents[name]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    here = Lab(MemoryBus(), tmp_path)
    yield here
    for agent in here.agents.values():
        await agent.reporter.stop()


def training(run_id: str = "run-1") -> Training:
    dataset = DatasetCommitted(commit=Commit(artefact=ArtefactRef(name="shop", version=1)))
    described = Described(parameters={"nodes": 2}, task="classification", code_digest="c")
    run = Run(id=run_id, kind=RunKind.RUN_KIND_TRAIN)
    committed = Committed(dataset, "subject", 1)
    return Training("products", "tiny", committed, described, run, InitialWeights(""))


async def led(agent: Agent, block: asyncio.Event | None = None, **more: Any) -> tuple[str, ...]:
    """Lead a training to the end of `block`; return who shared it."""
    work = training(**more)
    async with agent.teams().led(work, agent.process, 1, agent.waits) as place:
        assert (place.rank, place.nodes) == (0, 2)
        if block is not None:
            await block.wait()
    return tuple(name for name, _ in place.members)


async def failed(work: Any) -> LooplineError:
    with pytest.raises(LooplineError) as found:
        await work
    return found.value


async def test_who_joins_is_chosen_and_the_call_ends_with_the_training(lab: Lab) -> None:
    one, two = lab.agent("one"), lab.agent("two")
    leading = asyncio.create_task(led(one))
    two.say((await one.call()).id)
    assert await leading == ("one", "two")
    assert one.service.occupation.leads is None


async def test_a_training_that_finds_too_few_agents_says_so_and_is_given_up(lab: Lab) -> None:
    one = lab.agent("one", team_wait_s=0.1)
    error = await failed(led(one))
    assert type(error) is Rejected
    assert "2 agents of pool 'default' are needed" in error.message
    assert one.waited == [error.message.partition(" s: ")[2]]
    assert one.service.occupation.leads is None


async def test_of_two_that_wait_for_each_other_the_younger_joins_the_older(lab: Lab) -> None:
    one, two = lab.agent("one"), lab.agent("two")
    over = asyncio.Event()
    first = asyncio.create_task(led(one, over))
    called = await one.call()

    async def join(team: Team, leader: str) -> None:
        assert (team.id, leader) == (called.id, "one")
        two.say(team.id)
        assert await first == ("one", "two")
        two.say()

    async def second() -> None:
        work = two.teams(join).led(training("run-2"), two.process, 1, two.waits)
        async with asyncio.timeout(TIMEOUT_S), work as place:
            assert [name for name, _ in place.members] == ["two", "one"]

    waiting = asyncio.create_task(second())
    async with asyncio.timeout(TIMEOUT_S):
        while two.service.occupation.joined is None:
            await asyncio.sleep(0.001)
    over.set()
    await first
    one.say((await two.call()).id)  # it is free again
    await waiting


async def test_an_agent_that_is_gone_ends_the_training_for_now(lab: Lab) -> None:
    one, two = lab.agent("one"), lab.agent("two")

    async def work() -> None:
        async with one.teams().led(training(), one.process, 1, one.waits):
            two.say()
            await one.killed.wait()
            raise Rejected("training was killed (SIGKILL)")

    working = asyncio.create_task(work())
    two.say((await one.call()).id)
    error = await failed(working)
    assert type(error) is Transient
    assert error.message == f"agent two is gone; {teams.GOES_ON}"


@pytest.mark.parametrize(
    ("is_final", "kind"),
    [
        pytest.param(True, Rejected, id="would happen again"),
        pytest.param(False, Transient, id="may have more luck"),
    ],
)
async def test_why_the_part_of_another_failed_is_the_reason(
    lab: Lab, is_final: bool, kind: type[LooplineError]
) -> None:
    one, two = lab.agent("one"), lab.agent("two")

    async def work(team: asyncio.Future[str]) -> None:
        async with one.teams().led(training(), one.process, 1, one.waits):
            two.say(await team, failure="an image is lost", is_final=is_final)
            raise Separated("the connection was closed")

    team = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work(team))
    two.say((called := await one.call()).id)
    team.set_result(called.id)
    error = await failed(working)
    assert type(error) is kind
    assert error.message == "agent two: an image is lost"


async def test_a_separation_that_nobody_explains_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.trainer.teams.LAST_WORDS_S", 0.05)
    one, two = lab.agent("one"), lab.agent("two")

    async def work() -> None:
        async with one.teams().led(training(), one.process, 1, one.waits):
            raise Separated("the connection was closed")

    working = asyncio.create_task(work())
    two.say((await one.call()).id)
    error = await failed(working)
    assert type(error) is Transient
    assert error.message == f"the connection was closed; {teams.GOES_ON}"


async def test_a_look_that_fails_is_told_and_another_one_follows() -> None:
    looks = iter([ValueError("a fault of ours"), None, Rejected("it cannot go on")])

    async def ask() -> LooplineError | None:
        found = next(looks)
        if isinstance(found, ValueError):
            raise found
        return found

    with capture_logs() as logs:
        assert (await failed(watch(ask))).message == "it cannot go on"
    assert [line["event"] for line in logs] == ["watch_failed"]


async def test_who_has_done_its_part_may_leave_while_the_first_finishes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = lab.agent("one"), lab.agent("two")
    looks = 0

    async def looked(events: LogStore, workspace: str) -> dict[str, tuple[Colleague, Team]]:
        nonlocal looks
        looks += 1
        return await colleagues(events, workspace)

    async def seen() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            before = looks
            while looks < before + 2:
                await asyncio.sleep(0.001)

    monkeypatch.setattr(teams, "colleagues", looked)
    over = asyncio.Event()
    leading = asyncio.create_task(led(one, over))
    called = await one.call()
    two.say(called.id)
    async with asyncio.timeout(TIMEOUT_S):
        while not called.members:
            await asyncio.sleep(0.001)
    two.say(called.id, is_done=True)
    await two.reporter.stop()  # which is its last report
    await seen()
    two.say()
    await two.service.bus.announce(two.reporter.report(leaving=True))
    await seen()
    over.set()
    assert await leading == ("one", "two")
    assert not one.killed.is_set()


class OtherSource:
    """A workbench whose recipes are of another source."""

    @asynccontextmanager
    async def process(self, attempt: int) -> AsyncIterator[OtherSource]:
        """Return what describes recipes."""
        assert attempt == 1
        yield self

    async def describe(self, recipe: str, parameters: dict[str, Any]) -> Described:
        """Describe another recipe of that name."""
        return Described(parameters=parameters, task="classification", code_digest="another")


async def test_an_agent_with_another_source_refuses_and_says_so(lab: Lab) -> None:
    one, two = lab.agent("one", team_wait_s=0.5), lab.agent("two")
    leading = asyncio.create_task(failed(led(one)))
    called = await one.call()
    bench = cast("Workbench", OtherSource())
    memberships = Memberships(two.service, two.service.settings, bench)
    await memberships.join(called, "one")
    said = two.service.occupation.joined
    assert said is not None
    assert (said.team, said.is_final) == (called.id, True)
    assert "the source of recipe 'tiny' is another here, and c where it is led" in said.failure
    assert said.failure in (await leading).message
    two.say()
    await memberships.join(called, "one")  # which it does not try again at once
    assert two.service.occupation.joined is None
