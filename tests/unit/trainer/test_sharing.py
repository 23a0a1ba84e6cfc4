"""Which agents share a training: pure decisions over what they say of themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.trainer.domain.team import (
    Call,
    Colleague,
    Joined,
    call_to_follow,
    can_meet,
    done,
    is_own,
    missed,
    roster,
    unreachable,
    waiting_for,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOOPBACK, LAN = "127.0.0.1", "10.0.0.5"
CALL = Call("t1", "run-1", nodes=3, pool="lab", since=NOON, address=LAN)
YOUNGER = replace(CALL, id="t2", since=NOON + timedelta(seconds=1))


def agent(name: str, host: str = "", **more: object) -> Colleague:
    return replace(Colleague(name, host or f"host-{name}", ("lab", name)), **more)  # type: ignore[arg-type]


def joined(name: str, team: str = "t1", **more: object) -> Colleague:
    return agent(name, joined=Joined(team, **more))  # type: ignore[arg-type]


def test_an_agent_that_is_free_follows_the_oldest_call_of_its_pool() -> None:
    others = [
        agent("c"),
        agent("a", leads=YOUNGER),
        agent("b", leads=CALL),
        agent("d", leads=replace(CALL, id="t0", pool="default", since=NOON - timedelta(days=1))),
    ]
    found = call_to_follow("c", "host-c", LAN, others)
    assert found is not None
    assert (found[0].name, found[1].id) == ("b", "t1")


@pytest.mark.parametrize(
    "leader",
    [
        pytest.param(agent("b"), id="leads nothing"),
        pytest.param(agent("b", leads=CALL, is_there=False), id="is gone"),
        pytest.param(agent("b", leads=replace(CALL, members=("b", "a"))), id="is complete"),
        pytest.param(agent("b", leads=replace(CALL, address=LOOPBACK)), id="is not reached"),
        pytest.param(agent("c", leads=CALL), id="is the agent itself"),
    ],
)
def test_a_call_that_cannot_be_followed_is_left_alone(leader: Colleague) -> None:
    assert call_to_follow("c", "host-c", LAN, [agent("c"), leader]) is None


def test_of_two_that_wait_the_younger_joins_the_older_and_never_the_other_way_round() -> None:
    both = [agent("a", leads=CALL), agent("b", leads=YOUNGER)]
    found = call_to_follow("b", "host-b", LAN, both, own=YOUNGER)
    assert found is not None
    assert found[1] == CALL
    assert call_to_follow("a", "host-a", LAN, both, own=CALL) is None


@pytest.mark.parametrize(
    ("host", "address", "leading_host", "leading_address", "expected"),
    [
        pytest.param("x", LOOPBACK, "x", "localhost", True, id="one machine"),
        pytest.param("x", LOOPBACK, "y", LOOPBACK, False, id="two machines without addresses"),
        pytest.param("x", LOOPBACK, "x", LAN, False, id="others of the team may be elsewhere"),
        pytest.param("x", LAN, "y", LOOPBACK, False, id="a leader that nobody reaches"),
        pytest.param("x", "gpu-2.lab", "y", LAN, True, id="two machines"),
    ],
)
def test_agents_meet_where_each_reaches_the_other(
    host: str, address: str, leading_host: str, leading_address: str, expected: bool
) -> None:
    call = replace(CALL, address=leading_address)
    assert can_meet(host, address, leading_host, call) is expected
    assert is_own(LOOPBACK)
    assert not is_own(LAN)


def test_members_are_chosen_once_there_are_enough_and_the_leader_is_first() -> None:
    few = [
        agent("z", leads=CALL),
        joined("b"),
        joined("c", "another team"),
        joined("d", failure="no"),
    ]
    assert roster("z", CALL, few) is None
    assert roster("z", CALL, [*few, joined("a"), joined("e")]) == ("z", "a", "b")
    assert roster("z", CALL, [*few, replace(joined("a"), is_there=False)]) is None


def test_what_is_waited_for_is_said_with_who_is_here_and_who_refused() -> None:
    others = [
        agent("z", is_busy=True, leads=CALL),
        replace(joined("b"), is_busy=True),
        joined("c", failure="its disk is full"),
        agent("d", is_busy=True),
    ]
    assert waiting_for("z", CALL, others) == (
        "3 agents of pool 'lab' are needed; here: z, b; busy elsewhere: 1; c: its disk is full"
    )
    alone = waiting_for("z", replace(CALL, address=LOOPBACK), others)
    assert "on z's machine alone" in alone


def test_an_agent_without_an_address_cannot_lead_those_of_other_machines() -> None:
    call = replace(CALL, nodes=2, address=LOOPBACK)
    here, there = agent("a", "x"), agent("b", "y")
    assert "a cannot lead a training of 2 agents" in unreachable("a", call, [here, there])
    assert not unreachable("a", replace(call, address=LAN), [here, there])
    assert not unreachable("a", call, [here, agent("b", "x")])
    assert not unreachable("a", call, [here]), "others may come"


@pytest.mark.parametrize(
    ("other", "name"),
    [
        pytest.param(joined("b"), None, id="takes part"),
        pytest.param(joined("b", is_done=True), None, id="is done"),
        pytest.param(joined("b", failure="a fault"), "b", id="failed"),
        pytest.param(joined("b", "another team"), "b", id="went elsewhere"),
        pytest.param(replace(joined("b"), is_there=False), "b", id="is gone"),
        pytest.param(agent("c"), "b", id="was never heard of"),
    ],
)
def test_who_takes_part_no_more_is_missed(other: Colleague, name: str | None) -> None:
    call = replace(CALL, nodes=2, members=("a", "b"))
    found = missed("a", call, [agent("a"), other], ready=())
    assert (found.name if found else None) == name


def test_who_has_done_its_part_may_go() -> None:
    call = replace(CALL, nodes=2, members=("a", "b"))
    ready = done(call, [agent("a"), joined("b", is_done=True)])
    assert ready == {"b"}
    assert missed("a", call, [agent("a"), agent("b", is_there=False)], ready) is None
