"""Free loopback ports.

Ports are taken from below the kernel's range for outgoing connections (32768 and up on Linux): a
port of that range can be lost to any client's socket between the choice and the server's bind, or
while a server that must come back on its port restarts.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from loopline.embedded.errors import PlatformError

FIRST_PORT = 10_240
LAST_PORT = 32_000
ATTEMPTS_MAX = 400


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT is free to listen on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(
    preferred: Mapping[str, int], *, host: str = "127.0.0.1", taken: Iterable[int] = ()
) -> dict[str, int]:
    """Choose a port per name: the preferred one if it is free, else any free one.

    Args:
        preferred: Name to the port to prefer; 0 prefers none.
        host: The address to listen on.
        taken: Ports not to give out even if nothing listens on them yet.

    Raises:
        PlatformError: No free port was found.
    """
    given = set(taken)
    chosen: dict[str, int] = {}
    for name, port in preferred.items():
        wanted = port and port not in given and is_free(port, host)
        chosen[name] = port if wanted else _any_free(given, host)
        given.add(chosen[name])
    return chosen


def choose_pair(
    preferred: int, offset: int, *, host: str = "127.0.0.1", taken: Iterable[int] = ()
) -> tuple[int, int]:
    """Choose two ports that are `offset` apart, for servers that compute one from the other.

    Raises:
        PlatformError: No such pair was found.
    """
    given = set(taken)
    for attempt in range(ATTEMPTS_MAX):
        port = preferred if preferred and attempt == 0 else _random_port(LAST_PORT - offset)
        pair = (port, port + offset)
        if not given.intersection(pair) and all(is_free(each, host) for each in pair):
            return pair
    raise PlatformError(f"no two free ports {offset} apart on {host}", host=host)


def _any_free(given: set[int], host: str) -> int:
    for _ in range(ATTEMPTS_MAX):
        port = _random_port(LAST_PORT)
        if port not in given and is_free(port, host):
            return port
    raise PlatformError(f"no free port between {FIRST_PORT} and {LAST_PORT} on {host}", host=host)


def _random_port(below: int) -> int:
    return random.randrange(FIRST_PORT, below)
