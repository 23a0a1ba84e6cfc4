"""Installed recipes, and real images to train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopline.testing.products import Product, products
from tests.unit.trainer.workshop import CLASSES, ENTRY_POINTS, SOURCES, install


@pytest.fixture(scope="session")
def house_recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an installed package of recipes, as `pip install` leaves one."""
    return install(tmp_path_factory.mktemp("site"), SOURCES, ENTRY_POINTS)


@pytest.fixture
def with_house_recipes(house_recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the recipes installed for this process and for the training processes it starts."""
    monkeypatch.syspath_prepend(str(house_recipes))
    monkeypatch.setenv("PYTHONPATH", str(house_recipes))


@pytest.fixture(scope="session")
def small_catalogue() -> list[Product]:
    """24 + 16 real images of each of three classes that are easy to tell apart."""
    return products(24, 16, CLASSES)
