"""Fixtures of several modules."""

from __future__ import annotations

from tests.integration.inference_platform import bus_server, platform

__all__ = ["bus_server", "platform"]
