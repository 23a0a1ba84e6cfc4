"""Agents on other machines: a bus user and a storage identity of their own, taken back one by one.

A file of credentials is all that a machine needs to take commands. It may do what a trainer may and
no more: take commands of its pool and sent to its name, read images and trees, write models,
checkpoints and reports.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats.errors
import psutil
from nats.aio.client import Client

from loopline.contracts.catalog import DEFAULT_POOL
from loopline.contracts.permissions import permissions
from loopline.embedded import status
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.errors import PlatformError
from loopline.embedded.files import write_private, write_private_json
from loopline.embedded.identities import ADMIN, S3_GRANTS, Credentials, Secret
from loopline.embedded.layout import DataFolder
from loopline.embedded.nats import NatsUser, greeting
from loopline.embedded.objects.weed import S3Identity, identities_config
from loopline.names import validate_name
from loopline.runtime.admin import declare

SERVICE = "trainer"
RELOAD_S = 10.0
"""Within this time the servers know a new agent."""


@dataclass(frozen=True)
class RemoteAgent:
    """An agent that was given credentials.

    Attributes:
        name: Its name, to which commands can be sent.
        pool: Whose commands it takes beside.
        secret: For the bus and for storage.
    """

    name: str
    pool: str
    secret: Secret

    @property
    def user(self) -> str:
        """Its user on the bus and in storage."""
        return f"agent-{self.name}"

    def nats_user(self, workspace: str) -> NatsUser:
        """Return it as a user of the bus."""
        allowed = permissions(SERVICE, (self.pool,), workspace, (self.name,))
        return NatsUser(self.user, self.secret.password, allowed.publish, allowed.subscribe)

    def s3_identity(self, bucket: str, workspace: str) -> S3Identity:
        """Return it as an identity of storage."""
        actions = S3_GRANTS[SERVICE].actions(bucket, workspace)
        return S3Identity(self.user, self.secret.access_key, self.secret.secret_key, actions)


def known(folder: DataFolder) -> tuple[RemoteAgent, ...]:
    """Return the agents that were given credentials."""
    if not folder.agents.exists():
        return ()
    stored: dict[str, Any] = json.loads(folder.agents.read_text())
    return tuple(
        RemoteAgent(name, told["pool"], Secret(**told["secret"])) for name, told in stored.items()
    )


def admit(
    data_dir: Path,
    name: str,
    pool: str = DEFAULT_POOL,
    labels: Mapping[str, str] | None = None,
    *,
    nats_url: str = "",
    s3_endpoint: str = "",
) -> dict[str, str]:
    """Let an agent in, and return what it must be told: `LOOPLINE_*` variables.

    An agent of that name keeps its secrets. A platform that runs knows it within `RELOAD_S`.

    Args:
        data_dir: The platform's.
        name: The agent's.
        pool: Whose commands it takes.
        labels: What it is chosen by.
        nats_url: Where it reaches the bus; as this machine does if empty.
        s3_endpoint: Where it reaches storage.

    Raises:
        PlatformError: No platform was started on this folder.
    """
    validate_name("agent", name)
    validate_name("pool", pool)
    folder, endpoints = DataFolder(data_dir), Endpoints.load(data_dir)
    others = {agent.name: agent for agent in known(folder)}
    secret = others[name].secret if name in others else Secret.generate()
    agent = RemoteAgent(name, pool, secret)
    _store(folder, others | {name: agent})
    _reload(folder, endpoints)
    asyncio.run(_declare(folder, endpoints, agent))
    return {
        "LOOPLINE_AGENT": name,
        "LOOPLINE_POOL": pool,
        "LOOPLINE_LABELS": ",".join(f"{key}={value}" for key, value in (labels or {}).items()),
        "LOOPLINE_WORKSPACE": endpoints.workspace,
        "LOOPLINE_NATS_URL": nats_url or endpoints.nats_url,
        "LOOPLINE_NATS_USER": agent.user,
        "LOOPLINE_NATS_PASSWORD": secret.password,
        "LOOPLINE_S3_ENDPOINT": s3_endpoint or endpoints.s3_endpoint,
        "LOOPLINE_S3_BUCKET": endpoints.s3_bucket,
        "LOOPLINE_S3_ACCESS_KEY": secret.access_key,
        "LOOPLINE_S3_SECRET_KEY": secret.secret_key,
    }


def dismiss(data_dir: Path, name: str) -> None:
    """Take an agent's credentials back; PlatformError if it has none."""
    folder, endpoints = DataFolder(data_dir), Endpoints.load(data_dir)
    agents = {agent.name: agent for agent in known(folder)}
    if agents.pop(name, None) is None:
        raise PlatformError(f"there is no agent {name!r} with credentials", agent=name)
    _store(folder, agents)
    _reload(folder, endpoints)


