"""docs/lineage.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from loopline.lineage.proof import BrokenLink
from loopline.store.projections import Projection
from services.lineage.adapters.http import GraphOut
from services.lineage.service import Lineage

PAGE = (Path(__file__).parents[3] / "docs" / "lineage.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_projection_of_the_page_is_one() -> None:
    (source,) = blocks("python")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(source, "docs/lineage.md", "exec"), names)
    assert issubclass(names["Models"], Projection)


def test_the_graph_of_the_page_is_what_the_api_answers() -> None:
    (text,) = blocks("json")
    assert GraphOut.model_validate(json.loads(text), strict=True).total == 31


def test_the_page_names_every_route(service: Lineage) -> None:
    said = {path.split("?")[0] for path in re.findall(r"GET (/v1/[^`\s?]*)", PAGE)}
    paths = {
        path.replace("{id}", "<id>").replace("{run_id}", "<run id>")
        for path in service.api().openapi()["paths"]
    }
    assert {p for p in paths if not p.endswith("downstream")} - {
        "/v1/runs/<run id>/openlineage"
    } <= said
    assert "/v1/runs/<run id>/openlineage" in PAGE


def test_the_page_names_every_link_that_can_break() -> None:
    doc = BrokenLink.__doc__ or ""
    for link in re.findall(r'"(\w+)"', doc.split("subject:")[0]):
        assert f"`{link}`" in PAGE
