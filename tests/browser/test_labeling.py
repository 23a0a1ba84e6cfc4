"""A labeler's and a reviewer's day, by keyboard first; accidents on the way."""

from __future__ import annotations

import json
import re
import statistics
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.scene import Scene, eventually
from tests.browser.test_pages import serious

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]

IMAGES = 100
DRAWN_P95_MS = 150
STAGE = ".label-stage"


def shown(page: Page) -> str:
    """Return the asset that is drawn."""
    return page.locator(STAGE).get_attribute("data-asset") or ""


def wait_for_next(page: Page, before: str) -> None:
    """Wait until another image is drawn."""
    page.wait_for_function(
        "before => document.querySelector('.label-stage')?.dataset.asset !== before", arg=before
    )


def wait_drawn(page: Page) -> None:
    """Wait until an image is drawn."""
    page.wait_for_selector(f"{STAGE}[data-asset]")


def saved(page: Page) -> None:
    """Wait until the server has everything."""
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the image; places are shares of the stage."""
    box = page.locator(STAGE).bounding_box()
    assert box
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=4)
    page.mouse.up()


def box_after(page: Page, key: str) -> list[float]:
    """Press a key, and return the first box of the draft that is kept then."""
    with page.expect_response(re.compile("/draft")) as kept:
        page.keyboard.press(key)
    box: list[float] = json.loads(kept.value.request.post_data or "")["shapes"][0]["bbox_xyxy"]
    return box


def items_of(scene: Scene, job: str) -> dict[str, Any]:
    """Return a job's items by asset."""
    items = scene.ask("GET", f"/api/jobs/{job}/items?limit=1000")["items"]
    return {item["asset"]: item for item in items}


def test_a_hundred_images_by_keyboard_alone(scene: Scene, open_as: Open) -> None:
    scene.open_job("speed", limit=IMAGES + 10)
    page = open_as("ada", "/label")
    row = page.get_by_role("row", name=re.compile("speed"))
    row.get_by_role("link", name="Label", exact=True).focus()
    page.keyboard.press("Enter")
    wait_drawn(page)
    said: dict[str, str] = {}
    for at in range(IMAGES):
        asset = shown(page)
        if at % 5 == 0:  # the model was wrong here
            page.keyboard.press("3")
            said[asset] = page.locator(".class-item[aria-pressed=true] .name").inner_text()
        else:
            said[asset] = page.locator(".image-label").inner_text().split("\n")[0]
        page.keyboard.press("Enter")
        wait_for_next(page, asset)
    times = page.evaluate(
        "performance.getEntriesByName('loopline:submit-to-drawn').map(({duration}) => duration)"
    )
    assert len(times) == IMAGES
    p95_ms = statistics.quantiles(times, n=20)[-1]
    assert p95_ms < DRAWN_P95_MS, f"p95 {p95_ms:.0f} ms"
    saved(page)
    items = items_of(scene, "speed")
    assert len(said) == IMAGES
    for asset, class_name in said.items():
        labels = items[asset]["labels"]
        assert [shape["class_name"] for shape in labels["shapes"]] == [class_name]
        assert labels["labeler"] == "ada"
        assert labels["shapes"][0]["edited_from"]  # the prediction it confirms or mends
    scene.ask("POST", "/api/jobs/speed/stop", {"keep_labels": False})