def write_file(path: Path, told: Mapping[str, str]) -> None:
    """Write credentials for their reader alone: NAME=VALUE lines."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in told.items()))


def read_file(path: Path) -> dict[str, str]:
    """Return what `write_file` wrote.

    Raises:
        PlatformError: The file is not there, or none of credentials.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"the credentials {path} cannot be read: {error}") from error
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    told = {name: value for name, equals, value in pairs if equals}
    if not {"LOOPLINE_AGENT", "LOOPLINE_NATS_URL", "LOOPLINE_NATS_PASSWORD"} <= told.keys():
        raise PlatformError(f"{path} holds no credentials of an agent")
    return told


def _store(folder: DataFolder, agents: Mapping[str, RemoteAgent]) -> None:
    stored = {
        agent.name: {"pool": agent.pool, "secret": asdict(agent.secret)}
        for agent in agents.values()
    }
    write_private_json(folder.agents, stored)


def _reload(folder: DataFolder, endpoints: Endpoints) -> None:
    """Have servers that run read who may come; ones that do not will as they start."""
    agents = known(folder)
    bus, storage = folder.nats / "nats.conf", folder.weed / "config" / "s3.json"
    pids = {process.name: process.pid for process in status.load(folder)}
    if bus.exists():
        config = json.loads(bus.read_text())
        users = [u for u in config["authorization"]["users"] if not u["user"].startswith("agent-")]
        users += [agent.nats_user(endpoints.workspace).config() for agent in agents]
        write_private_json(bus, config | {"authorization": {"users": users}})
        _hang_up(pids.get("nats", 0))
    if storage.exists():
        config = json.loads(storage.read_text())
        kept = [i for i in config["identities"] if not i["name"].startswith("agent-")]
        ours = [agent.s3_identity(endpoints.s3_bucket, endpoints.workspace) for agent in agents]
        # Storage that reads its identities again forgets none: those that are gone may do nothing.
        gone = {i["name"] for i in config["identities"]} - {i["name"] for i in kept}
        for name in gone - {identity.name for identity in ours}:
            nobody = Secret.generate()
            ours.append(S3Identity(name, nobody.access_key, nobody.secret_key, ()))
        identities = [*kept, *identities_config(ours)["identities"]]
        write_private_json(storage, config | {"identities": identities})
        _hang_up(pids.get("weed", 0))


def _hang_up(pid: int) -> None:
    """Tell a server to read its configuration again."""
    if pid and psutil.pid_exists(pid):
        psutil.Process(pid).send_signal(signal.SIGHUP)


async def _declare(folder: DataFolder, endpoints: Endpoints, agent: RemoteAgent) -> None:
    """Make the queues of the agent's pool and name, if the bus runs; it is declared anew else."""
    bus = urlsplit(endpoints.nats_url)
    if not greeting(bus.hostname or "", bus.port or 0):
        return
    admin = Credentials.load_or_generate(folder.credentials)[ADMIN]
    async with asyncio.timeout(RELOAD_S):
        while (client := await _admitted(endpoints.nats_url, admin.password)) is None:
            await asyncio.sleep(0.1)
    try:
        await declare(
            client.jetstream(),
            endpoints.workspace,
            pools=(DEFAULT_POOL, agent.pool),
            agents=(agent.name,),
        )
    finally:
        await client.close()


async def _admitted(nats_url: str, password: str) -> Client | None:
    """Connect as the administrator; None while the bus takes users over and refuses everybody."""
    client = Client()
    try:
        await client.connect(nats_url, user=ADMIN, password=password, allow_reconnect=False)
    except (nats.errors.Error, ConnectionError):  # it hangs up, with or without a word
        if client._transport is not None:  # a refused client leaves its socket open
            client._transport.close()  # type: ignore[no-untyped-call]
        return None
    return client
