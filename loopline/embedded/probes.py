"""Asking a process how it is, over HTTP.

Written out because an HTTP client would cost the supervisor 20 MB and a quarter of a second.
"""

from __future__ import annotations

import asyncio

TIMEOUT_S = 2.0
ANSWER_BYTES_MAX = 16_384
OK = 200


async def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and body of the answer; (0, "") if there is none in time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.read(ANSWER_BYTES_MAX)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return 0, ""
    status = head.split(maxsplit=2)[1]
    return int(status) if status.isdigit() else 0, body.decode(errors="replace")


async def answers_ready(host: str, port: int) -> bool:
    """Tell whether `GET /readyz` answers 200."""
    status, _ = await get(host, port, "/readyz")
    return status == OK