def test_a_day_of_labeling_and_review(scene: Scene, open_as: Open, axe: str) -> None:
    scene.open_job(
        "boxes", dataset="nuclei", where="", limit=2, predictions="", review=True,
        start_empty=True,
        shapes=["box", "polygon", "mask"],
    )  # fmt: skip
    page = open_as("ada", "/label/boxes")
    wait_drawn(page)
    assert serious(page, axe) == []
    first = shown(page)
    page.keyboard.press("b")
    drag(page, (0.4, 0.4), (0.5, 0.5))
    drag(page, (0.55, 0.55), (0.65, 0.6))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+d")
    page.keyboard.press("Delete")
    page.keyboard.press("m")
    drag(page, (0.45, 0.7), (0.55, 0.7))
    shapes = page.locator(".shape-item")
    expect(shapes).to_have_count(3)
    page.keyboard.press("v")
    page.keyboard.press("Alt+ArrowRight")
    page.get_by_label("Add a tag").fill("blurred")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    wait_for_next(page, first)
    page.keyboard.press("c")  # the shapes of the image before
    expect(shapes).to_have_count(3)
    page.get_by_role("button", name=re.compile("Submit 3 labels")).click()
    expect(page.get_by_text("Nothing is left for you here")).to_be_visible()
    saved(page)
    item = items_of(scene, "boxes")[first]
    kinds = sorted("box" if one["bbox_xyxy"] else "mask" for one in item["labels"]["shapes"])
    assert kinds == ["box", "box", "mask"]
    assert item["labels"]["tags"] == ["blurred"]

    review = open_as("rhea", "/label/boxes?for=review")
    wait_drawn(review)
    sent_back = shown(review)
    expect(review.locator(".shape-item")).to_have_count(3)
    review.keyboard.press("Shift+Enter")
    review.keyboard.type("The second one is too large.")
    review.keyboard.press("Enter")
    wait_for_next(review, sent_back)
    review.keyboard.press("Enter")
    expect(review.get_by_text("Nothing is left for you here")).to_be_visible()
    saved(review)

    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("note")).to_contain_text("The second one is too large.")
    page.keyboard.press("Tab")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    saved(page)
    review.get_by_role("button", name="Look again").click()
    expect(review.locator(".shape-item")).to_have_count(2)
    review.keyboard.press("Enter")
    eventually(lambda: scene.ask("GET", "/api/jobs/boxes")["state"] == "completed")


def test_an_operator_opens_a_job_by_clicking(scene: Scene, open_as: Open, axe: str) -> None:
    page = open_as("admin", "/label")
    page.get_by_role("button", name="New job").first.click()
    dialog = page.get_by_role("dialog", name="New labeling job")
    dialog.get_by_label("Dataset").select_option("shop")
    begin = dialog.get_by_role("button", name="Open the job")
    dialog.get_by_label("Name").fill("By hand")
    expect(dialog.get_by_text("Use 1 to 63 of a-z")).to_be_visible()
    expect(begin).to_be_disabled()
    dialog.get_by_label("Name").fill("by-hand")
    dialog.get_by_label("Whole image").check()
    dialog.get_by_text("People and time").click()
    labelers = dialog.get_by_role("group", name="Labelers")
    labelers.get_by_role("checkbox", name="ada").check()
    dialog.get_by_label("Labelers for each image").fill("2")
    begin.click()
    expect(dialog.get_by_role("alert")).to_contain_text("2 labelers an item, and only 1 labelers")
    labelers.get_by_role("checkbox", name="admin").check()
    dialog.get_by_text("Help from a model").click()
    dialog.get_by_label("Start from").select_option("Ask shop@champion now")
    dialog.get_by_label("From which confidence on").fill("0")
    assert serious(page, axe) == []
    begin.click()
    expect(page).to_have_url(re.compile("/label/by-hand$"), timeout=60_000)
    wait_drawn(page)
    expect(page.locator(".image-label")).to_be_visible()  # what the model said, asked beforehand
    job = scene.ask("GET", "/api/jobs/by-hand")
    [shop] = [
        each for each in scene.ask("GET", "/api/datasets")["datasets"] if each["name"] == "shop"
    ]
    unlabeled = shop["head"]["items"] - shop["head"]["labeled"]  # a job before it may have ended
    assert (job["items"], job["where"]) == (unlabeled, "!item.labeled")
    assert (sorted(job["labelers"]), job["labelers_per_item"]) == (["ada", "admin"], 2)
    assert (job["shapes"], len(job["classes"])) == (["whole_image"], 10)

    page.goto(f"{scene.console}/label")
    page.get_by_role("button", name="Change by-hand").click()
    page.get_by_label("Priority").fill("7")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("by-hand"))).to_contain_text("priority 7")
    scene.ask("POST", "/api/jobs/by-hand/stop", {"keep_labels": False})


