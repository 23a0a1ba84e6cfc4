"""Leading a training that several agents share: they are called, chosen, and watched.

The call is in this agent's own report; who is free sees it there, joins, and says so in its own.
Nothing else is sent, and nothing is left behind: who dies takes its part with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from loopline.contracts import Agent, Team
from loopline.errors import LooplineError, Rejected, Transient
from loopline.runtime.service import Service
from loopline.store.commits import timestamp
from services.trainer.adapters.colleagues import call_of, colleagues
from services.trainer.adapters.messages import Training
from services.trainer.adapters.process import TrainingProcess, beside
from services.trainer.domain import team as teams
from services.trainer.domain.ending import Separated
from services.trainer.domain.job import ALONE, Place
from services.trainer.domain.team import Call, Colleague
from services.trainer.settings import TrainerSettings
from services.trainer.watch import watch

POLL_S: Final = 0.5
"""How often the others' reports are looked up while agents are waited for: one direct get."""
LAST_WORDS_S: Final = 3.0
"""How long it may take an agent to say why its part of a training failed."""
GOES_ON: Final = "it goes on from its last checkpoint with whoever is there"

log = structlog.get_logger()
Join = Callable[[Team, str], Awaitable[None]]
"""Takes part in the training that the named agent leads."""


class Teams:
    """Finds agents for the trainings that this one leads.

    Args:
        service: Whose bus is used.
        settings: Its settings.
        join: Takes part in a training that has waited longer than the one that waits here.
    """

    def __init__(self, service: Service, settings: TrainerSettings, join: Join) -> None:
        self._service = service
        self._settings = settings
        self._join = join

    @contextlib.asynccontextmanager
    async def led(
        self,
        training: Training,
        process: TrainingProcess,
        attempt: int,
        waits: Callable[[str], Awaitable[None]],
    ) -> AsyncIterator[Place]:
        """Yield this agent's place in a training once enough agents share it.

        Within the block they are watched: who is gone ends the process.

        Args:
            training: What they share.
            process: This agent's part of it.
            attempt: Which delivery of the command this is, from 1.
            waits: Told what is waited for.

        Raises:
            Rejected: There were too few for too long, this agent cannot lead, or one of the others
                cannot do its part.
            Transient: One is gone; the next attempt goes on with whoever is there.
        """
        if int(training.described.parameters["nodes"]) == 1:
            yield ALONE
            return
        team = self._called(training, attempt)
        try:
            await self._gathered(team, waits)
            log.info("team_complete", run_id=team.run_id, agents=[m.id for m in team.members])
            ready: set[str] = set()
            watching = watch(lambda: self._missed(team, ready))
            async with beside(process, watching, "watch over a team"):
                yield place_of(team, 0, self._settings.advertise_host)
        except Separated as error:
            raise await self._reason(team, error) from error
        finally:
            self._service.occupation.lead(None)

    def _called(self, training: Training, attempt: int) -> Team:
        """Return the call: all that another agent needs to take part."""
        settings, described = self._settings, training.described
        port = settings.rendezvous_port or _free_port()
        team = Team(
            id=secrets.token_hex(8),
            run_id=training.run.id,
            kind=training.run.kind,
            title=training.title,
            attempt=attempt,
            nodes=int(described.parameters["nodes"]),
            since=timestamp(self._service.clock),
            pool=settings.pool,
            rendezvous=f"{settings.advertise_host}:{port}",
            recipe=training.recipe,
            code_digest=described.code_digest,
            dataset=training.dataset.ref,
            model=training.model,
        )
        team.parameters.update(described.parameters)
        return team

    async def _gathered(self, team: Team, waits: Callable[[str], Awaitable[None]]) -> None:
        """Wait until enough agents have joined, and choose them."""
        service, leader = self._service, self._service.agent.id
        call, told, began_s = call_of(team), "", service.clock.monotonic_s()
        service.occupation.lead(team)
        while True:
            known = await self._known()
            others = [one for one, _ in known.values()]
            if chosen := teams.roster(leader, call, others):
                hosts = {one.name: one.host for one in others} | {leader: service.agent.host}
                team.members.extend(Agent(id=name, host=hosts[name]) for name in chosen)
                service.occupation.lead(team)
                return
            if reason := teams.unreachable(leader, call, others):
                raise Rejected(reason)
            reason = teams.waiting_for(leader, call, others)
            waited_s = service.clock.monotonic_s() - began_s
            if waited_s >= self._settings.team_wait_s:
                raise Rejected(f"given up after {waited_s:.0f} s: {reason}")
            if reason != told:
                await waits(reason)
                told = reason
            if await self._helped(team, others, known):
                began_s, told = service.clock.monotonic_s(), ""
            await asyncio.sleep(POLL_S)

    async def _helped(
        self,
        team: Team,
        others: list[Colleague],
        known: dict[str, tuple[Colleague, Team]],
    ) -> bool:
        """Take part in a training that has waited longer, if there is one; tell whether."""
        service, address = self._service, self._settings.advertise_host
        agent = service.agent
        found = teams.call_to_follow(agent.id, agent.host, address, others, call_of(team))
        if found is None:
            return False
        leader, _ = found
        service.occupation.lead(None)
        await self._join(known[leader.name][1], leader.name)
        service.occupation.lead(team)
        return True

    async def _missed(self, team: Team, ready: set[str]) -> LooplineError | None:
        """Return what is wrong with one of the others, if something is.

        Args:
            team: The training.
            ready: Whose part is done; who is found to be is added.
        """
        others = [one for one, _ in (await self._known()).values()]
        call = call_of(team)
        ready |= teams.done(call, others)
        one = teams.missed(self._service.agent.id, call, others, ready) if others else None
        if one is None:
            return None
        return _told(call, one) or Transient(f"agent {one.name} is gone; {GOES_ON}")

    async def _reason(self, team: Team, error: Separated) -> LooplineError:
        """Return why one of the others does not answer, if it says so in time."""
        call = call_of(team)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while True:
                    for one, _ in (await self._known()).values():
                        if (told := _told(call, one)) is not None:
                            return told
                    await asyncio.sleep(POLL_S)
        return Transient(f"{error.message}; {GOES_ON}")

    async def _known(self) -> dict[str, tuple[Colleague, Team]]:
        try:
            return await colleagues(self._service.events, self._service.bus.workspace)
        except Transient as error:  # a bus that is away must not end the work
            log.warning("agents_unknown", reason=error.message)
            return {}


def place_of(team: Team, rank: int, address: str) -> Place:
    """Return an agent's place in a training whose members are chosen."""
    return Place(
        rank=rank,
        members=tuple((member.id, member.host) for member in team.members),
        team=team.id,
        rendezvous=team.rendezvous,
        address=address,
    )


def _told(call: Call, one: Colleague) -> LooplineError | None:
    """Return what an agent says of why its part failed; None if it says nothing."""
    joined = one.joined
    if one.name not in call.members or joined is None or joined.team != call.id:
        return None
    if not joined.failure:
        return None
    kind = Rejected if joined.is_final else Transient
    return kind(f"agent {one.name}: {joined.failure}")


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("", 0))
        return int(asking.getsockname()[1])
