"""Frames out of a socket's bytes: the bytes of a tensor are read to where they stay.

https://www.rfc-editor.org/rfc/rfc9113#name-frame-format
"""

from __future__ import annotations

from typing import Final, Protocol

from services.inference.adapters.fronts.direct import frames
from services.inference.adapters.fronts.direct.frames import ConnectionFault, ErrorCode

SCRATCH_BYTES: Final = 32 * 1024  # for what is not a tensor
DIRECT_BYTES: Final = 4 * 1024  # from here on bytes are read where they stay
FRAME_BYTES: Final = 1024 * 1024  # of a DATA frame


class Sink(Protocol):
    """Takes the data of one frame."""

    @property
    def room(self) -> memoryview:
        """Where what comes next belongs; empty where that is not known yet."""
        ...

    def filled(self, count: int) -> None:
        """So many bytes came into `room`."""
        ...

    def feed(self, data: memoryview) -> None:
        """These bytes came."""
        ...

    def over(self, ends: bool) -> None:
        """The frame is over, and with it what the client says, if it `ends`."""
        ...


class Frames(Protocol):
    """Takes frames."""

    def begin_data(self, number: int, size: int) -> Sink:
        """Return what takes the data of a frame of a stream; `size` counts its padding, too."""
        ...

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Take any other frame."""
        ...


class FrameReader:
    """Reads the frames of one connection. Every method raises ConnectionFault where one is wrong.

    Args:
        taker: Takes them.
    """

    def __init__(self, taker: Frames) -> None:
        self._taker = taker
        self._scratch = bytearray(SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._start = self._end = 0  # of what was read and not looked at
        self._preface = frames.PREFACE
        self._sink: Sink | None = None  # of the DATA frame that comes
        self._left = self._padding = 0  # of it
        self._ends = False
        self._is_direct = False

    def room(self) -> memoryview:
        """Return where the next bytes are to be read; `received` says that they were."""
        if self._sink is not None and self._left and self._start == self._end:
            room = self._sink.room
            if len(room) >= DIRECT_BYTES:
                self._is_direct = True
                return room[: self._left]
        self._is_direct = False
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start and SCRATCH_BYTES - self._end < DIRECT_BYTES:
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Look at what was read."""
        if self._is_direct and self._sink is not None:
            self._left -= count
            self._sink.filled(count)
            self._end_data()
        else:
            self._end += count
            self._look()

    def _look(self) -> None:
        if self._preface and not self._read_preface():
            return
        while self._read_data() if self._sink is not None else self._read_frame():
            pass

    def _read_preface(self) -> bool:
        count = min(len(self._preface), self._end - self._start)
        if self._view[self._start : self._start + count] != self._preface[:count]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not HTTP/2")
        self._preface = self._preface[count:]
        self._start += count
        return not self._preface

    def _read_frame(self) -> bool:
        """Take a frame, or begin one with data; return whether there was enough of it."""
        there = self._end - self._start - frames.FRAME.size
        if there < 0:
            return False
        high, low, kind, flags, number = frames.FRAME.unpack_from(self._scratch, self._start)
        size, number = high << 8 | low, number & frames.WINDOW_MAX
        if kind == frames.DATA:
            return self._begin_data(there, size, flags, number)
        if size + frames.FRAME.size > SCRATCH_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if there < size:
            return False
        begin = self._start + frames.FRAME.size
        self._start = begin + size
        self._taker.take(kind, flags, number, bytes(self._view[begin : self._start]))
        return True

    def _begin_data(self, there: int, size: int, flags: int, number: int) -> bool:
        if size > FRAME_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        begin, padding = self._start + frames.FRAME.size, 0
        if flags & frames.PADDED:
            if not size:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
            if not there:
                return False
            padding = self._scratch[begin] + 1  # it says how long it is
            begin += 1
            if padding > size:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
        self._start = begin
        self._left, self._padding = size - padding, max(0, padding - 1)
        self._ends = bool(flags & frames.END_STREAM)
        self._sink = self._taker.begin_data(number, size)
        return True

    def _read_data(self) -> bool:
        """Take what there is of a frame's data; return whether it is over."""
        count = min(self._left, self._end - self._start)
        if count and self._sink is not None:
            begin = self._start
            self._start += count
            self._left -= count
            self._sink.feed(self._view[begin : self._start])
        return self._end_data()

    def _end_data(self) -> bool:
        if self._padding and not self._left:
            skipped = min(self._padding, self._end - self._start)
            self._start += skipped
            self._padding -= skipped
        if self._left or self._padding:
            return False
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.over(self._ends)
        return True
