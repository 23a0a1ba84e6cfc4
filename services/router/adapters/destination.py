"""The customer's bucket, written to through a configured connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from loopline.errors import Rejected, Transient
from loopline.failpoints import failpoint
from loopline.flows import Deliver
from loopline.store.blobs import BlobStore
from services.router.domain.chunks import Document

JSON = "application/json"


class Destinations:
    """Writes objects into customers' buckets, a bounded number at once over all runs.

    Args:
        open_bucket: Returns the bucket of a connection; Rejected if it is not configured.
        writes: Objects written at once.
    """

    def __init__(self, open_bucket: Callable[[str, str], BlobStore], writes: int) -> None:
        self._open_bucket = open_bucket
        self._threads = ThreadPoolExecutor(writes, thread_name_prefix="delivery")

    async def write(self, to: Deliver, documents: Sequence[Document]) -> None:
        """Write every document; a key that exists is replaced.

        Raises:
            Transient: The bucket is missing, refuses us, or is not configured or reached: all that
                people set right without sending anything again.
        """
        failpoint("before_write")
        loop = asyncio.get_running_loop()
        try:
            bucket = self._open_bucket(to.connection, to.bucket)
            puts = [
                loop.run_in_executor(self._threads, bucket.put, one.key, one.data, JSON)
                for one in documents
            ]
            done = await asyncio.gather(*puts, return_exceptions=True)
            for error in filter(None, done):
                raise error
        except (Rejected, Transient) as error:
            raise Transient(
                f"cannot deliver to {to.bucket!r} through the connection {to.connection!r}: "
                f"{error.message}",
                bucket=to.bucket,
                connection=to.connection,
            ) from error

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
