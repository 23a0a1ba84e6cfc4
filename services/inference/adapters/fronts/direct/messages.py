"""Messages of gRPC out of a stream's data: the socket writes each where it stays.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.inference.adapters.fronts.direct.frames import MESSAGE_PREFIX_BYTES
from services.inference.domain.tensors import Buffer

_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ENCODINGS: Final = tuple(_WINDOW_BITS)
_NOTHING: Final = memoryview(b"")
HELD_BESIDE_BYTES: Final = 64  # that a message takes beside its bytes, be it ever so small


class MessageTooLarge(Exception):
    """A message is larger than it may be; the text says by how much."""


class MessageBroken(Exception):
    """What came is no message; the text says why."""


class EncodingUnknown(Exception):
    """A message is compressed as nobody here can open it; the text says what is known."""


@dataclass(frozen=True, slots=True)
class Compressed:
    """A message that is still compressed: opening it takes long, so a thread does it.

    Args:
        data: What came.
        encoding: How, one of `ENCODINGS`.
    """

    data: Buffer
    encoding: str

    def __len__(self) -> int:
        return len(self.data)

    def open(self, most: int) -> bytes:
        """Return the message.

        Raises:
            MessageTooLarge: It has more than `most` bytes.
            MessageBroken: It cannot be decompressed.
        """
        machine = zlib.decompressobj(_WINDOW_BITS[self.encoding])
        try:
            found = machine.decompress(self.data, most + 1)
        except zlib.error as error:
            raise MessageBroken(f"not {self.encoding}: {error}") from error
        if len(found) > most:
            raise MessageTooLarge(f"a message of more than {most} bytes, decompressed")
        if not machine.eof:
            raise MessageBroken(f"{self.encoding} cut off")
        return found


Message = Buffer | Compressed


class MemoryBudget:
    """The bytes of messages that one server holds at once.

    Args:
        max_bytes: How many.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0

    def take(self, count: int) -> bool:
        """Return whether there was room."""
        if self.used + count > self.max_bytes:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """Have room again."""
        self.used -= count


class Assembly:
    """Puts together the messages of one stream.

    Args:
        max_bytes: The largest message.
        budget: Where their memory is counted.
        encoding: How those are compressed that say they are.
    """

    __slots__ = ("_budget", "_done", "_encoding", "_held", "_is_compressed", "_max_bytes",
                 "_prefix", "_whole", "room")  # fmt: skip

    def __init__(self, max_bytes: int, budget: MemoryBudget, encoding: str = "") -> None:
        self._max_bytes = max_bytes
        self._budget = budget
        self._encoding = encoding
        self._prefix = b""
        self._is_compressed = False
        self._whole = self.room = _NOTHING  # of the message that is not complete
        self._done: list[Message] = []
        self._held = 0

    @property
    def is_between(self) -> bool:
        """Whether no message is begun."""
        return not self._prefix

    @property
    def count(self) -> int:
        """How many messages are whole."""
        return len(self._done)

    def filled(self, count: int) -> None:
        """Say that so many bytes came into `room`."""
        self.room = self.room[count:]
        if not self.room:
            self._finish(self._whole)

    def feed(self, data: memoryview) -> None:
        """Take bytes that came elsewhere.

        Raises:
            MessageTooLarge: A message of this size is not taken, now or ever.
            MessageBroken: It is none.
            EncodingUnknown: It cannot be opened.
        """
        while data:
            if self.room:
                count = min(len(data), len(self.room))
                self.room[:count] = data[:count]
                self.filled(count)
                data = data[count:]
                continue
            missing = MESSAGE_PREFIX_BYTES - len(self._prefix)
            self._prefix += bytes(data[:missing])
            data = data[missing:]
            if len(self._prefix) == MESSAGE_PREFIX_BYTES:
                data = self._begin(data)

    def take(self) -> list[Message]:
        """Return the messages that are whole."""
        done, self._done = self._done, []
        return done

    def give_back(self, count: int) -> None:
        """A message of so many bytes is its handler's now."""
        self._give(min(count + HELD_BESIDE_BYTES, self._held))

    def hold(self, count: int) -> None:
        """Count so many bytes more: a message was decompressed. MessageTooLarge: no room."""
        if not self._budget.take(count):
            inside = f"messages of {self._budget.used} bytes are inside"
            raise MessageTooLarge(f"{inside}: there is no room for {count} more, try again later")
        self._held += count

    def release(self) -> None:
        """Give all memory back: nobody needs the messages any more."""
        self._give(self._held)
        self._whole = self.room = _NOTHING
        self._done.clear()

    def _give(self, count: int) -> None:
        self._budget.give(count)
        self._held -= count

    def _begin(self, data: memoryview) -> memoryview:
        flag, size = self._prefix[0], int.from_bytes(self._prefix[1:], "big")
        if flag > 1 or (flag and not self._encoding):
            raise MessageBroken(f"a message with flag {flag} and without a grpc-encoding")
        if flag and self._encoding not in _WINDOW_BITS:
            reason = f"{self._encoding} is not known: {' and '.join(ENCODINGS)} are"
            raise EncodingUnknown(reason)
        if size > self._max_bytes:
            raise MessageTooLarge(f"a message of {size} bytes: at most {self._max_bytes} are taken")
        self.hold(size + HELD_BESIDE_BYTES)
        self._is_compressed = bool(flag)
        if size <= len(data):
            self._finish(bytes(data[:size]))  # where it is now is the socket's place
            return data[size:]
        self._whole = self.room = np.empty(size, np.uint8).data  # not cleared: it is written over
        return data

    def _finish(self, data: Buffer) -> None:
        self._done.append(Compressed(data, self._encoding) if self._is_compressed else data)
        self._whole = self.room = _NOTHING
        self._prefix = b""
