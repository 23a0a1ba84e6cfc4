"""Images made small: a few at a time, kept in memory and on disk, both bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from loopline.errors import Rejected

QUALITY = 80  # of WebP
SWEEP_SHARE = 0.9  # a full folder is emptied to this share of its limit

Read = Callable[[], Awaitable[bytes]]


class MemoryCache:
    """The thumbnails that were used last.

    Args:
        size_max_bytes: All of them.
    """

    def __init__(self, size_max_bytes: int) -> None:
        self._size_max_bytes = size_max_bytes
        self._size_bytes = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""
        data = self._kept.get(key)
        if data is not None:
            self._kept.move_to_end(key)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep something; what was not used for longest goes."""
        if key in self._kept or len(data) > self._size_max_bytes:
            return
        self._kept[key] = data
        self._size_bytes += len(data)
        while self._size_bytes > self._size_max_bytes:
            _, gone = self._kept.popitem(last=False)
            self._size_bytes -= len(gone)


class DiskCache:
    """Thumbnails in a folder; the oldest go when it is full. Used in worker threads.

    Args:
        folder: Where; made if it is not there.
        size_max_bytes: All of them; 0 keeps none.
    """

    def __init__(self, folder: Path, size_max_bytes: int) -> None:
        self._folder = folder
        self._size_max_bytes = size_max_bytes
        self._size_bytes = -1  # not known before the first look

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""
        with contextlib.suppress(OSError):
            return self._path(key).read_bytes()
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep something; a full disk is no trouble of who asks."""
        if not self._size_max_bytes:
            return
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_bytes(data)
            partial.replace(path)
            self._grown(len(data))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _grown(self, size_bytes: int) -> None:
        if self._size_bytes < 0:
            self._size_bytes = sum(size for _, size, _ in self._files())
        else:
            self._size_bytes += size_bytes
        if self._size_bytes <= self._size_max_bytes:
            return
        for _, size, path in sorted(self._files()):
            path.unlink(missing_ok=True)
            self._size_bytes -= size
            if self._size_bytes <= self._size_max_bytes * SWEEP_SHARE:
                break

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                told = path.stat()
                found.append((told.st_mtime, told.st_size, path))
        return found


@dataclass(frozen=True, slots=True)
class Limits:
    """How much thumbnails may take.

    Args:
        memory_bytes: In memory.
        disk_bytes: In the folder.
        pixels: Of an image; larger ones get none.
        threads: Images made small at once.
    """

    memory_bytes: int
    disk_bytes: int
    pixels: int
    threads: int


class Thumbnails:
    """Makes images small, each once.

    Args:
        folder: Where they are kept.
        limits: How much they may take.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._memory = MemoryCache(limits.memory_bytes)
        self._disk = DiskCache(folder, limits.disk_bytes)
        self._pixels_max = limits.pixels
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="thumbnails")
        self._making: dict[str, asyncio.Future[bytes]] = {}

    async def known(self, digest: str, side_px: int) -> bytes | None:
        """Return a thumbnail that is kept, or None."""
        key = _key(digest, side_px)
        data = self._memory.get(key)
        if data is None:
            data = await asyncio.to_thread(self._disk.get, key)
            if data is not None:
                self._memory.put(key, data)
        return data

    async def make(self, digest: str, side_px: int, image: Read) -> bytes:
        """Return a thumbnail, WebP; who asks for the same meanwhile waits for it.

        Args:
            digest: Of the image.
            side_px: Longer side of the thumbnail; images are not made larger.
            image: Reads the image.

        Raises:
            Rejected: The image is too large, or cannot be read.
        """
        key = _key(digest, side_px)
        if (making := self._making.get(key)) is not None:
            return await asyncio.shield(making)
        task = asyncio.ensure_future(self._made(key, side_px, image))
        self._making[key] = task
        task.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _made(self, key: str, side_px: int, image: Read) -> bytes:
        data = await image()
        loop = asyncio.get_running_loop()
        small = await loop.run_in_executor(self._threads, self._shrunk, key, side_px, data)
        self._memory.put(key, small)
        return small

    def _shrunk(self, key: str, side_px: int, data: bytes) -> bytes:
        small = thumbnail_of(data, side_px, self._pixels_max)
        self._disk.put(key, small)
        return small


def thumbnail_of(data: bytes, side_px: int, pixels_max: int) -> bytes:
    """Return an encoded image made small, upright, as WebP.

    Raises:
        Rejected: It is not an image, or has more than `pixels_max` pixels.
    """
    # OpenCV is loaded by the first thumbnail, not at start-up: 40 MB that an idle console can save.
    import cv2

    from loopline.vision.headers import read_header
    from loopline.vision.images import decode, resize

    header = read_header(data)
    if header.width_px * header.height_px > pixels_max:
        raise Rejected(f"{header.width_px} x {header.height_px} px are too many for a thumbnail")
    image = decode(data, 3)
    height_px, width_px = image.shape[:2]
    scale = min(1.0, side_px / max(height_px, width_px))
    size = (max(1, round(height_px * scale)), max(1, round(width_px * scale)))
    small = resize(image, *size)
    good, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
    )
    if not good:
        raise Rejected("the thumbnail cannot be written")
    return bytes(encoded.tobytes())


def _key(digest: str, side_px: int) -> str:
    return f"{digest}-{side_px}"
