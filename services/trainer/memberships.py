"""Taking part in trainings that other agents lead, whenever this one is free."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from loopline.contracts import Membership, Run, Team
from loopline.errors import LooplineError, Rejected, Transient
from loopline.runtime.processing import describe
from loopline.runtime.service import Service
from loopline.store import runs
from services.trainer.adapters.colleagues import colleagues
from services.trainer.adapters.messages import InitialWeights, Training
from services.trainer.adapters.process import TrainingProcess, beside
from services.trainer.domain import team as teams
from services.trainer.domain.ending import Separated
from services.trainer.domain.job import Followed
from services.trainer.domain.team import Colleague
from services.trainer.settings import TrainerSettings
from services.trainer.teams import place_of
from services.trainer.watch import watch
from services.trainer.workbench import Workbench

POLL_S: Final = 1.0
"""How often an agent that is free looks for a training to join: one direct get."""
POLL_PER_AGENT_S: Final = 0.02
"""Where there are many agents each looks less often: all of them read all reports."""
CHOSEN_POLL_S: Final = 0.5
"""How often one that has joined looks whether it was chosen."""
AGAIN_S: Final = 10.0
"""How long a training whose call could not be followed is left alone."""
NO_WEIGHTS: Final = InitialWeights("")
"""Who leads has them, and sends what training begins with."""

log = structlog.get_logger()


class Memberships:
    """Takes part in the trainings of others.

    Args:
        service: Whose bus and log are used.
        settings: Its settings.
        bench: What a training needs on this machine.
    """

    def __init__(self, service: Service, settings: TrainerSettings, bench: Workbench) -> None:
        self._service = service
        self._settings = settings
        self._bench = bench
        self._left = ("", 0.0)  # the team that could not be joined last, and until when it is left

    async def follow(self, occupied: asyncio.Lock) -> None:
        """Join whoever calls, for ever, while this agent does nothing else.

        Args:
            occupied: Held by whatever trains here.
        """
        while True:
            pause_s = POLL_S
            try:
                known = {} if occupied.locked() else await self._known()
                pause_s = max(POLL_S, POLL_PER_AGENT_S * len(known))
                found = self._call(known)
                if found is not None and not occupied.locked():
                    async with occupied:
                        await self.join(*found)
            except LooplineError as error:
                log.warning("agents_unknown", reason=error.message)
            except Exception:  # of ours: an agent that joins nobody any more would not be noticed
                log.exception("following_failed")
            await asyncio.sleep(pause_s)

    async def join(self, team: Team, leader: str) -> None:
        """Take part in a training until it ends; how that goes is said in this agent's report."""
        if self._left[0] == team.id and time.monotonic() < self._left[1]:
            return
        service, title = self._service, f"{team.title}, led by {leader}"
        with service.occupation.doing(team.run_id, team.kind, title):
            said: Membership | None = None
            try:
                if await self._take_part(team, leader):
                    self._bench.folders.remove(team.run_id)
                    said = Membership(team=team.id, is_done=True)
            except Separated as error:  # whose reason is known elsewhere
                log.info("team_ended", run_id=team.run_id, reason=error.message)
            except LooplineError as error:
                is_final = isinstance(error, Rejected)
                said = Membership(team=team.id, failure=describe(error), is_final=is_final)
                self._left = (team.id, time.monotonic() + AGAIN_S)
                log.warning("team_left", run_id=team.run_id, reason=error.message)
            finally:
                service.occupation.join(said)

    def _call(self, known: dict[str, tuple[Colleague, Team]]) -> tuple[Team, str] | None:
        """Return the training that this agent is to join, if there is one, and who leads it."""
        agent, others = self._service.agent, [one for one, _ in known.values()]
        address = self._settings.advertise_host
        found = teams.call_to_follow(agent.id, agent.host, address, others)
        return (known[found[0].name][1], found[0].name) if found else None

    async def _take_part(self, team: Team, leader: str) -> bool:
        """Join, and train if this agent is chosen; return whether it was, and did its part."""
        async with self._bench.process(team.attempt) as process:
            training = await self._training(team, process)
            self._service.occupation.join(Membership(team=team.id))
            chosen = await self._chosen(team, leader)
            if chosen is None:
                return False
            names = [member.id for member in chosen.members]
            rank = names.index(self._service.agent.id)
            place = place_of(chosen, rank, self._settings.advertise_host)
            async with (
                self._bench.supplied(training, process) as job,
                beside(process, watch(lambda: self._abandoned(team, leader)), "watch over a team"),
            ):
                async for report in process.train(job.model_copy(update={"place": place})):
                    if isinstance(report, Followed):
                        return True
        raise Transient("training ended without a word")

    async def _training(self, team: Team, process: TrainingProcess) -> Training:
        """Return the training as its leader describes it; Rejected if it would not be the same."""
        described = await process.describe(team.recipe, runs.plain(team.parameters))
        if described.code_digest != team.code_digest:
            raise Rejected(
                f"the source of recipe {team.recipe!r} is {described.code_digest[:12]} here, and "
                f"{team.code_digest[:12]} where it is led"
            )
        dataset = await self._bench.datasets.version(team.dataset)
        run = Run(id=team.run_id, kind=team.kind)
        return Training(team.model, team.recipe, dataset, described, run, NO_WEIGHTS)

    async def _chosen(self, team: Team, leader: str) -> Team | None:
        """Wait until the members are chosen; None if this agent is none of them."""
        while True:
            called = await self._led(team, leader)
            if called is None:
                return None
            if called.members:
                names = [member.id for member in called.members]
                return called if self._service.agent.id in names else None
            await asyncio.sleep(CHOSEN_POLL_S)

    async def _abandoned(self, team: Team, leader: str) -> LooplineError | None:
        try:
            is_led = await self._led(team, leader) is not None
        except Transient:  # a bus that is away must not end the work
            return None
        return None if is_led else Separated(f"{leader} leads this training no more")

    async def _led(self, team: Team, leader: str) -> Team | None:
        """Return the training as its leader describes it now; None if that leads it no more."""
        found = (await self._known()).get(leader)
        if found is None or not found[0].is_there or found[1].id != team.id:
            return None
        return found[1]

    async def _known(self) -> dict[str, tuple[Colleague, Team]]:
        return await colleagues(self._service.events, self._service.bus.workspace)
