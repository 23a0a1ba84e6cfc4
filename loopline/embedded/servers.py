"""nats-server and SeaweedFS as the platform configures them, and the admin step on them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

import nats as nats_client
from minio import Minio

from loopline.embedded import agents
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.files import write_private_json
from loopline.embedded.identities import (
    ADMIN,
    API,
    CUSTOMER,
    EXTERNAL,
    UPLOADS,
    USER,
    Credentials,
    nats_users,
    s3_identities,
    uploads_bucket,
)
from loopline.embedded.layout import DataFolder
from loopline.embedded.nats import NatsServer, write_error
from loopline.embedded.objects import weed
from loopline.embedded.options import BUCKET, PlatformOptions
from loopline.embedded.probes import get
from loopline.embedded.processes import Spawner
from loopline.embedded.supervisor import Trouble, Unit

NATS = "nats"
WEED = "weed"
CONNECT_TIMEOUT_S = 5
WEED_STOP_S = 15.0
RESUME_BYTES_MIN = 64 * 1024**2  # free on a disk that was full, before the bus is started again


@dataclass(frozen=True)
class Servers:
    """The two servers of a platform, with everybody's secrets."""

    options: PlatformOptions
    folder: DataFolder
    ports: Mapping[str, int]
    credentials: Credentials

    @property
    def nats(self) -> NatsServer:
        """The bus."""
        options = self.options
        return NatsServer(
            folder=self.folder.nats,
            ports=self.ports,
            users=(
                *nats_users(self.credentials, options.workspace, options.pools, options.agents()),
                *(agent.nats_user(options.workspace) for agent in agents.known(self.folder)),
            ),
            # The port makes the name this platform's own: readiness is of the process started here.
            name=f"loopline-{self.ports['nats']}",
        )

    @property
    def weed(self) -> weed.WeedServer:
        """Object storage."""
        options = self.options
        return weed.WeedServer(
            folder=self.folder.weed,
            ports=self.ports,
            identities=(
                *s3_identities(
                    self.credentials, BUCKET, options.workspace, options.customer_buckets
                ),
                *(a.s3_identity(BUCKET, options.workspace) for a in agents.known(self.folder)),
            ),
        )

    def units(self, spawner: Spawner) -> tuple[Unit, Unit]:
        """Return both as units to supervise."""
        nats, storage = self.nats, self.weed
        probe = self._admin_s3()

        async def nats_ready() -> bool:
            return await asyncio.to_thread(nats.is_ready)

        async def weed_ready() -> bool:
            return await asyncio.to_thread(weed.is_writable, probe, BUCKET)

        return (
            Unit(NATS, nats.prepare, spawner, nats_ready, nats.url, trouble=self._nats_trouble),
            Unit(
                WEED,
                storage.prepare,
                spawner,
                weed_ready,
                storage.endpoint,
                WEED_STOP_S,
                self._weed_trouble,
            ),
        )

    async def administer(self) -> None:
        """Make streams, durable consumers and buckets what they should be."""
        await asyncio.gather(self._declare(), asyncio.to_thread(self._make_buckets))

    def endpoints(self) -> Endpoints:
        """Return the servers' part of the endpoints."""
        user, external = self.credentials[USER], self.credentials[EXTERNAL]
        customer = self.credentials[CUSTOMER]
        buckets = self.options.customer_buckets
        return Endpoints(
            workspace=self.options.workspace,
            nats_url=self.nats.url,
            nats_monitor_url=self.nats.monitor_url,
            nats_user=USER,
            nats_password=user.password,
            external_nats_user=EXTERNAL,
            external_nats_password=external.password,
            s3_endpoint=self.weed.endpoint,
            s3_bucket=BUCKET,
            s3_access_key=user.access_key,
            s3_secret_key=user.secret_key,
            api_token=self.options.api_token or self.credentials[API].password,
            customer_buckets=buckets,
            customer_access_key=customer.access_key if buckets else "",
            customer_secret_key=customer.secret_key if buckets else "",
            connection=CUSTOMER if buckets else "",
        )

    def write_connections(self) -> None:
        """Put our own connections into the file that people put theirs into."""
        path = self.folder.connections
        connections = json.loads(path.read_text()) if path.exists() else {}
        own = self.credentials[UPLOADS]
        uploads = {
            "endpoint": self.weed.endpoint,
            "access_key": own.access_key,
            "secret_key": own.secret_key,
            "secure": False,
        }
        connections[UPLOADS] = uploads
        write_private_json(self.folder.uploads, {UPLOADS: uploads})
        if self.options.customer_buckets:
            customer = self.credentials[CUSTOMER]
            connections[CUSTOMER] = {
                "endpoint": self.weed.endpoint,
                "access_key": customer.access_key,
                "secret_key": customer.secret_key,
                "secure": False,
            }
        write_private_json(path, connections)

    async def _nats_trouble(self) -> Trouble | None:
        """A full disk: the bus refuses writes, and goes on doing so after there is space."""
        _, health = await get(self.nats.host, self.ports["nats_monitor"], "/healthz")
        reason = write_error(health)
        if not reason:
            return None
        free_bytes = shutil.disk_usage(self.folder.root).free
        return Trouble(reason, restart=free_bytes >= RESUME_BYTES_MIN)

    async def _weed_trouble(self) -> Trouble | None:
        """Somebody cleaned /tmp: its parts no longer reach each other."""
        missing = [path for path in weed.sockets(self.ports, weed.WRITING) if not path.exists()]
        if not missing:
            return None
        return Trouble(f"{missing[0]} was removed while in use", restart=True)

    async def _declare(self) -> None:
        # Imported when needed: `loopline status` and the tests' servers do without.
        from loopline.runtime.admin import declare

        remote = agents.known(self.folder)
        client = await nats_client.connect(
            self.nats.url,
            user=ADMIN,
            password=self.credentials[ADMIN].password,
            connect_timeout=CONNECT_TIMEOUT_S,
        )
        try:
            await declare(
                client.jetstream(),
                self.options.workspace,
                pools=tuple({*self.options.pools, *(a.pool for a in remote)}),
                agents=(*self.options.agents(), *(a.name for a in remote)),
                ack_wait_s=self.options.ack_wait_s,
            )
        finally:
            await client.close()

    def _make_buckets(self) -> None:
        buckets = (BUCKET, uploads_bucket(BUCKET), *self.options.customer_buckets)
        weed.ensure_buckets(self._admin_s3(), buckets)

    def _admin_s3(self) -> Minio:
        admin = self.credentials[ADMIN]
        return weed.client(self.weed.endpoint, admin.access_key, admin.secret_key)
