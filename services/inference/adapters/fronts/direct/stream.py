"""One call's stream: what it sends as its client takes it, what it takes as there is room.

It belongs to the event loop's thread.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import grpc

from services.inference.adapters.fronts.calls import Handler
from services.inference.adapters.fronts.direct import frames
from services.inference.adapters.fronts.direct.call import Call
from services.inference.adapters.fronts.direct.frames import ConnectionFault, ErrorCode
from services.inference.adapters.fronts.direct.heads import Head, opening, refused, trailers
from services.inference.adapters.fronts.direct.messages import (
    Assembly,
    EncodingUnknown,
    MessageBroken,
    MessageTooLarge,
)

if TYPE_CHECKING:
    from services.inference.adapters.fronts.direct.connection import Connection

STREAM_WINDOW: Final = 4 * 1024 * 1024
UNTAKEN_MESSAGES: Final = 4  # of a stream, before its client is not given more room
JOINED_BYTES: Final = 64 * 1024  # answers up to this go out as one piece
STATUSES: Final = {
    EncodingUnknown: grpc.StatusCode.UNIMPLEMENTED,
    MessageTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    MessageBroken: grpc.StatusCode.INTERNAL,
}

_OPENING: Final = opening()
_TRAILERS: Final = trailers(0)
_LAST: Final = frames.END_STREAM | frames.END_HEADERS


class Nobody:
    """Takes the data of a call that is over."""

    room: Final = memoryview(b"")

    def filled(self, count: int) -> None:
        """There is no room."""

    def feed(self, data: memoryview) -> None:
        """Drop it."""

    def over(self, ends: bool) -> None:
        """Nothing is to be done."""


class Stream:
    """One call's stream.

    Args:
        connection: Where.
        number: Its number.
        head: What the call said.
        handler: What answers it; None where nothing does.
    """

    __slots__ = ("_answers", "_is_open", "_sizes", "_trailers", "assembly", "call",
                 "connection", "handler", "head", "is_said", "number", "receives", "sends",
                 "untaken")  # fmt: skip

    def __init__(
        self, connection: Connection, number: int, head: Head, handler: Handler | None
    ) -> None:
        self.connection = connection
        self.number = number
        self.head = head
        self.handler = handler
        site = connection.site
        self.assembly = Assembly(site.bounds.message_bytes, site.budget, head.encoding)
        self.call = Call(self)
        self.sends = connection.first_window  # bytes the client takes
        self.receives = STREAM_WINDOW  # bytes it may send
        self.untaken = 0  # messages that wait for the handler
        self.is_said = False  # the client has said all
        self._is_open = False
        self._answers: deque[memoryview] = deque()
        self._sizes: deque[int] = deque()  # of the messages in it
        self._trailers = b""

    def begin(self) -> None:
        """Have the call answered as far as that is possible without its message."""
        if self.head.fault and self.head.http_status:
            self._end(refused(self.head.http_status, self.head.fault))
        elif self.head.fault:
            self.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, self.head.fault)
        elif self.handler is None:
            self.fail(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {self.head.path}")
        elif self.handler.request_streaming:
            self.connection.site.began(self)

    # --- what the client sends

    @property
    def room(self) -> memoryview:
        """See `Sink.room`."""
        return self.assembly.room

    def comes(self, size: int) -> None:
        """Count a DATA frame; ConnectionFault where it is more than was allowed."""
        if self.is_said:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"DATA after the end of {self.number}")
        self.receives -= size
        if self.receives < 0:
            reason = f"{-self.receives} bytes above the window of {self.number}"
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, reason)

    def filled(self, count: int) -> None:
        """See `Sink.filled`."""
        if not self.call.is_over:
            self.assembly.filled(count)

    def feed(self, data: memoryview) -> None:
        """See `Sink.feed`."""
        if self.call.is_over:
            return
        try:
            self.assembly.feed(data)
        except tuple(STATUSES) as error:
            self.fail(STATUSES[type(error)], str(error))

    def over(self, ends: bool) -> None:
        """See `Sink.over`."""
        self.is_said = self.is_said or ends
        if self.call.is_over or self.handler is None:
            return
        if self.handler.request_streaming:
            for message in self.assembly.take():
                self.untaken += 1
                self.call.received(message)
            if ends and not self.assembly.is_between:
                self.fail(grpc.StatusCode.INTERNAL, "a message cut off")
            elif ends:
                self.call.no_more()
        elif ends:
            self._ask()
        elif self.assembly.count > 1:  # it need not send more of them
            self._refuse_messages()
        if not ends:
            self._make_room()

    def taken(self, size: int) -> None:
        """The handler took a message."""
        self.untaken -= 1
        self.assembly.give_back(size)
        self._make_room()

    def _ask(self) -> None:
        messages = self.assembly.take()
        if len(messages) == 1 and self.assembly.is_between:
            self.connection.site.asked(self, messages[0])
        else:
            self._refuse_messages()

    def _refuse_messages(self) -> None:
        reason = f"{self.head.path} takes one message, whole"
        self.fail(grpc.StatusCode.UNIMPLEMENTED, reason)

    def _make_room(self) -> None:
        if self.call.is_over:
            return
        if self.receives <= STREAM_WINDOW // 2 and self.untaken < UNTAKEN_MESSAGES:
            self.connection.say(frames.window_update(self.number, STREAM_WINDOW - self.receives))
            self.receives = STREAM_WINDOW

    # --- what is answered

    def answer(self, message: bytes) -> None:
        """Send the one answer, and end the call."""
        if self.call.is_over:
            return
        framed = len(message) + frames.MESSAGE_PREFIX_BYTES
        most = min(self.sends, self.connection.sends, self.connection.frame_bytes, JOINED_BYTES)
        if framed > most or self.connection.is_full:
            self.send(message)
            self.done()
            return
        self.connection.sends -= framed
        number = self.number
        parts = (
            frames.FRAME.pack(0, len(_OPENING), frames.HEADERS, frames.END_HEADERS, number),
            _OPENING,
            frames.DATA_FRAME.pack(
                framed >> 8, framed & 0xFF, frames.DATA, 0, number, 0, len(message)
            ),
            message,
            frames.FRAME.pack(0, len(_TRAILERS), frames.HEADERS, _LAST, number),
            _TRAILERS,
        )
        self.connection.say(b"".join(parts))
        self._leave()

    def send(self, message: bytes) -> None:
        """Send an answer of several."""
        if self.call.is_over:
            return
        most = self.connection.site.bounds.message_bytes
        if len(message) > most:
            reason = f"the answer has {len(message)} bytes: at most {most} are given"
            self.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            return
        self._open()
        self._answers.append(memoryview(b"\0" + frames.WORD.pack(len(message)) + message))
        self._sizes.append(len(message))
        self.pump()

    def done(self) -> None:
        """End the call as its handler said, after its answers."""
        call = self.call
        if call.is_over:
            return
        code, reason = call.outcome()
        if code and not self._is_open:
            self._end(_OPENING + trailers(code, reason, call.trailing))
            return
        self._open()
        self._trailers = trailers(code, reason, call.trailing)
        self.pump()

    def fail(self, status: grpc.StatusCode, reason: str) -> None:
        """End the call with an error, at once."""
        if self.call.is_over:
            return
        self._answers.clear()
        block = trailers(status.value[0], reason, self.call.trailing)
        self._end(block if self._is_open else _OPENING + block)

    def expire(self) -> None:
        """Its time is over."""
        if self.call.late is None:
            self.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer did not come in time")
        else:
            self.call.late()

    def sweep(self) -> None:
        """End the call if its one message does not come. Called every second."""
        if self.is_said or self.handler is None or self.handler.request_streaming:
            return  # what is inside has its deadline
        longest_s = self.connection.site.bounds.message_s
        if (remaining_s := self.call.time_remaining()) is not None and remaining_s <= 0:
            self.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not come in time")
        elif self.call.age_s() > longest_s:
            reason = f"the message did not come within {longest_s:g} s"
            self.fail(grpc.StatusCode.DEADLINE_EXCEEDED, reason)

    def pump(self) -> None:
        """Send what the client takes now."""
        connection = self.connection
        while self._answers and not connection.is_full:
            piece = self._answers[0]
            size = min(self.sends, connection.sends, connection.frame_bytes, len(piece))
            if size <= 0:
                return
            self.sends -= size
            connection.sends -= size
            connection.say(frames.FRAME.pack(size >> 8, size & 0xFF, frames.DATA, 0, self.number))
            connection.say(piece[:size])
            if size < len(piece):
                self._answers[0] = piece[size:]
            else:
                self._answers.popleft()
                self.call.sent(self._sizes.popleft())
        if self._trailers and not self._answers:
            self._end(self._trailers)

    def gone(self) -> None:
        """Nobody waits for the call any more."""
        self._answers.clear()
        self.assembly.release()
        self.call.end()
        self.connection.site.ended(self)

    def _open(self) -> None:
        if not self._is_open:
            self._is_open = True
            block = opening(self.call.opening) if self.call.opening else _OPENING
            self.connection.say(frames.head(0, self.number, block, self.connection.frame_bytes))

    def _end(self, block: bytes) -> None:
        most = self.connection.frame_bytes
        self.connection.say(frames.head(frames.END_STREAM, self.number, block, most))
        self._leave()

    def _leave(self) -> None:
        if not self.is_said:  # it need not say the rest
            self.connection.excuse(self)
            self.connection.say(frames.reset(self.number, ErrorCode.NO_ERROR))
        self.connection.forget(self)
        self.gone()
