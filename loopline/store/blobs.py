"""Where bytes are kept: memory, a folder, or any S3.

A blob store is dumb and synchronous; content addressing and concurrency are decided in `objects`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from loopline.errors import NotFound, Rejected, Transient

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
_MISSING = {"NoSuchKey", "NoSuchObject", "NotFound"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"}


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is known of a blob without reading it."""

    key: str
    size_bytes: int
    modified_at: datetime
    etag: str = ""


class BlobStore(Protocol):
    """Named bytes. Methods block and may be called from many threads."""

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        """Write `data` under `key`, whole or not at all, replacing what was there."""
        ...

    def get(self, key: str) -> bytes:
        """Return the bytes under `key`; raise NotFound if there are none."""
        ...

    def stat(self, key: str) -> BlobInfo | None:
        """Return what is under `key`, or None."""
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix`, sorted by key."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; nothing happens if it is not there."""
        ...


class MemoryBlobs:
    """Blobs in a dict, for tests."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        """See `BlobStore`."""
        with self._lock:
            self._blobs[key] = (bytes(data), datetime.now(UTC))

    def get(self, key: str) -> bytes:
        """See `BlobStore`."""
        try:
            return self._blobs[key][0]
        except KeyError:
            raise NotFound(f"there is no object {key!r}", key=key) from None

    def stat(self, key: str) -> BlobInfo | None:
        """See `BlobStore`."""
        found = self._blobs.get(key)
        return None if found is None else BlobInfo(key, len(found[0]), found[1])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore`."""
        with self._lock:
            keys = sorted(key for key in self._blobs if key.startswith(prefix))
        for key in keys:
            if info := self.stat(key):
                yield info

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        with self._lock:
            self._blobs.pop(key, None)


class FolderBlobs:
    """Blobs as files below a folder; writes are atomic by rename."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count()

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        """See `BlobStore`."""
        path = self._path(key)
        # Plain names and calls: tempfile's own cost four times as much as the write.
        partial = path.with_name(f".put-{os.getpid()}-{next(self._numbers)}")
        try:
            try:
                partial.write_bytes(data)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise Transient(f"cannot write {key!r}: {error.strerror}", key=key) from error

    def get(self, key: str) -> bytes:
        """See `BlobStore`."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no object {key!r}", key=key) from None

    def stat(self, key: str) -> BlobInfo | None:
        """See `BlobStore`."""
        try:
            found = self._path(key).stat()
        except FileNotFoundError:
            return None
        return BlobInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore`."""
        for path in sorted(self._root.rglob("*")):
            key = path.relative_to(self._root).as_posix()
            if not key.startswith(prefix) or path.name.startswith(".put-") or not path.is_file():
                continue
            if info := self.stat(key):
                yield info

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise Rejected(f"the key {key!r} leaves its folder", key=key)
        return self._root / key


class S3Blobs:
    """Blobs in one bucket of any S3.

    Args:
        endpoint: "host:port", or a URL whose scheme decides about TLS.
        access_key: The identity.
        secret_key: Its secret.
        bucket: The bucket; it must exist.
        secure: TLS where the endpoint does not say.
        connections: Upper bound of open connections.
    """

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        *,
        secure: bool = False,
        connections: int = 16,
    ) -> None:
        scheme, _, rest = endpoint.rpartition("://")
        self.bucket = bucket
        self._client = Minio(
            rest.rstrip("/"),
            access_key=access_key,
            secret_key=secret_key,
            secure=secure or scheme == "https",
            region="us-east-1",  # spares a request per bucket to find it out
            http_client=urllib3.PoolManager(
                maxsize=connections,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
                retries=urllib3.Retry(
                    total=2, backoff_factor=0.2, status_forcelist=(502, 503, 504)
                ),
            ),
        )

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        """See `BlobStore`."""
        with _Ours(self.bucket, key):
            self._client.put_object(
                self.bucket, key, io.BytesIO(data), len(data), content_type=media_type
            )

    def get(self, key: str) -> bytes:
        """See `BlobStore`."""
        with _Ours(self.bucket, key):
            response = self._client.get_object(self.bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        """Return at most `limit_bytes` of an object, and the etag of what was read.

        For objects that others write: their size is not ours to trust, and they may change.
        """
        with _Ours(self.bucket, key):
            response = self._client.get_object(self.bucket, key)
            try:
                data = bytes(response.read(limit_bytes))
                return data, str(response.headers.get("ETag", "")).strip('"')
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> BlobInfo | None:
        """See `BlobStore`."""
        try:
            with _Ours(self.bucket, key):
                found = self._client.stat_object(self.bucket, key)
        except NotFound:
            return None
        return _info(key, found)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore`."""
        with _Ours(self.bucket, prefix):
            for found in self._client.list_objects(self.bucket, prefix, recursive=True):
                if not found.is_dir:
                    yield _info(str(found.object_name), found)

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        with _Ours(self.bucket, key):
            self._client.remove_object(self.bucket, key)


def _info(key: str, found: object) -> BlobInfo:
    modified = getattr(found, "last_modified", None) or datetime.fromtimestamp(0, UTC)
    etag = str(getattr(found, "etag", "") or "").strip('"')
    return BlobInfo(key, int(getattr(found, "size", 0) or 0), modified, etag)


class _Ours:
    """Turns what minio-py raises into our errors."""

    def __init__(self, bucket: str, key: str) -> None:
        self._bucket, self._key = bucket, key

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        ids: dict[str, Any] = {"bucket": self._bucket, "key": self._key}
        if isinstance(error, S3Error):
            if error.code == "NoSuchBucket":
                raise NotFound(f"there is no bucket {self._bucket!r}", **ids) from error
            if error.code in _MISSING:
                raise NotFound(
                    f"there is no object {self._key!r} in {self._bucket!r}", **ids
                ) from error
            if error.code in _REFUSED:
                raise Rejected(
                    f"the bucket {self._bucket!r} refuses our key ({error.code})", **ids
                ) from error
            raise Transient(f"S3 answered {error.code}: {error.message}", **ids) from error
        if isinstance(error, MinioException | urllib3.exceptions.HTTPError | OSError):
            raise Transient(f"S3 cannot be reached: {error}", **ids) from error
        if isinstance(error, ValueError):
            raise Rejected(f"S3 cannot take this name: {error}", **ids) from error