def test_a_job_is_changed_stopped_and_reopened_and_its_history_tells_so(
    scene: Scene, open_as: Open
) -> None:
    scene.open_job("retold", limit=2)
    page = open_as("admin", "/label")
    row = page.get_by_role("row", name=re.compile("retold"))
    for moment, shown in (("2031-02-03T04:05", "due Feb 3"), ("", None)):
        page.get_by_role("button", name="Change retold").click()
        page.get_by_role("dialog").get_by_label("Deadline").fill(moment)
        page.get_by_role("dialog").get_by_role("button", name="Change", exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        if shown:
            expect(row).to_contain_text(shown)
    expect(row).not_to_contain_text("due")
    assert scene.ask("GET", "/api/jobs/retold")["deadline"] is None
    row.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the job").click()
    page.get_by_role("group", name="Which jobs").get_by_role("button", name="Over").click()
    row.get_by_role("button", name="Reopen").click()
    page.get_by_role("dialog").get_by_role("button", name="Reopen").click()
    page.get_by_role("group", name="Which jobs").get_by_role("button", name="Open").click()
    page.get_by_role("button", name="History of retold").click()
    told = page.get_by_role("dialog").get_by_role("row")
    expect(told).to_have_count(5)  # the last first
    expect(told.nth(0)).to_contain_text("reopened")
    expect(told.nth(1)).to_contain_text("stopped")
    expect(told.nth(2)).to_contain_text("changed by admin: deadline")
    expect(told.nth(4)).to_contain_text("in progress")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    scene.ask("POST", "/api/jobs/retold/stop", {"keep_labels": False})


def test_two_people_never_work_on_one_image(scene: Scene, open_as: Open) -> None:
    scene.open_job("together", limit=12)
    pages = [open_as(person, "/label/together") for person in ("ada", "grace")]
    for page in pages:
        wait_drawn(page)
    seen: list[str] = []
    for _ in range(6):
        for page in pages:
            if page.get_by_text("Nothing is left for you here").count():
                continue
            asset = shown(page)
            seen.append(asset)
            page.keyboard.press("Enter")
            page.wait_for_function(
                "before => document.querySelector('.label-stage')?.dataset.asset !== before"
                " || document.querySelector('.state h2')",
                arg=asset,
            )
    for page in pages:
        saved(page)
    assert len(seen) == len(set(seen))
    assert scene.done("together") == len(seen)


@pytest.mark.parametrize("service", ["annotate", "console"])
def test_nothing_is_lost_when_a_service_is_killed(
    scene: Scene, open_as: Open, service: str
) -> None:
    job = f"accident-{service}"
    scene.open_job(job, limit=8)
    page = open_as("ada", f"/label/{job}")
    wait_drawn(page)
    scene.kill(service)
    for _ in range(3):  # they are there already: work goes on meanwhile
        before = shown(page)
        page.keyboard.press("Enter")
        wait_for_next(page, before)
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible(timeout=60_000)
    assert scene.done(job) == 3
    scene.ask("POST", f"/api/jobs/{job}/stop", {"keep_labels": False})


def test_a_draft_survives_a_closed_tab_and_another_browser(scene: Scene, open_as: Open) -> None:
    scene.open_job(
        "drafts", dataset="nuclei", where="", limit=1, predictions="", shapes=["box"],
        start_empty=True,
    )  # fmt: skip
    page = open_as("ada", "/label/drafts")
    wait_drawn(page)
    page.keyboard.press("b")
    drag(page, (0.4, 0.4), (0.5, 0.5))
    with page.expect_response(re.compile("/draft")):
        pass
    page.reload()
    wait_drawn(page)
    expect(page.locator(".shape-item")).to_have_count(1)
    elsewhere = open_as("ada", "/label/drafts")
    wait_drawn(elsewhere)
    expect(elsewhere.locator(".shape-item")).to_have_count(1)
    scene.ask("POST", "/api/jobs/drafts/stop", {"keep_labels": False})


def test_predictions_are_decided_on_one_by_one_or_all(scene: Scene, open_as: Open) -> None:
    scene.open_job("deciding", limit=3)
    page = open_as("ada", "/label/deciding")
    wait_drawn(page)
    first = shown(page)
    expect(page.locator(".image-label.undecided")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator(".image-label.undecided")).to_have_count(0)
    page.keyboard.press("Enter")
    wait_for_next(page, first)
    second = shown(page)
    page.keyboard.press("Shift+d")
    expect(page.get_by_role("button", name=re.compile("Submit as empty"))).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_for_next(page, second)
    saved(page)
    items = items_of(scene, "deciding")
    assert items[first]["labels"]["shapes"][0]["edited_from"]
    assert len(items[second]["labels"]["shapes"]) == 1
    scene.ask("POST", "/api/jobs/deciding/stop", {"keep_labels": False})


def test_shapes_are_hidden_locked_and_nudged_and_the_view_is_ones_own(
    scene: Scene, open_as: Open
) -> None:
    scene.open_job(
        "own-view", dataset="nuclei", where="", limit=2, predictions="", shapes=["box", "mask"],
        start_empty=True,
    )  # fmt: skip
    page = open_as("ada", "/label/own-view")
    wait_drawn(page)
    first = shown(page)
    page.keyboard.press("b")
    with page.expect_response(re.compile("/draft")):
        drag(page, (0.4, 0.4), (0.5, 0.5))
    row = page.locator(".shape-item")
    right, down = (box_after(page, key) for key in ("Alt+ArrowRight", "Alt+ArrowDown"))
    assert [round(b - a, 6) for a, b in zip(right, down, strict=True)] == [0, 1, 0, 1]
    page.keyboard.press("l")
    expect(row.get_by_role("button", name=re.compile("^Unlock"))).to_be_visible()
    page.keyboard.press("Delete")
    expect(row).to_have_count(1)  # what is locked stays
    page.keyboard.press("l")
    page.keyboard.press("i")
    expect(row.get_by_role("button", name=re.compile("^Show"))).to_be_visible()
    page.keyboard.press("i")
    page.keyboard.press("Shift+i")
    expect(page.get_by_role("button", name="Show every shape")).to_be_visible()
    page.keyboard.press("Shift+i")
    page.keyboard.press("m")
    brush = page.get_by_role("slider", name="Brush")
    before = float(brush.input_value())
    page.keyboard.press("]")
    assert float(brush.input_value()) > before
    zoom = page.locator(".label-over.bottom")
    fitted = zoom.inner_text()
    page.keyboard.press("+")
    expect(zoom).not_to_have_text(fitted)
    page.keyboard.press("0")
    expect(zoom).to_contain_text("100%")
    page.keyboard.press("f")
    expect(zoom).to_have_text(fitted, use_inner_text=True)
    page.keyboard.press("ArrowRight")
    wait_for_next(page, first)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f'{STAGE}[data-asset="{first}"]')
    expect(row).to_have_count(1)
    page.keyboard.press("x")  # somebody else's
    wait_for_next(page, first)
    eventually(lambda: items_of(scene, "own-view")[first]["state"] == "queued")
    page.get_by_role("slider", name="Brightness").fill("1.5")
    expect(page.get_by_role("button", name="Reset")).to_be_visible()
    scene.ask("POST", "/api/jobs/own-view/stop", {"keep_labels": False})


