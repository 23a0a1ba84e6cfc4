"""Fixtures for every test: the real servers (loopline.testing.fixtures)."""

from __future__ import annotations

import os

# Servers and platforms are started from a process that uses gRPC; see loopline.embedded.command.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

pytest_plugins = ["loopline.testing.fixtures", "loopline.testing.postgres", "tests.chaos.fixtures"]
