"""A pytest plugin: real servers, started once a session.

Use it with `pytest_plugins = ["loopline.testing.fixtures"]` or `-p loopline.testing.fixtures`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from minio.error import S3Error

from loopline.embedded.nats import NatsUser
from loopline.testing.servers import (
    NatsTestServer,
    PlatformServers,
    S3TestServer,
    start_nats,
    start_s3,
)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsTestServer]:
    """A nats-server that everybody may use: `.url`, `.process.kill()`, `.process.restart()`."""
    server = start_nats(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.fixture
def nats_server_with(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., NatsTestServer]]:
    """Start a nats-server of the test's own, with users: `nats_server_with(NatsUser(...), ...)`."""
    started: list[NatsTestServer] = []

    def start(*users: NatsUser) -> NatsTestServer:
        started.append(start_nats(tmp_path_factory.mktemp("nats"), users))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3TestServer]:
    """A SeaweedFS: `.endpoint`, `.access_key`, `.secret_key`."""
    server = start_s3(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: S3TestServer) -> Iterator[str]:
    """The name of an empty bucket of the test's own."""
    bucket = s3_server.create_bucket()
    yield bucket
    with contextlib.suppress(S3Error):
        s3_server.remove_bucket(bucket)


@pytest.fixture(scope="session")
def platform_servers(nats_server: NatsTestServer, s3_server: S3TestServer) -> PlatformServers:
    """Both servers: `.nats` and `.s3`."""
    return PlatformServers(nats=nats_server, s3=s3_server)
