"""What every part of a flow document is: strict, frozen, without fields that nobody knows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a flow document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
