"""What the router is told; nothing else of it reads the environment."""

from __future__ import annotations

from pydantic import Field

from loopline.runtime.settings import ServiceSettings


class RouterSettings(ServiceSettings):
    """Settings of the router, from `LOOPLINE_*` variables."""

    delivery_writes: int = Field(default=16, ge=1)
    """Objects written to customers' buckets at once, over all runs of this process."""
