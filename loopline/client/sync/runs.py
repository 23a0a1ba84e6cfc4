"""`client.run` and `client.agent`: what runs, who runs it, and how it is stopped.

Generated from `loopline.client.runs` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from loopline.client import runs as _runs
from loopline.client.portal import Portal
from loopline.client.runs import AgentStates, Reports
from loopline.contracts import RunChanged


class RunVerbs:
    """What can be done with runs. A run is named by its id, the beginning of it, or its command."""

    def __init__(self, portal: Portal, client: _runs.RunVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self, active: bool = False) -> Reports:
        """Return the last report of every run, newest first; `active` leaves out those ended."""
        return self._portal.call(self._client.list(active))

    def get(self, run: str) -> RunChanged:
        """Return a run's last report.

        Raises:
            NotFound: No run has this id or command, or none begins so.
            Rejected: Several begin so.
        """
        return self._portal.call(self._client.get(run))

    def cancel(self, run: str, reason: str = "") -> str:
        """Ask for a run to be stopped; return its id, or "" for a command nobody has taken yet.

        A training leaves a checkpoint of that moment; asked for again, it goes on from there.

        Raises:
            Rejected: The run has ended.
        """
        return self._portal.call(self._client.cancel(run, reason))


class AgentVerbs:
    """What can be asked of agents: the workers that train and predict, on whatever machines."""

    def __init__(self, portal: Portal, client: _runs.AgentVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> AgentStates:
        """Return every agent that has reported in the last 30 days, by name."""
        return self._portal.call(self._client.list())
