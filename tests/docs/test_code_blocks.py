"""What the pages show is what runs: their Python blocks, in order, as one program a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["docs/access.md", "docs/adding-a-service.md", "docs/evaluation.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_the_page_runs(page: str) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text())
    assert blocks
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)


ALL = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("page", ALL)
def test_every_link_within_the_project_leads_somewhere(page: str) -> None:
    path = ROOT / page
    for target, _ in LINK.findall(path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}, which is not there"
