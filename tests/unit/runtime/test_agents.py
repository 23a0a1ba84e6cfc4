"""What agents say of themselves, and how it is read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from loopline.contracts import Agent, AgentReported, Device, RunKind, catalog
from loopline.contracts.catalog import Stream
from loopline.runtime.agents import AgentReporter, Description, Occupation, known_agents
from loopline.runtime.bus import Bus
from loopline.runtime.settings import ServiceSettings
from loopline.store.runs import agent_name
from loopline.testing.memory import ManualClock, MemoryBus


class Office:
    """An agent over in-memory twins."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus()
        self.occupation = Occupation(self.clock)
        self.reporter = AgentReporter(
            Bus(self.bus, "default", source="test", clock=self.clock),
            self.clock,
            Description(
                agent=Agent(id="trainer-lab", host="lab", service="trainer"),
                labels={"pool": "lab", "gpu": "h100"},
                pools=("lab", "trainer-lab"),
                devices=[Device(kind="cpu", name="a CPU", cores=2)],
                capacity=1,
                folder=folder,
            ),
            self.occupation,
        )

    def reports(self) -> list[AgentReported]:
        return self.bus.sent(catalog.AGENT_REPORTED)

    async def reported(self, count: int) -> list[AgentReported]:
        async with asyncio.timeout(5):
            while len(self.reports()) < count:
                await asyncio.sleep(0)
        return self.reports()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


async def test_an_agent_says_at_once_what_it_begins_and_ends(office: Office) -> None:
    office.reporter.start()
    await office.reported(1)
    with office.occupation.doing("run-1", RunKind.RUN_KIND_TRAIN, "helmets on sites@v3"):
        await office.reported(2)
    first, second, third = await office.reported(3)
    await office.reporter.stop()
    assert [len(report.running) for report in (first, second, third)] == [0, 1, 0]
    assert (second.running[0].run_id, second.running[0].title) == ("run-1", "helmets on sites@v3")
    assert dict(second.labels) == {"pool": "lab", "gpu": "h100"}
    assert second.load["disk_free_bytes"] > 0


async def test_an_agent_is_idle_busy_and_gone_after_thirty_seconds(office: Office) -> None:
    events = office.bus.streams[str(Stream.EVENTS)]
    with office.occupation.doing("run-1", RunKind.RUN_KIND_TRAIN, "a run"):
        office.reporter.start()
        await office.reported(1)
        [state] = await known_agents(events, "default")
    now = state.heard_at  # by the bus's clock
    assert state.state(now) == "busy"
    assert state.state(now + timedelta(seconds=29)) == "busy"
    assert state.state(now + timedelta(seconds=31)) == "gone"
    assert (state.takes("lab"), state.takes("trainer-lab"), state.takes("default")) == (
        True,
        True,
        False,
    )
    await office.reporter.stop()


async def test_an_agent_that_leaves_is_gone_at_once(office: Office) -> None:
    office.reporter.start()
    await office.reported(1)
    await office.reporter.stop()
    [state] = await known_agents(office.bus.streams[str(Stream.EVENTS)], "default")
    assert state.state(office.clock.now()) == "gone"


def test_labels_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPLINE_LABELS", "gpu=h100, site=lab")
    assert ServiceSettings().labels == {"gpu": "h100", "site": "lab"}


@pytest.mark.parametrize("host", ["GPU-1.lab.example", "x" * 100, "büro"])
def test_an_agent_without_a_name_is_called_by_service_and_machine(host: str) -> None:
    name = agent_name("trainer", host)
    assert ServiceSettings(agent=name).agent == name
    assert name.startswith("trainer-")
