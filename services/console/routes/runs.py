"""Runs and agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from loopline.access import Scope
from services.console.bodies.base import AcceptedOut
from services.console.bodies.runs import (
    AgentsOut,
    LogOut,
    ProgressOut,
    ReasonIn,
    RunOut,
    RunsOut,
)
from services.console.routes.parameters import Cursor, Id, Limit, Text, Words
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.commands import Commands
    from services.console.adapters.runs import RunDesk

TAG = "runs"
State = Literal["", "active", "queued", "running", "completed", "failed", "cancelled"]


class RunRoutes:
    """What runs and what ran, and where."""

    def __init__(self, desk: RunDesk, commands: Commands) -> None:
        self._desk = desk
        self._commands = commands

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, one = registry.add, "/runs/{id}"
        add("GET", "/runs", self.get_runs, Scope.READ, tag=TAG)
        add("GET", one, self.get_run, Scope.READ, tag=TAG)
        add("GET", f"{one}/progress", self.get_progress, Scope.READ, tag=TAG)
        add("GET", f"{one}/log", self.get_log, Scope.OPERATE, tag=TAG)
        add("POST", f"{one}/cancel", self.post_cancel, Scope.OPERATE, tag=TAG, status=202)
        add("POST", f"{one}/rerun", self.post_rerun, Scope.OPERATE, tag=TAG, status=202)
        add("POST", f"{one}/reproduce", self.post_reproduce, Scope.OPERATE, tag=TAG, status=202)
        add("GET", "/agents", self.get_agents, Scope.READ, tag="agents")

    async def get_runs(
        self, kinds: Words = "", state: State = "", search: Text = "", command_id: Text = "",
        cursor: Cursor = "", limit: Limit = 100,
    ) -> RunsOut:  # fmt: skip
        """List runs; `active` are those queued or running, `command_id` the one a command began."""
        wanted = frozenset(word.strip() for word in kinds.split(",") if word.strip())
        return await self._desk.runs(wanted, state, search, command_id, cursor, limit)

    async def get_run(self, id: Id) -> RunOut:
        """Show one run."""
        return await self._desk.run(id)

    async def get_progress(self, id: Id) -> ProgressOut:
        """Tell how a run went, for its curves."""
        return await self._desk.progress(id)

    async def get_log(self, id: Id, limit: Limit = 500) -> LogOut:
        """Return the log lines that mention a run."""
        return await self._desk.log(id, limit)

    async def post_cancel(self, id: Id, body: ReasonIn, caller: Current) -> AcceptedOut:
        """Stop a run."""
        return await self._commands.cancel(id, body.reason, caller)

    async def post_rerun(self, id: Id, caller: Current) -> AcceptedOut:
        """Ask for a run's work once more; what was done already costs nothing."""
        return await self._commands.rerun(id, caller)

    async def post_reproduce(self, id: Id, caller: Current) -> AcceptedOut:
        """Train a model anew from its run's record, beside it, to compare the two."""
        return await self._commands.reproduce(id, caller)

    async def get_agents(self) -> AgentsOut:
        """List agents."""
        return await self._desk.agents()
