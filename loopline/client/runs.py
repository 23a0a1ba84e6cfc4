"""`client.run` and `client.agent`: what runs, who runs it, and how it is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from loopline.client.session import ENDED, Session
from loopline.contracts import CancelRun, RunChanged, RunState, catalog
from loopline.errors import NotFound, Rejected
from loopline.runtime.agents import AgentState, known_agents
from loopline.runtime.cancellation import command_token

PREFIX_LENGTH_MIN = 4

AgentStates = list[AgentState]  # within the classes, `list` is the method
Reports = list[RunChanged]


class RunVerbs:
    """What can be done with runs. A run is named by its id, the beginning of it, or its command."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self, active: bool = False) -> Reports:
        """Return the last report of every run, newest first; `active` leaves out those ended."""
        subject = catalog.RUN_CHANGED.subject(self._session.settings.workspace)
        records = await self._session.events.last(subject)
        reports = [RunChanged.FromString(record.data) for record in reversed(records)]
        return [report for report in reports if not active or report.state not in ENDED]

    async def get(self, run: str) -> RunChanged:
        """Return a run's last report.

        Raises:
            NotFound: No run has this id or command, or none begins so.
            Rejected: Several begin so.
        """
        found = _named(await self.list(), run)
        if not found:
            raise NotFound(f"there is no run {run!r}", run=run)
        if len(found) > 1:
            raise Rejected(f"{len(found)} runs begin with {run!r}: give more of the id", run=run)
        return found[0]

    async def cancel(self, run: str, reason: str = "") -> str:
        """Ask for a run to be stopped; return its id, or "" for a command nobody has taken yet.

        A training leaves a checkpoint of that moment; asked for again, it goes on from there.

        Raises:
            Rejected: The run has ended.
        """
        found = _named(await self.list(), run)
        if len(found) > 1:
            raise Rejected(f"{len(found)} runs begin with {run!r}: give more of the id", run=run)
        if found and found[0].state in ENDED:
            state = RunState.Name(found[0].state).removeprefix("RUN_STATE_").lower()
            raise Rejected(f"run {found[0].run_id[:12]} is {state} already", run=run)
        run_id = found[0].run_id if found else ""
        message = CancelRun(
            run_id=run_id,
            command_id="" if run_id else run,
            actor=self._session.actor,
            reason=reason,
        )
        token = run_id or command_token(run)
        await self._session.bus.send(catalog.CANCEL_RUN, message, run_id=token)
        return run_id


class AgentVerbs:
    """What can be asked of agents: the workers that train and predict, on whatever machines."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> AgentStates:
        """Return every agent that has reported in the last 30 days, by name."""
        return await known_agents(self._session.events, self._session.settings.workspace)


def _named(reports: Sequence[RunChanged], run: str) -> Reports:
    exact = [report for report in reports if run in (report.run_id, report.command_id)]
    if exact or len(run) < PREFIX_LENGTH_MIN:
        return exact[:1]
    return [report for report in reports if report.run_id.startswith(run)]