def test_a_box_becomes_a_mask(scene: Scene, open_as: Open) -> None:
    nuclei = {"dataset": "nuclei", "where": "", "predictions": "", "shapes": ["mask"]}
    scene.open_job("smart", limit=1, start_empty=True, **nuclei)
    page = open_as("ada", "/label/smart")
    wait_drawn(page)
    page.keyboard.press("s")
    page.get_by_label("What cuts out").select_option("otsu")
    drag(page, (0.4, 0.35), (0.6, 0.65))
    expect(page.locator(".shape-item")).to_contain_text("mask")
    scene.ask("POST", "/api/jobs/smart/stop", {"keep_labels": False})


def test_what_the_dataset_says_already_is_there_to_correct(scene: Scene, open_as: Open) -> None:
    nuclei = {"dataset": "nuclei@v1", "where": "item.labeled", "predictions": "", "shapes": []}
    scene.open_job("correcting", limit=1, **nuclei)
    page = open_as("ada", "/label/correcting")
    wait_drawn(page)
    asset = shown(page)
    before = items_of(scene, "correcting")[asset]["existing"]
    assert len(before) > 2
    rows = page.locator(".shape-item")
    expect(rows).to_have_count(len(before))
    expect(rows.filter(has_text="kept")).to_have_count(len(before))
    page.keyboard.press("Tab")
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    page.keyboard.press("Alt+ArrowLeft")
    expect(rows).to_have_count(len(before) - 1)
    expect(rows.filter(has_text="kept")).to_have_count(len(before) - 2)
    page.reload()
    wait_drawn(page)
    expect(rows.filter(has_text="kept")).to_have_count(len(before) - 2)
    page.keyboard.press("Enter")
    eventually(lambda: scene.done("correcting") == 1)
    after = {s["id"]: s for s in items_of(scene, "correcting")[asset]["labels"]["shapes"]}
    known = {shape["id"]: shape for shape in before}
    assert len(after) == len(before) - 1
    [edited] = [shape for id_, shape in after.items() if shape != known[id_]]
    assert (edited["edited_from"], edited["source"]) == (edited["id"], "labeler:ada")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("purpose", ["label", "review"])
