"""Fixtures for every test: the real servers (loopline.testing.fixtures)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Servers and platforms are started from a process that uses gRPC; see loopline.embedded.command.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

pytest_plugins = ["loopline.testing.fixtures", "loopline.testing.postgres", "tests.chaos.fixtures"]

# How long an example takes says how busy the machine is, and is no test.
settings.register_profile("loopline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loopline")
