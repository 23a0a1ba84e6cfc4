"""The recipe that the page builds trains as the page says."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from loopline.testing.products import Product
from services.trainer.domain.job import REPORT, Describe, Trained
from services.trainer.train import Program
from tests.unit.trainer.workshop import install, write_job

PAGE = (Path(__file__).parents[3] / "docs" / "adding-a-recipe.md").read_text()
RECIPE, TRIAL = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[ENTRY_POINT] = re.findall(r'^(\w+) = "(house_recipes:\w+)"$', PAGE, re.MULTILINE)


def test_the_recipe_is_shorter_than_sixty_lines() -> None:
    assert len(RECIPE.splitlines()) < 60


def test_it_can_be_tried_without_a_platform() -> None:
    exec(compile(RECIPE + TRIAL, "docs/adding-a-recipe.md", "exec"), {"__name__": "page"})


def test_installed_it_trains_a_model(
    small_catalogue: list[Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, target = ENTRY_POINT
    site = tmp_path / "site"
    site.mkdir()
    # Under a name of its own: the other tests' recipes are in this process already.
    source = {"page_recipes": RECIPE}
    install(site, source, {name: target.replace("house_recipes", "page_recipes")})
    monkeypatch.syspath_prepend(str(site))
    reports = io.BytesIO()
    program = Program(reports)
    describe = Describe(recipe=name, parameters={"epochs": 6, "batch_size": 11, "focus": 1.5})
    for command in (describe, write_job(small_catalogue, tmp_path / "job")):
        program.handle(command.model_dump_json().encode())
    last = REPORT.validate_json(reports.getvalue().splitlines()[-1])
    assert isinstance(last, Trained)
    assert last.metrics["accuracy"] > 0.5  # of three classes, in 36 steps