def test_labeling_and_review_stand_in_nobodys_way(
    scene: Scene, open_as: Open, axe: str, theme: str, purpose: str
) -> None:
    job = f"seen-{purpose}-{theme}"
    scene.open_job(job, dataset="nuclei@v1", where="", limit=1, predictions="", review=True)
    [asset] = items_of(scene, job)
    if purpose == "review":
        labels = {"shapes": [], "tags": ["blurred"]}
        scene.ask("POST", f"/api/jobs/{job}/items/{asset}/labels", labels)
    page = open_as("rhea", f"/label/{job}?for={purpose}", color_scheme=theme)
    wait_drawn(page)
    assert serious(page, axe) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page, axe) == []
    scene.ask("POST", f"/api/jobs/{job}/stop", {"keep_labels": False})


def test_keys_are_shown_and_can_be_changed(scene: Scene, open_as: Open) -> None:
    scene.open_job(
        "keys", dataset="nuclei", where="", limit=1, predictions="", shapes=["box"],
        start_empty=True,
    )  # fmt: skip
    page = open_as("ada", "/label/keys")
    wait_drawn(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Draw a box: b").click()
    page.keyboard.press("q")
    expect(dialog.get_by_role("button", name="Draw a box: q")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("q")
    tools = page.get_by_role("toolbar", name="Tools")
    expect(tools.get_by_role("button", name="Box")).to_have_attribute("aria-pressed", "true")
    page.reload()
    wait_drawn(page)
    page.keyboard.press("q")
    expect(tools.get_by_role("button", name="Box")).to_have_attribute("aria-pressed", "true")
    scene.ask("POST", "/api/jobs/keys/stop", {"keep_labels": False})
