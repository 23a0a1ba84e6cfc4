"""Who comes in, whatever the front: tokens, scopes, and how much one client may ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

from loopline.access import Caller, local_caller
from services.inference.domain.quota import Quotas

TOKEN_REMEMBERED_S: Final = 1.0
"""Checking a signature costs more than a small model; a token that is revoked is good for this long
at most."""
TOKENS_REMEMBERED: Final = 1_000
VISITORS_REMEMBERED: Final = 10_000


class Guard(Protocol):
    """Tells who shows a token."""

    def caller(self, authorization: str) -> Caller:
        """Return who shows an `Authorization` header; raises Unauthenticated."""
        ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and from where.

    Args:
        caller: What they may do.
        name: Who quotas are counted for.
        owner: Whose shared memory regions are theirs; "" where nobody shows a token.
        is_local: Whether they are on this machine.
    """

    caller: Caller
    name: str
    owner: str = ""
    is_local: bool = True

    def must_predict(self, model: str) -> None:
        """Raise Forbidden where they may not ask this model."""
        self.caller.require(f"predict:{model}")


ANYBODY: Final = Visitor(local_caller(), "local")
"""Who asks from within the process."""


class Gate:
    """Lets requests in.

    Args:
        guard: Tells who shows a token; None where no tokens are asked for.
        quotas: How much each client may ask.
        monotonic_s: The time, seconds.
    """

    def __init__(
        self, guard: Guard | None, quotas: Quotas, monotonic_s: Callable[[], float]
    ) -> None:
        self._guard = guard
        self.quotas = quotas
        self._monotonic_s = monotonic_s
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()
        self._visitors: dict[tuple[str, str], Visitor] = {}  # where nobody shows a token
        self._lock = threading.Lock()

    @contextmanager
    def enter(self, authorization: str, address: str, identity: str = "") -> Iterator[Visitor]:
        """Let a request in until the block ends.

        Args:
            authorization: What the client shows: "Bearer ...", or "".
            address: The address it calls from; "" for a socket of this machine.
            identity: What its certificate says, where it showed one.

        Raises:
            Unauthenticated: A token is needed, or the one shown is not good.
            QuotaExceeded: The client asks too much.
        """
        visitor = self.visitor(authorization, address, identity)
        self.quotas.enter(visitor.name)
        try:
            yield visitor
        finally:
            self.quotas.leave(visitor.name)

    def visitor(self, authorization: str, address: str, identity: str = "") -> Visitor:
        """Return who asks; Unauthenticated as `enter` says."""
        if self._guard is None:
            return self._visitors.get((address, identity)) or self._stranger(address, identity)
        is_local = _is_local(address)
        caller = self._caller(self._guard, authorization)
        owner = caller.token_id or f"{caller.kind}:{caller.name}"
        return Visitor(caller, f"{caller.kind}:{caller.name}", owner, is_local)

    def _stranger(self, address: str, identity: str) -> Visitor:
        name = identity or address or "local"
        visitor = Visitor(local_caller(), name, identity, _is_local(address))
        if len(self._visitors) >= VISITORS_REMEMBERED:
            self._visitors.clear()
        self._visitors[address, identity] = visitor
        return visitor

    def _caller(self, guard: Guard, authorization: str) -> Caller:
        now_s = self._monotonic_s()
        with self._lock:
            known = self._known.get(authorization)
            if known is not None and now_s < known[0]:
                return known[1]
        caller = guard.caller(authorization)
        with self._lock:
            self._known[authorization] = (now_s + TOKEN_REMEMBERED_S, caller)
            self._known.move_to_end(authorization)
            while len(self._known) > TOKENS_REMEMBERED:
                self._known.popitem(last=False)
        return caller


def _is_local(address: str) -> bool:
    if not address:
        return True
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
