"""Fixtures for every test: the real servers (loopline.testing.fixtures)."""

from __future__ import annotations

pytest_plugins = ["loopline.testing.fixtures", "loopline.testing.postgres", "tests.chaos.fixtures"]
