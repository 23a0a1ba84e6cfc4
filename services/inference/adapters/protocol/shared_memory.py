"""System shared memory: tensors that client and server exchange beside the connection.

Regions are read and written through their file descriptor, never mapped: a client that shrinks its
region after it registered it would kill a process that has it mapped (SIGBUS), while `pread` just
returns less. It also means that what is checked is what is used: a client that changes the bytes
meanwhile changes nothing any more. The price is one copy, which a batch makes anyway: a tensor is
read as its batch is put together, to where the batch has it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loopline.errors import NotFound, Rejected

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where shm_open keeps its objects on Linux
_KEY: Final = re.compile(r"/?[A-Za-z0-9_.\-]{1,255}")
NAME_MAX: Final = 255


class AlreadyRegistered(Rejected):
    """A region of that name is registered."""


@dataclass(frozen=True, slots=True)
class RegionUse:
    """Where a tensor lies in a region, as a request's parameters say.

    Args:
        region: The region's name.
        byte_size: How many bytes the tensor has there, or may take.
        offset: Where they start in the region.
    """

    region: str
    byte_size: int
    offset: int = 0


@dataclass(slots=True)
class Region:
    """A registered region.

    Args:
        owner: Who registered it; only they may use it. Empty where clients have no names.
        name: The name it was registered under.
        key: The shared memory object's name.
        offset: Where it starts there, bytes.
        byte_size: Its size.
        descriptor: The open object; closed when the region is forgotten and nobody uses it.
    """

    owner: str
    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int
    users: int = 0
    forgotten: bool = field(default=False)


class SharedMemory:
    """The regions that are registered. Thread-safe.

    Args:
        regions_max: How many there may be.
        folder: Where shared memory objects are.
    """

    def __init__(self, regions_max: int = 128, folder: Path = FOLDER) -> None:
        self._regions_max = regions_max
        self._folder = folder
        self._regions: dict[tuple[str, str], Region] = {}
        self._lock = threading.Lock()

    def register(self, owner: str, name: str, key: str, offset: int, byte_size: int) -> None:
        """Make a region known.

        Raises:
            AlreadyRegistered: The owner has a region of that name.
            Rejected: There is no such object, or it is smaller than the region.
        """
        if not 0 < len(name) <= NAME_MAX:
            raise Rejected(f"a region's name has 1 to {NAME_MAX} characters, not {len(name)}")
        descriptor = self._open(key)
        try:
            size = os.fstat(descriptor).st_size
            if offset < 0 or byte_size < 1 or offset + byte_size > size:
                raise Rejected(
                    f"region {name!r}: bytes {offset} to {offset + byte_size} are not within "
                    f"the {size} bytes of shared memory {key!r}"
                )
            self._add(Region(owner, name, key, offset, byte_size, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def unregister(self, owner: str, name: str = "") -> None:
        """Forget a region of the owner, or all of theirs; one that is not there is forgotten."""
        with self._lock:
            if name:
                gone = [self._regions.pop((owner, name), None)]
            else:
                mine = [key for key in self._regions if key[0] == owner]
                gone = [self._regions.pop(key) for key in mine]
            for region in gone:
                if region is not None:
                    region.forgotten = True
                    _close_if_unused(region)

    def status(self, owner: str, name: str = "") -> Sequence[Region]:
        """Return the owner's regions, or one.

        Raises:
            NotFound: There is no region of that name.
        """
        with self._lock:
            if not name:
                return [r for _, r in sorted(self._regions.items()) if r.owner == owner]
            region = self._regions.get((owner, name))
        if region is None:
            raise _unknown(name)
        return [region]

    def read(self, owner: str, use: RegionUse, view: memoryview) -> None:
        """Copy a tensor's bytes to where they are wanted, `use.byte_size` of them.

        Raises:
            NotFound: There is no such region.
            Rejected: The tensor is not within it, or its memory has shrunk.
        """
        region = self._take(owner, use)
        try:
            done = 0
            while done < use.byte_size:
                at = region.offset + use.offset + done
                count = os.preadv(region.descriptor, [view[done:]], at)
                if count == 0:
                    raise Rejected(
                        f"region {use.region!r}: its shared memory {region.key!r} has shrunk"
                    )
                done += count
        finally:
            self._give_back(region)

    def write(self, owner: str, use: RegionUse, data: bytes | memoryview) -> None:
        """Put a tensor's bytes into a region.

        Raises:
            NotFound: There is no such region.
            Rejected: The tensor is larger than its place, or the region's memory has shrunk.
        """
        if len(data) > use.byte_size:
            raise Rejected(
                f"region {use.region!r}: the output takes {len(data)} bytes, "
                f"its place has {use.byte_size}"
            )
        region = self._take(owner, use)
        try:
            at = region.offset + use.offset
            if os.fstat(region.descriptor).st_size < at + len(data):
                raise Rejected(
                    f"region {use.region!r}: its shared memory {region.key!r} has shrunk"
                )
            view = memoryview(data)
            while view:
                count = os.pwrite(region.descriptor, view, at)
                view, at = view[count:], at + count
        finally:
            self._give_back(region)

    def check(self, owner: str, use: RegionUse) -> None:
        """Raise what `read` and `write` would, but for what only they can see."""
        self._give_back(self._take(owner, use))

    def of(self, owner: str) -> OwnedMemory:
        """Return what one client may use."""
        return OwnedMemory(self, owner)

    def close(self) -> None:
        """Forget everything."""
        for owner in {region.owner for region in list(self._regions.values())}:
            self.unregister(owner)

    def _open(self, key: str) -> int:
        # The key comes from a client: it names an object of shared memory and nothing beside it.
        if not _KEY.fullmatch(key) or key.strip("/") in (".", ".."):
            raise Rejected(f"{key!r} is not the name of a shared memory object")
        path = self._folder / key.removeprefix("/")
        try:
            # Without blocking: opening a pipe would wait for its other end.
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(path, flags)
        except OSError as error:
            raise Rejected(f"shared memory {key!r} cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Rejected(f"{key!r} is no shared memory object")
        return descriptor

    def _add(self, region: Region) -> None:
        key = (region.owner, region.name)
        with self._lock:
            if key in self._regions:
                raise AlreadyRegistered(f"region {region.name!r} is registered already")
            if len(self._regions) >= self._regions_max:
                raise Rejected(f"{self._regions_max} regions are registered: no more are taken")
            self._regions[key] = region

    def _take(self, owner: str, use: RegionUse) -> Region:
        with self._lock:
            region = self._regions.get((owner, use.region))
            if region is None:
                raise _unknown(use.region)
            if use.offset < 0 or use.byte_size < 0 or use.offset + use.byte_size > region.byte_size:
                raise Rejected(
                    f"region {use.region!r} has {region.byte_size} bytes: "
                    f"{use.byte_size} at {use.offset} are not within it"
                )
            region.users += 1
        return region

    def _give_back(self, region: Region) -> None:
        with self._lock:
            region.users -= 1
            _close_if_unused(region)


@dataclass(frozen=True, slots=True)
class OwnedMemory:
    """The regions of one client.

    Args:
        memory: All regions.
        owner: Whose.
    """

    memory: SharedMemory
    owner: str

    def read(self, use: RegionUse, view: memoryview) -> None:
        """See `SharedMemory.read`."""
        self.memory.read(self.owner, use, view)

    def write(self, use: RegionUse, data: bytes) -> None:
        """See `SharedMemory.write`."""
        self.memory.write(self.owner, use, data)

    def check(self, use: RegionUse) -> None:
        """See `SharedMemory.check`."""
        self.memory.check(self.owner, use)


def _close_if_unused(region: Region) -> None:
    if region.forgotten and region.users == 0 and region.descriptor >= 0:
        os.close(region.descriptor)
        region.descriptor = -1


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no shared memory region {name!r}", region=name)
