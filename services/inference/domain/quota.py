"""How much one client may ask: so many requests a second, so many at once.

A client is who its token says, or the address it calls from where there are no tokens.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from services.inference.domain.admission import Exhausted

CLIENTS_KEPT: Final = 10_000
"""Beyond this many, those that were idle longest are forgotten: their buckets are full by then."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What one client may do.

    Args:
        requests_per_s: Requests a second, in the long run; 0 for no limit.
        burst: Requests it may have saved up.
        concurrent: Requests inside at once; 0 for no limit.
    """

    requests_per_s: float = 0.0
    burst: int = 1_000
    concurrent: int = 256


class QuotaExceeded(Exhausted):
    """One client asks more than it may; the others are not touched.

    Args:
        message: As in `LooplineError`.
        retry_after_s: When it may ask again.
    """


@dataclass(slots=True)
class _Client:
    tokens: float
    filled_at_s: float
    inside: int = 0


class Quotas:
    """Counts what each client does. Thread-safe.

    Args:
        limits: What each may do.
        monotonic_s: The time, seconds.
    """

    def __init__(self, limits: QuotaLimits, monotonic_s: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic_s = monotonic_s
        self._clients: OrderedDict[str, _Client] = OrderedDict()  # idle longest first
        self._lock = threading.Lock()

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Count a request from its beginning to its end.

        Raises:
            QuotaExceeded: The client asks too much.
        """
        self.enter(client)
        try:
            yield
        finally:
            self.leave(client)

    def enter(self, client: str) -> None:
        """Count a request that begins; `leave` must follow.

        Raises:
            QuotaExceeded: The client asks too much.
        """
        with self._lock:
            state = self._state(client)
            limit = self._limits.concurrent
            if limit and state.inside >= limit:
                raise QuotaExceeded(
                    f"this client has {state.inside} requests inside: it may have {limit} at once"
                )
            self._spend(state)
            state.inside += 1

    def leave(self, client: str) -> None:
        """Count a request that ended."""
        with self._lock:
            self._clients[client].inside -= 1

    def inside(self, client: str) -> int:
        """Return how many requests of a client did not end yet."""
        with self._lock:
            state = self._clients.get(client)
            return state.inside if state is not None else 0

    def spend(self, client: str) -> None:
        """Count a request of a client that is inside already: one of its stream's.

        Raises:
            QuotaExceeded: The client asks too much.
        """
        with self._lock:
            self._spend(self._state(client))

    def __len__(self) -> int:
        """Return how many clients are known."""
        return len(self._clients)

    def _state(self, client: str) -> _Client:
        state = self._clients.get(client)
        if state is None:
            state = _Client(float(self._limits.burst), self._monotonic_s())
            self._clients[client] = state
            self._forget()
        self._clients.move_to_end(client)
        return state

    def _spend(self, state: _Client) -> None:
        rate = self._limits.requests_per_s
        if not rate:
            return
        now_s = self._monotonic_s()
        saved = state.tokens + (now_s - state.filled_at_s) * rate
        state.tokens, state.filled_at_s = min(saved, float(self._limits.burst)), now_s
        if state.tokens < 1.0:
            raise QuotaExceeded(
                f"this client may ask {rate:g} times a second; slow down",
                retry_after_s=(1.0 - state.tokens) / rate,
            )
        state.tokens -= 1.0

    def _forget(self) -> None:
        if len(self._clients) <= CLIENTS_KEPT:
            return
        for client, state in self._clients.items():
            if state.inside == 0:
                del self._clients[client]
                return
