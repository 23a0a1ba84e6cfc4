"""Fixtures of ingest's unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.ingest.shop import Shop, open_shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """An ingest over an empty bucket."""
    opened = await open_shop()
    yield opened
    await opened.service.stop()
