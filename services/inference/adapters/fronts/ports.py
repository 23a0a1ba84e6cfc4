"""The port of a front."""

from __future__ import annotations

import socket

from loopline.errors import LooplineError


def bound(what: str, host: str, port: int) -> socket.socket:
    """Return a socket that has a port; nobody else gets it, and nothing listens there yet.

    Args:
        what: Who listens, for the error.
        host: The address.
        port: The port; 0 lets the system choose.

    Raises:
        LooplineError: It is taken.
    """
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise LooplineError(f"{what} cannot listen on {host}:{port}: {error}") from error
    return found
