"""What the panel of a node offers: each by a click, and what comes of it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from loopline.client.sync import Loopline
from tests.browser.conftest import Open
from tests.browser.scene import DATA, TRACE_URL, Scene, eventually, in_sight
from tests.browser.test_pages import serious

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]

EPOCHS_WITHOUT_END = 1_000
RUN_MS = 90_000


def panel_of(page: Page, scene: Scene, node: str) -> Locator:
    """Open a node's panel by its address."""
    page.goto(f"{scene.console}/workflow?node={quote(node, safe='')}")
    panel = page.get_by_label("About the selected node")
    expect(panel.locator(".side-actions")).to_be_visible()
    return panel


def press(page: Page, panel: Locator, action: str, confirm: bool = True) -> None:
    """Choose what a panel offers, and say yes where it asks."""
    panel.get_by_role("button", name=action, exact=True).click()
    if confirm:
        page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)


def runs_of(scene: Scene, kind: str, words: str) -> list[dict[str, Any]]:
    """Return the runs of a kind that say something, the last one first."""
    runs = scene.ask("GET", f"/api/runs?kinds={kind}&limit=100")["runs"]
    return [run for run in runs if words in f"{run['title']} {run['message']}"]


def train(scene: Scene, model: str, epochs: int) -> None:
    """Ask for a training on the photos."""
    asked = {"model": model, "dataset": "shop", "dataset_version": 1}
    scene.ask("POST", "/api/models/train", {**asked, "parameters": {"epochs": epochs}})


def test_versions_of_a_dataset_are_compared_and_restored(scene: Scene, open_as: Open) -> None:
    images = sorted((DATA / "nuclei").rglob("*.png"))[:3]
    scene.bring("turned", {image.name: image.read_bytes() for image in images[:2]})
    scene.bring("turned", {images[2].name: images[2].read_bytes()})
    page = open_as("admin", "/workflow")
    panel = panel_of(page, scene, "dataset:turned@2")
    press(page, panel, "Compare with v1", confirm=False)
    expect(page).to_have_url(re.compile(r"/datasets/turned\?tab=diff&a=1&b=2"))
    expect(page.get_by_role("button", name="added 1")).to_be_visible()
    panel = panel_of(page, scene, "dataset:turned@1")
    press(page, panel, "Open", confirm=False)
    expect(page).to_have_url(re.compile("/datasets/turned/1$"))
    expect(page.locator("button.item")).to_have_count(2)
    panel = panel_of(page, scene, "dataset:turned@1")
    press(page, panel, "Restore v1")
    expect(page.get_by_text("A new version has these items")).to_be_visible()
    expect(panel.get_by_role("button", name="Restore v1")).to_be_visible()
    versions = scene.ask("GET", "/api/datasets/turned/versions")["versions"]
    assert [one["items"] for one in versions] == [2, 3, 2]


def test_a_model_is_trained_again_reproduced_compared_promoted_and_measured(
    scene: Scene, open_as: Open, axe: str
) -> None:
    for epochs in (1, 2):
        train(scene, "again", epochs)
        eventually(lambda: scene.versions("models", "again") == epochs)  # noqa: B023
    page = open_as("admin", "/workflow")
    panel = panel_of(page, scene, "model:again@1")
    press(page, panel, "Run again")  # equal inputs, parameters and code: the same, recognised
    same = page.get_by_text("Nothing is different since: again v1 is what it makes")
    expect(same).to_be_visible(timeout=RUN_MS)
    assert scene.versions("models", "again") == 2
    press(page, panel, "Reproduce")
    [reproduction] = eventually(
        lambda: [run for run in runs_of(scene, "reproduce", "again") if run["state"] == "completed"]
    )
    assert reproduction["actor"]["name"] == "admin"

    panel = panel_of(page, scene, "model:again@2")
    press(page, panel, "Compare with v1", confirm=False)
    expect(page).to_have_url(re.compile(r"/models/again\?tab=compare&a=1&b=2"))
    expect(page.get_by_role("heading", name="Figures")).to_be_visible()
    assert serious(page, axe) == []
    for version in (1, 2):
        panel = panel_of(page, scene, f"model:again@{version}")
        press(page, panel, "Promote to champion")
        expect(panel.get_by_text("champion", exact=True)).to_be_visible()
    expect(in_sight(page, "model:again@2")).to_contain_text("champion")

    page.goto(f"{scene.console}/models/again/2?tab=evaluation")
    page.get_by_role("button", name="Measure").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Split").select_option("train")
    dialog.get_by_role("button", name="Measure").click()
    expect(page.get_by_label("Evaluation", exact=True)).to_contain_text("train", timeout=RUN_MS)

    page.goto(f"{scene.console}/models/again?tab=aliases")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("champion is v1 again")).to_be_visible()
    [again] = [one for one in scene.ask("GET", "/api/models")["models"] if one["name"] == "again"]
    assert again["aliases"] == {"champion": 1}

    with Loopline.connect(scene.data_dir) as loopline:
        loopline.model.rollout("again@v2", canary=0.1)
    page.reload()
    expect(page.get_by_text("v2: 10.0% of requests")).to_be_visible()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("champion is v1 alone")).to_be_visible()
    with Loopline.connect(scene.data_dir) as loopline:
        loopline.model.rollout("again@v2", canary=0.1)
    page.reload()
    page.get_by_role("table").get_by_role("button", name="Promote v2").click()
    assert serious(page, axe) == []
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_text("champion is again v2")).to_be_visible()


