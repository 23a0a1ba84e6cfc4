"""The data folder of an embedded platform: what is where, and that one platform owns it.

```
<data>/
  lock               held by the supervisor; its pid
  credentials.json   secrets, made once (0600)
  connections.json   customers' object storage, edited by people too (0600)
  uploads.json       the bucket for files that people upload in the console (0600)
  access/            the key that signs tokens, and its public half (0600)
  agents.json        agents on other machines that were given credentials (0600)
  ports.json         the ports of last time, preferred next time
  endpoints.json     where everything is, with the user's credentials (0600)
  processes.json     what runs now
  nats/  weed/       the servers' data
  services/<name>/   scratch space and SQLite files of each process
  logs/<name>.log    JSON lines of each process, rotated
```
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from loopline.embedded.errors import AlreadyRunning, DiskFull, PlatformError
from loopline.embedded.files import PRIVATE_FILE, private_folder

FREE_BYTES_MIN = 256 * 1024**2


@dataclass(frozen=True)
class DataFolder:
    """Paths below one data folder."""

    root: Path

    def prepare(self) -> None:
        """Make the folders, for their owner alone.

        Raises:
            PlatformError: The folder cannot be made or written.
            DiskFull: Less than 256 MiB are free.
        """
        try:
            for folder in (self.root, self.logs, self.services):
                private_folder(folder)
            free_bytes = shutil.disk_usage(self.root).free
        except OSError as error:
            raise PlatformError(f"the data folder {self.root} cannot be used: {error}") from error
        if free_bytes < FREE_BYTES_MIN:
            raise DiskFull(
                f"the disk of {self.root} has {free_bytes // 1024**2} MiB free; the platform needs "
                f"{FREE_BYTES_MIN // 1024**2} MiB to start: free some or choose another --data",
                path=str(self.root),
            )

    @property
    def logs(self) -> Path:
        """Where each process's log is."""
        return self.root / "logs"

    @property
    def services(self) -> Path:
        """Where each service process has its own folder."""
        return self.root / "services"

    @property
    def agents(self) -> Path:
        """Agents on other machines that were given credentials."""
        return self.root / "agents.json"

    @property
    def nats(self) -> Path:
        """nats-server's data."""
        return self.root / "nats"

    @property
    def weed(self) -> Path:
        """SeaweedFS's data."""
        return self.root / "weed"

    @property
    def lock(self) -> Path:
        """The file whose lock makes one process the owner."""
        return self.root / "lock"

    @property
    def credentials(self) -> Path:
        """Secrets of every user and identity."""
        return self.root / "credentials.json"

    @property
    def connections(self) -> Path:
        """Customers' object storage, by connection name."""
        return self.root / "connections.json"

    @property
    def uploads(self) -> Path:
        """The connection to the bucket of uploads."""
        return self.root / "uploads.json"

    @property
    def access(self) -> Path:
        """Keys of tokens."""
        return self.root / "access"

    @property
    def ports(self) -> Path:
        """The ports of last time."""
        return self.root / "ports.json"

    @property
    def endpoints(self) -> Path:
        """Where everything is."""
        return self.root / "endpoints.json"

    @property
    def processes(self) -> Path:
        """What runs now."""
        return self.root / "processes.json"

    def log(self, process: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{process}.log"


class FolderLock:
    """Ownership of a data folder: released by the kernel however its holder ends.

    nats-server has no lock of its own: two on one store would destroy it.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            AlreadyRunning: Another process has it; the message names its pid.
        """
        descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            pid = holder(self._folder)
            raise AlreadyRunning(
                f"a platform already runs on {self._folder.root} (pid {pid or 'unknown'}): "
                f"stop it with `loopline down --data {self._folder.root}`",
                pid=pid,
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the folder back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def holder(folder: DataFolder) -> int | None:
    """Return the pid of the process that owns a data folder; None if none does."""
    with contextlib.suppress(FileNotFoundError), folder.lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    return None
