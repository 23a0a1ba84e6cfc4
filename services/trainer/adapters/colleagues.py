"""The agents of the workspace, as a training that several of them share needs to know them."""

from __future__ import annotations

from datetime import UTC

from loopline.contracts import AgentReported, Membership, Team
from loopline.runtime.agents import known_agents
from loopline.store.logstore import LogStore
from services.trainer.adapters.messages import SERVICE
from services.trainer.domain.team import Call, Colleague, Joined


async def colleagues(events: LogStore, workspace: str) -> dict[str, tuple[Colleague, Team]]:
    """Return every trainer that has reported, by name, and what it leads in full.

    Who has said nothing for too long is not there. The time is the bus's own: that of the last
    report of any agent, of which who asks is one. Clocks of machines differ.

    Args:
        events: The stream EVENTS.
        workspace: Whose agents.

    Raises:
        Transient: The bus does not answer.
    """
    states = await known_agents(events, workspace)
    now = max((state.heard_at for state in states), default=None)
    return {
        state.name: (
            _colleague(state.reported, now is not None and state.state(now) != "gone"),
            state.reported.leads,
        )
        for state in states
        if state.reported.kind == SERVICE
    }


def call_of(team: Team) -> Call:
    """Return what the others decide by."""
    return Call(
        id=team.id,
        run_id=team.run_id,
        nodes=team.nodes,
        pool=team.pool,
        since=team.since.ToDatetime(UTC),
        address=team.rendezvous.rpartition(":")[0],
        members=tuple(member.id for member in team.members),
    )


def _colleague(reported: AgentReported, is_there: bool) -> Colleague:
    return Colleague(
        name=reported.agent.id,
        host=reported.agent.host,
        pools=tuple(reported.pools),
        is_there=is_there,
        is_busy=bool(reported.running),
        leads=call_of(reported.leads) if reported.HasField("leads") else None,
        joined=_joined(reported.joined) if reported.HasField("joined") else None,
    )


def _joined(membership: Membership) -> Joined:
    return Joined(membership.team, membership.is_done, membership.failure, membership.is_final)
