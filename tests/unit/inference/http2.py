"""As much of HTTP/2 as a rude client needs: one that asks and never reads.

gRPC's own clients read whatever comes, so they cannot be rude.
"""

from __future__ import annotations

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


class RudeClient:
    """Calls ModelInfer over and over, and gives the server no room to answer in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, window))
        self._stream = 1

    def ask(self, request: bytes) -> None:
        """Send one call."""
        message = b"\0" + struct.pack(">I", len(request)) + request
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/inference.GRPCInferenceService/ModelInfer",
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(literal(name, value) for name, value in fields.items())
        head = frame(HEADERS, END_HEADERS, self._stream, block)
        self._socket.sendall(head + frame(DATA, END_STREAM, self._stream, message))
        self._stream += 2

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header field that is not indexed (RFC 7541, 6.2.2), with short name and value."""
    assert len(name) < 127
    assert len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
