"""Runs: the key that makes equal work equal, and the record of what it ran on."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from loopline import __version__
from loopline.clock import Clock, SystemClock
from loopline.contracts import Actor, Agent, ArtefactRef, Environment, Run, RunKind
from loopline.digests import digest_of
from loopline.store.commits import timestamp

NAME_LENGTH_MAX = 63


def run_key(
    kind: RunKind, inputs: Sequence[ArtefactRef], parameters: Mapping[str, Any], code_digest: str
) -> str:
    """Return the key of a piece of work: equal inputs, parameters and code give equal keys.

    Inputs count by kind, name, digest and role; version numbers and order don't.
    """
    return digest_of(
        {
            "kind": RunKind.Name(kind),
            "inputs": sorted([ref.kind, ref.name, ref.digest, ref.role] for ref in inputs),
            "parameters": plain(parameters),
            "code": code_digest,
        }
    )


def new_run(
    kind: RunKind,
    *,
    inputs: Sequence[ArtefactRef] = (),
    parameters: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
    agent: Agent | None = None,
    environment: Environment | None = None,
    clock: Clock | None = None,
    trace_id: str = "",
    on_behalf_of: Sequence[ArtefactRef] = (),
) -> Run:
    """Return a run that begins now; its id is its key.

    `on_behalf_of` is why it runs (a flow): recorded among the inputs, but no part of the key, since
    what is made does not depend on it.
    """
    environment = environment or Environment()
    parameters = parameters or {}
    run = Run(
        id=run_key(kind, inputs, parameters, environment.code_digest),
        kind=kind,
        inputs=[*inputs, *on_behalf_of],
        environment=environment,
        actor=actor,
        agent=agent,
        started_at=timestamp(clock or SystemClock()),
        trace_id=trace_id,
    )
    run.parameters.update(plain(parameters))
    return run


def plain(value: Any) -> Any:  # JSON in, JSON out
    """Return parameters as JSON values, whole floats as integers.

    As a protobuf Struct would lose them.
    """
    if isinstance(value, Struct):
        value = json_format.MessageToDict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@lru_cache
def packages_digest() -> str:
    """Return the sha256 over the sorted "name==version" list of the installed packages."""
    return digest_of(sorted({f"{d.name}=={d.version}" for d in importlib.metadata.distributions()}))


def environment(code: str, device: str = "cpu") -> Environment:
    """Return what this process runs on."""
    return Environment(
        loopline=__version__,
        code_digest=code,
        packages_digest=packages_digest(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()}-{platform.release()}-{platform.machine()}",
        device=device,
    )


def this_agent(service: str, name: str = "") -> Agent:
    """Return this process's worker; without a name it is called by its service and machine."""
    host = socket.gethostname()
    return Agent(id=name or agent_name(service, host), host=host, service=service)


def agent_name(service: str, host: str) -> str:
    """Return the name of a worker that was given none; it is a name as any other.

    Example:
        >>> agent_name("trainer", "GPU-1.lab.example")
        'trainer-gpu-1-lab-example'
    """
    return re.sub(r"[^a-z0-9_-]+", "-", f"{service}-{host}".lower())[:NAME_LENGTH_MAX]
