"""`client.flow`: flows, validated before they are committed.

Generated from `loopline.client.flows` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

import builtins

from loopline.client import flows as _flows
from loopline.client.flows import FlowVersion
from loopline.client.portal import Portal


class FlowVerbs:
    """What can be done with flows."""

    def __init__(self, portal: Portal, client: _flows.FlowVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> builtins.list[FlowVersion]:
        """Return the head of every flow."""
        return self._portal.call(self._client.list())

    def get(self, version: str) -> FlowVersion:
        """Return one version of a flow (`catalogue@v3`; its head without version)."""
        return self._portal.call(self._client.get(version))

    def put(self, document: str) -> FlowVersion:
        """Commit a flow document (YAML) as the flow's next version.

        The same one again changes nothing.

        Raises:
            Rejected: A field is unknown, or a rule does not compile; the message names the place.
        """
        return self._portal.call(self._client.put(document))
