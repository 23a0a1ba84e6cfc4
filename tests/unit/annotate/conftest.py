"""annotate over in-memory twins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.annotate.desk import Desk, running_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A running annotate, a dataset and predictions to make jobs of."""
    async with running_desk(tmp_path) as running:
        yield running
