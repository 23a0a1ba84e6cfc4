"""What the domain asks of the outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from loopline.store.blobs import BlobInfo


class ImageSource(Protocol):
    """A bucket of the customer's. Methods block and may be called from many threads."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the objects whose key starts with `prefix`.

        Raises:
            Rejected: There is no such bucket, or it refuses the key.
        """
        ...

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        """Return at most `limit_bytes` of an object, and the etag of what was read.

        Raises:
            NotFound: There is no such object.
        """
        ...


Sources = Callable[[str, str], ImageSource]
"""Return a bucket by the names of its connection and its own; Rejected if there is no such one."""