def test_a_run_is_stopped_and_asked_for_again_on_the_graph(scene: Scene, open_as: Open) -> None:
    train(scene, "endless", EPOCHS_WITHOUT_END)
    page = open_as("admin", "/workflow")
    page.get_by_role("button", name=re.compile("^Runs")).click()  # hidden at first
    [first] = eventually(
        lambda: [run for run in runs_of(scene, "train", "endless") if run["state"] == "running"]
    )
    page.keyboard.press("/")
    page.keyboard.type(first["id"])
    page.keyboard.press("Enter")
    panel = page.get_by_label("About the selected node")
    expect(panel.get_by_text("running", exact=True).first).to_be_visible()
    press(page, panel, "Stop")
    expect(panel.get_by_text("cancelled", exact=True).first).to_be_visible(timeout=RUN_MS)
    press(page, panel, "Run again", confirm=False)
    expect(page.get_by_text("Train has begun")).to_be_visible(timeout=RUN_MS)
    expect(panel.get_by_text("running", exact=True).first).to_be_visible()
    press(page, panel, "Open", confirm=False)
    expect(page).to_have_url(re.compile(rf"/live\?run={first['id']}"))
    expect(page.get_by_role("heading", name=re.compile("endless"))).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    detail = page.locator(".live-detail header")
    expect(detail.get_by_text("cancelled", exact=True)).to_be_visible(timeout=RUN_MS)
    assert scene.versions("models", "endless") == 0


def test_a_node_leads_to_its_log_its_trace_and_its_files(scene: Scene, open_as: Open) -> None:
    page = open_as("admin", "/workflow")
    panel = panel_of(page, scene, "model:shop@1")
    run = scene.ask("GET", "/api/workflow/nodes/model:shop@1")["run"]
    trace = panel.get_by_role("link", name="Trace")
    expect(trace).to_have_attribute("href", TRACE_URL.format(trace_id=run["trace_id"]))
    with page.expect_download() as download:
        panel.get_by_role("link", name=re.compile("onnx")).click()
    files = scene.ask("GET", "/api/models/shop/versions/1")["files"]
    name = download.value.suggested_filename
    [size] = [one["size_bytes"] for one in files if name.endswith(one["name"])]
    assert download.value.path().stat().st_size == size
    panel.get_by_role("link", name="Log").click()
    expect(page).to_have_url(re.compile(rf"/live\?run={run['id']}"))
    page.get_by_text(re.compile(r"^Log \(\d+\)")).click()
    expect(page.locator(".log-lines li").first).to_be_visible()
    expect(page.locator(".log-lines")).to_contain_text("trainer")


def test_who_may_only_look_is_offered_no_change(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/workflow")
    panel = panel_of(page, scene, "model:shop@1")
    expect(panel.locator(".side-actions").get_by_role("button")).to_have_text(["Open"])
    expect(panel.get_by_role("link", name="Trace")).to_be_visible()
    expect(panel.get_by_role("link", name="Log")).to_have_count(0)  # an operator's
