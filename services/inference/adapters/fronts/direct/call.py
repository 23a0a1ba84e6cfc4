"""A call as its handler sees it: grpcio's context over a stream of a direct connection.

A stream belongs to the event loop's thread. Whatever a handler's thread asks of it goes there as a
message, in order; what the handler may look at itself is guarded by the call's own lock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
import structlog

from services.inference.adapters.fronts.calls import Metadata
from services.inference.adapters.fronts.direct.messages import Message
from services.inference.adapters.fronts.started import StartedContext

if TYPE_CHECKING:
    from services.inference.adapters.fronts.direct.stream import Stream

UNSENT_BYTES_MAX: Final = 256 * 1024
"""What a handler may have said in a stream that its client has not taken."""

log = structlog.get_logger()


class Aborted(Exception):
    """A handler ended its call with a status."""


class Call(StartedContext):
    """A call.

    Args:
        stream: Its stream.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._post = stream.connection.site.post
        self._head = stream.head
        timeout_s, self._began_s = self._head.timeout_s, time.monotonic()
        self.deadline_s = None if timeout_s is None else self._began_s + timeout_s
        self.late: Callable[[], object] | None = None
        self._changed = stream.connection.changed
        self._callbacks: list[Callable[[], object]] = []
        self._messages: deque[Message] = deque()
        self._no_more = False  # messages come
        self._unsent = 0
        self.is_over = False
        self.status: grpc.StatusCode | None = None
        self.reason = ""
        self.opening: Metadata = ()
        self.trailing: Metadata = ()

    # --- what handlers use

    def invocation_metadata(self) -> Metadata:
        """Return what the client said beside its message."""
        return self._head.metadata

    def peer(self) -> str:
        """Return where it calls from, as grpcio writes it."""
        return self._stream.connection.peer

    def auth_context(self) -> Any:  # a mapping to lists; its stubs say to bytes
        """Return what its certificate says, as grpcio names it."""
        identity = self._stream.connection.identity
        return {"x509_common_name": [identity.encode()]} if identity else {}

    def peer_identities(self) -> list[bytes] | None:
        """Return the names in its certificate; None where it showed none."""
        identity = self._stream.connection.identity
        return [identity.encode()] if identity else None

    def peer_identity_key(self) -> str | None:
        """Return what those names are."""
        return "x509_common_name" if self._stream.connection.identity else None

    def is_active(self) -> bool:
        """Tell whether somebody still waits."""
        return not self.is_over

    def time_remaining(self) -> Any:  # None without a deadline; its stubs say a number
        """Return how long the client still waits, seconds; None for as long as it takes."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Have something called when the call is over; False where it is already."""
        with self._changed:
            if self.is_over:
                return False
            self._callbacks.append(callback)
            return True

    def cancel(self) -> None:
        """End the call."""
        self._post(self._stream.fail, grpc.StatusCode.CANCELLED, "the server cancelled the call")

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status; raises what the handler lets pass."""
        self.status, self.reason = code, details
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """See `abort`."""
        self.trailing = status.trailing_metadata or ()
        self.abort(status.code, status.details)

    def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Say something before the answer; it goes with the first message."""
        self.opening = tuple(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Say something after it."""
        self.trailing = tuple(trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Answer with a status, once the handler is done."""
        self.status = code

    def set_details(self, details: str) -> None:
        """See `set_code`."""
        self.reason = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Answers are not compressed."""

    def disable_next_message_compression(self) -> None:
        """They are not."""

    # --- what calls that no thread holds use

    def answer(self, message: bytes) -> None:
        """See `StartedContext.answer`."""
        self._post(self._stream.answer, message)

    def refuse(self, status: grpc.StatusCode, reason: str, trailing: Metadata = ()) -> None:
        """See `StartedContext.refuse`."""
        self.trailing = trailing
        self._post(self._stream.fail, status, reason)

    def expect(self, within_s: float, late: Callable[[], object]) -> None:
        """See `StartedContext.expect`."""
        if not self.is_over:
            self.deadline_s, self.late = time.monotonic() + within_s, late

    def in_thread(self, work: Callable[[], None]) -> None:
        """See `StartedContext.in_thread`."""
        self._stream.connection.site.in_thread(work)

    # --- the messages of a stream, for handlers

    def messages(self) -> Iterator[Message]:
        """Yield what the client sends; CancelledError when the call is over."""
        while True:
            with self._changed:
                while not self._messages and not self._no_more and not self.is_over:
                    self._changed.wait()
                if self.is_over:
                    raise CancelledError
                if not self._messages:
                    return
                message = self._messages.popleft()
            self._post(self._stream.taken, len(message))
            yield message

    def send(self, message: bytes) -> None:
        """Send an answer; blocks while the client does not read. CancelledError: it is over."""
        with self._changed:
            while self._unsent > UNSENT_BYTES_MAX and not self.is_over:
                self._changed.wait()
            if self.is_over:
                raise CancelledError
            self._unsent += len(message)
        self._post(self._stream.send, message)

    def tell(self, message: bytes) -> None:
        """Send an answer of a handler that no thread runs; nothing where the call is over."""
        with self._changed:
            self._unsent += len(message)
        self._post(self._stream.send, message)

    # --- what the event loop asks and says

    def age_s(self) -> float:
        """Return for how long the call has been there, seconds."""
        return time.monotonic() - self._began_s

    def outcome(self) -> tuple[int, str]:
        """Return the status that the handler ended with, as it travels, and why."""
        if self.status in (None, grpc.StatusCode.OK):
            return 0, ""
        code: int = self.status.value[0]
        return code, self.reason

    def received(self, message: Message) -> None:
        """A message came."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def no_more(self) -> None:
        """The client has said all."""
        with self._changed:
            self._no_more = True
            self._changed.notify_all()

    def sent(self, count: int) -> None:
        """So many bytes of answers are on their way."""
        with self._changed:
            self._unsent -= count
            self._changed.notify_all()

    def end(self) -> None:
        """The call is over, however it went."""
        with self._changed:
            if self.is_over:
                return
            self.is_over, self.late = True, None
            callbacks, self._callbacks = self._callbacks, []
            self._messages.clear()
            self._changed.notify_all()
        for callback in callbacks:
            try:
                callback()
            except Exception:  # the others free places, too
                log.exception("callback_failed", path=self._head.path)
