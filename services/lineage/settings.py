"""What lineage is told; nothing else of it reads the environment."""

from __future__ import annotations

from pydantic import Field

from loopline.runtime.settings import ServiceSettings


class LineageSettings(ServiceSettings):
    """Settings of lineage, from `LOOPLINE_*` variables."""

    graph_nodes_max: int = Field(default=10_000, ge=1)
    """The most nodes one answer may hold, whatever `limit` asks for."""
    changes_streams_max: int = Field(default=200, ge=1)
    """Readers of `/v1/changes` at once; more are told to come back."""
    keepalive_s: float = Field(default=15.0, gt=0)
    """A silent stream of changes says something this often, so that nothing between closes it."""
