"""What all bodies have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from loopline.names import NAME_PATTERN

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$", description="A name: a-z, 0-9, - and _.")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="sha256, 64 hex digits.")]


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class In(BaseModel):
    """A request's body; fields that are not known are refused by name."""

    model_config = ConfigDict(extra="forbid")


class ErrorOut(Out):
    """Why a request was not answered."""

    error: str
    """One sentence for people."""


class PersonOut(Out):
    """Who asked for something."""

    kind: str
    """"user", "flow", "service" or "external"."""
    name: str


class WorkerOut(Out):
    """Which worker did something."""

    id: str
    host: str
    service: str


class RefOut(Out):
    """Names one version of something."""

    kind: str
    name: str
    version: int
    digest: str
    node: str
    """Its node in the workflow graph; "" if it has none."""
    label: str
    """For people: "catalogue v3"."""


class AcceptedOut(Out):
    """A command is stored; what becomes of it is told by a run with this `command_id`."""

    command_id: str
