"""Which agents share a training: who joins whom, who is chosen, who is missed.

An agent that has taken a run's command leads it. Agents know of each other by their reports alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

LOCAL = "localhost"


@dataclass(frozen=True, slots=True)
class Joined:
    """An agent's part in a training that another one leads.

    Attributes:
        team: Which.
        is_done: Whether its part is done.
        failure: Why it does not take part any more; empty if it does.
        is_final: Whether that would happen again.
    """

    team: str
    is_done: bool = False
    failure: str = ""
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """What an agent says of the training that it leads.

    Attributes:
        id: Of this attempt.
        run_id: The run.
        nodes: How many agents it needs, the one that leads included.
        pool: Whose agents.
        since: Since when it waits.
        address: Where its processes meet, without the port.
        members: Who takes part, by rank; empty while it waits for enough of them.
    """

    id: str
    run_id: str
    nodes: int
    pool: str
    since: datetime
    address: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Colleague:
    """An agent as the others see it.

    Attributes:
        name: Its name.
        host: Its machine's name.
        pools: Whose commands it takes.
        is_there: Whether it has said something lately.
        is_busy: Whether it does something.
        leads: The training that it leads, if others share that.
        joined: Its last part in a training that another one leads.
    """

    name: str
    host: str
    pools: tuple[str, ...]
    is_there: bool = True
    is_busy: bool = False
    leads: Call | None = None
    joined: Joined | None = None

    def takes_part(self, team: str) -> bool:
        """Tell whether it is there and has a part in a training, done or not."""
        joined = self.joined
        return self.is_there and joined is not None and joined.team == team and not joined.failure


def is_own(address: str) -> bool:
    """Tell whether only this machine's own processes reach an address.

    Example:
        >>> is_own("127.0.0.1"), is_own("localhost"), is_own("10.0.0.5"), is_own("gpu-1.lab")
        (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == LOCAL


def call_to_follow(
    name: str,
    host: str,
    address: str,
    colleagues: Iterable[Colleague],
    own: Call | None = None,
) -> tuple[Colleague, Call] | None:
    """Return the training that an agent is to join, and who leads it; None if there is none.

    Of several the oldest. An agent that waits for others itself joins only one that has waited
    longer, so that two never wait for each other.

    Args:
        name: The agent's.
        host: Its machine's.
        address: Where others reach it.
        colleagues: All agents.
        own: What it waits with itself.
    """
    pools = {pool for one in colleagues if one.name == name for pool in one.pools}
    waiting = [
        (call.since, call.id, one, call)
        for one in colleagues
        if one.is_there and one.name != name and (call := one.leads) is not None
        if not call.members and call.pool in pools and can_meet(host, address, one.host, call)
    ]
    first = min(waiting, default=None, key=lambda found: found[:2])
    if first is None or (own is not None and (own.since, own.id) < first[:2]):
        return None
    return first[2], first[3]


def can_meet(host: str, address: str, leading_host: str, call: Call) -> bool:
    """Tell whether an agent's processes reach those of a training, and are reached by them."""
    if is_own(address) or is_own(call.address):
        return is_own(address) and is_own(call.address) and host == leading_host
    return True


def roster(leader: str, call: Call, colleagues: Iterable[Colleague]) -> tuple[str, ...] | None:
    """Return who takes part, by rank; None while there are too few."""
    found = sorted(one.name for one in colleagues if one.takes_part(call.id) and one.name != leader)
    if len(found) < call.nodes - 1:
        return None
    return (leader, *found[: call.nodes - 1])


def unreachable(leader: str, call: Call, colleagues: Sequence[Colleague]) -> str:
    """Return why an agent cannot lead a training that others of its pool could share, or ""."""
    there = [one for one in colleagues if one.is_there and call.pool in one.pools]
    hosts = {one.host for one in there if one.name == leader}
    beside = sum(one.host in hosts for one in there)
    if not is_own(call.address) or beside >= call.nodes or len(there) < call.nodes:
        return ""
    return (
        f"{leader} cannot lead a training of {call.nodes} agents: {len(there) - beside} of them "
        f"are on other machines, which do not reach {call.address} (LOOPLINE_ADVERTISE_HOST)"
    )


def waiting_for(leader: str, call: Call, colleagues: Sequence[Colleague]) -> str:
    """Return what a training waits for, for people."""
    joined = [one for one in colleagues if one.takes_part(call.id) and one.name != leader]
    here = ", ".join([leader, *sorted(one.name for one in joined)])
    busy = sum(
        one.is_there and one.is_busy and call.pool in one.pools and one.name != leader
        for one in colleagues
        if one not in joined
    )
    refused = "".join(
        f"; {one.name}: {one.joined.failure}"
        for one in colleagues
        if one.joined is not None and one.joined.team == call.id and one.joined.failure
    )
    only = f", on {leader}'s machine alone" if is_own(call.address) else ""
    return (
        f"{call.nodes} agents of pool {call.pool!r} are needed{only}; here: {here}; "
        f"busy elsewhere: {busy}{refused}"
    )


def done(call: Call, colleagues: Iterable[Colleague]) -> set[str]:
    """Return the agents whose part in a training is done."""
    return {
        one.name
        for one in colleagues
        if one.joined is not None and one.joined.team == call.id and one.joined.is_done
    }


def missed(
    leader: str, call: Call, colleagues: Iterable[Colleague], ready: Iterable[str]
) -> Colleague | None:
    """Return who of a training's agents takes part no more; None if all do.

    Args:
        leader: Who asks.
        call: The training, its members chosen.
        colleagues: All agents.
        ready: Those whose part was done before: they may do as they like.
    """
    by_name = {one.name: one for one in colleagues}
    for name in sorted({*call.members} - {leader, *ready}):
        one = by_name.get(name, Colleague(name, "", (), is_there=False))
        if not one.takes_part(call.id):
            return one
    return None
