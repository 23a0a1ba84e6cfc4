"""What can go wrong when servers are started on this machine."""

from __future__ import annotations

from loopline.errors import LooplineError


class PlatformError(LooplineError):
    """The embedded platform cannot start or go on; the message says what to do."""


class AlreadyRunning(PlatformError):
    """Another process holds the data folder."""


class MissingBinary(PlatformError):
    """A server's program is not installed."""


class DiskFull(PlatformError):
    """The data folder has too little free space to start on."""


class NotReady(PlatformError):
    """A process did not become ready within its time."""
