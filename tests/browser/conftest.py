"""A real Chromium over a platform that `loopline up` started."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Error,
    Page,
    Request,
    sync_playwright,
)

from tests.browser.scene import Scene, running

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu")
TIMEOUT_MS = 15_000
VIEWPORT: Any = {"width": 1280, "height": 720}
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform with photos, a model and its predictions."""
    with running(tmp_path_factory.mktemp("browser") / "data") as made:
        yield made


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A Chromium: the system's, or the one that playwright installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_as(scene: Scene, chromium: Browser) -> Iterator[Open]:
    """Opens pages as a person, each in a browser of its own; fails on a fault in any of them."""
    contexts: list[BrowserContext] = []
    trouble: list[str] = []

    def fault(error: Error) -> None:
        trouble.append(str(error))

    def asked(request: Request) -> None:
        if not request.url.startswith((scene.console, "blob:", "data:")):
            trouble.append(f"asked another host: {request.url}")

    def open_page(person: str, path: str, **options: Any) -> Page:
        context = chromium.new_context(viewport=VIEWPORT, **options)
        contexts.append(context)
        if person:
            context.add_cookies(scene.states[person]["cookies"])
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", fault)
        page.on("request", asked)
        page.goto(scene.console + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble, trouble


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker's program."""
    ui = Path(__file__).parents[2] / "services" / "console" / "ui"
    return (ui / "node_modules" / "axe-core" / "axe.min.js").read_text()
