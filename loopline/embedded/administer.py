"""The admin step on servers that run elsewhere: `python -m loopline.embedded.administer`.

Makes streams, durable consumers and both buckets what they should be, and ends; run it before the
services start, and after each upgrade. `loopline up` does the same by itself.
"""

from __future__ import annotations

import asyncio

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from pydantic import Field

from loopline.embedded.identities import uploads_bucket
from loopline.embedded.objects import weed
from loopline.runtime.admin import declare
from loopline.runtime.settings import ServiceSettings

DECLARE_ATTEMPTS = 8
ANSWER_TIMEOUT_S = 10
CONNECT_ATTEMPTS = 60  # one a second, while the servers start


class AdminSettings(ServiceSettings):
    """What the admin step is told, from `LOOPLINE_*` variables."""

    pools: tuple[str, ...] = ("default",)
    """Pools that commands may be sent to."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Copies of every stream; 3 on a cluster of three."""


async def administer(settings: AdminSettings) -> None:
    """Make everything what it should be."""
    client = await nats.connect(
        settings.nats_url.split(","),
        user=settings.nats_user or None,
        password=settings.nats_password.get_secret_value() or None,
        max_reconnect_attempts=CONNECT_ATTEMPTS,
        reconnect_time_wait=1,
    )
    try:
        await _declare(client, settings)
    finally:
        await client.close()
    s3 = weed.client(
        settings.s3_endpoint,
        settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
        secure=settings.s3_secure,
        retries=5,
    )
    buckets = [settings.s3_bucket, uploads_bucket(settings.s3_bucket)]
    await asyncio.to_thread(weed.ensure_buckets, s3, buckets)


async def _declare(client: Client, settings: AdminSettings) -> None:
    """Declare; a cluster that elects a leader answers late or not at all, and is asked again."""
    for attempt in range(1, DECLARE_ATTEMPTS + 1):
        try:
            await declare(
                client.jetstream(timeout=ANSWER_TIMEOUT_S),
                settings.workspace,
                pools=settings.pools,
                replicas=settings.replicas,
            )
        except (nats.errors.Error, nats.js.errors.ServiceUnavailableError):
            if attempt == DECLARE_ATTEMPTS:
                raise
            await asyncio.sleep(1)
        else:
            return


if __name__ == "__main__":
    asyncio.run(administer(AdminSettings()))
