"""Logs of child processes: each one's output as JSON lines in a file of bounded size.

A thread reads the pipes, not the event loop: a program that blocks its loop would otherwise block
every child at its next line of log.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from loopline.embedded.files import PRIVATE_FILE

FILE_BYTES_MAX = 8 * 1024**2
FILES_KEPT = 3  # rotated ones, beside the current one
READ_BYTES = 65_536
LINE_BYTES_MAX = 65_536
TAIL_BYTES = 8_192
LEVELS = {b"[WRN]": "warning", b"[ERR]": "error", b"[FTL]": "critical", b"[DBG]": "debug"}
"""How nats-server marks levels."""


class RotatingFile:
    """An append-only file that is rotated before it grows past a bound.

    Args:
        path: The current file; rotated ones get `.1`, `.2`, ...
        bytes_max: Its bound.
        kept: How many rotated files stay.
    """

    def __init__(
        self, path: Path, *, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT
    ) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._descriptor = self._open()

    def write(self, data: bytes) -> None:
        """Append; what a full disk refuses is lost, for logs must not stop the work."""
        with contextlib.suppress(OSError):
            if os.fstat(self._descriptor).st_size + len(data) > self._bytes_max:
                self._rotate()
            os.write(self._descriptor, data)

    def close(self) -> None:
        """Close the current file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                (newer if number > 1 else self._path).replace(older)
        current, self._descriptor = self._descriptor, self._open()
        os.close(current)


class LogPump:
    """A thread that moves what children print into their files.

    `open()` returns the descriptor a child writes to; the caller closes it once the child has it.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="log-pump", daemon=True)
        self._new: list[tuple[int, _Lines]] = []
        self._closing = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def open(self, name: str, path: Path) -> int:
        """Return a descriptor whose lines go to the file `path`."""
        read, write = os.pipe()
        lines = _Lines(name, RotatingFile(path))
        with self._lock:
            self._new.append((read, lines))
        os.write(self._wake_write, b"+")
        return write

    def stop(self) -> None:
        """Write what is left and end the thread; calling it again does nothing."""
        if self._closing or not self._thread.is_alive():
            return
        self._closing = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._selector.close()

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, READ_BYTES)
                    self._register()
                else:
                    self._move(key.fd, key.data)
        self._finish()

    def _finish(self) -> None:
        self._register()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                os.set_blocking(key.fd, False)
                with contextlib.suppress(BlockingIOError):
                    while data := os.read(key.fd, READ_BYTES):
                        key.data.feed(data)
                self._close(key.fd, key.data)

    def _register(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for descriptor, lines in new:
            self._selector.register(descriptor, selectors.EVENT_READ, lines)

    def _move(self, descriptor: int, lines: _Lines) -> None:
        data = os.read(descriptor, READ_BYTES)
        if data:
            lines.feed(data)
        else:
            self._close(descriptor, lines)

    def _close(self, descriptor: int, lines: _Lines) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        lines.close()


class _Lines:
    """Turns one child's bytes into JSON lines."""

    def __init__(self, name: str, file: RotatingFile) -> None:
        self._name = name
        self._file = file
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            whole.append(self._rest)
            self._rest = b""
        self._write(whole)

    def close(self) -> None:
        self._write([self._rest])
        self._file.close()

    def _write(self, lines: Iterable[bytes]) -> None:
        out = b"".join(json_line(self._name, line) for line in lines if line.strip())
        if out:
            self._file.write(out)


def json_line(name: str, line: bytes) -> bytes:
    """Return a line of log as JSON: as it is if it is JSON, else wrapped."""
    line = line.rstrip()
    if line.startswith(b"{") and line.endswith(b"}"):
        return line + b"\n"
    level = next((word for mark, word in LEVELS.items() if mark in line), "info")
    wrapped = {
        "event": line.decode(errors="replace"),
        "level": level,
        "service": name,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    return orjson.dumps(wrapped) + b"\n"


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, for an error message; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(_for_people(line) for line in text.splitlines()[-lines:])


def _for_people(line: str) -> str:
    """Return what a JSON line says, without what every line has."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    if not isinstance(said, dict):
        return line
    known = ("event", "msg", "timestamp", "ts", "level", "service", "exception")
    event = said.get("event") or said.get("msg") or ""
    keys = [f"{key}={value}" for key, value in said.items() if key not in known]
    return " ".join([str(event), *keys, *filter(None, [str(said.get("exception", ""))])])
