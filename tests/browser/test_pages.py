"""Each page's main task, by clicking and by keyboard."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.scene import DATA, PASSWORD, Scene, eventually, in_sight

NODES = 2_000
NODES_DRAWN_MAX = 150
NODES_COLLAPSED_MAX = 10
FRAME_MAX_MS = 50  # in software rendering, on a machine that does other things too
FRAMES = """() => {
  window.frameTimes = [];
  let last = performance.now();
  const count = (now) => {
    frameTimes.push(now - last);
    last = now;
    requestAnimationFrame(count);
  };
  requestAnimationFrame(count);
}"""
pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]


def test_signing_in_with_a_password_and_out_again(scene: Scene, open_as: Open) -> None:
    page = open_as("", "/datasets")
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password").fill("not the password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    expect(page.get_by_role("link", name="Import")).to_have_count(0)  # not a viewer's
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_workflow_shows_everything_about_a_node_and_where_it_came_from(
    scene: Scene, open_as: Open
) -> None:
    page = open_as("admin", "/workflow")
    in_sight(page, "model:shop@1").click()
    panel = page.get_by_label("About the selected node")
    expect(panel.get_by_role("heading", name=re.compile("shop"))).to_be_visible()
    expect(panel.get_by_text("Accuracy", exact=False).first).to_be_visible()
    expect(page).to_have_url(re.compile(r"node=model%3Ashop%401"))
    came_from = panel.locator("section").filter(has_text="Came from")
    came_from.get_by_role("button", name="Show only these").click()
    in_sight(page, "dataset:shop@1")
    expect(page.locator('[data-id="dataset:nuclei@1"]')).to_have_count(0)
    page.get_by_role("button", name="Leave the focus").click()
    in_sight(page, "dataset:nuclei@1")


def test_workflow_by_keyboard_and_by_link(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/workflow?node=dataset%3Ashop%401")
    expect(page.get_by_label("About the selected node")).to_contain_text("shop")
    page.keyboard.press("Escape")
    expect(page.get_by_label("About the selected node")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("nuclei")
    page.keyboard.press("Enter")
    expect(page.get_by_label("About the selected node")).to_contain_text("nuclei")


def test_workflow_is_filtered_by_kind_dataset_and_time_and_collapsed(
    scene: Scene, open_as: Open
) -> None:
    page = open_as("vera", "/workflow?detail=all")
    in_sight(page, "dataset:nuclei@1")
    page.get_by_role("group", name="Kinds shown").get_by_role("button", name="Models").click()
    in_sight(page, "dataset:shop@1")
    expect(page.locator('[data-id="model:shop@1"]')).to_have_count(0)
    page.get_by_role("group", name="Kinds shown").get_by_role("button", name="Models").click()
    page.get_by_label("Dataset", exact=True).select_option("shop")
    in_sight(page, "model:shop@1")
    expect(page.locator('[data-id="dataset:nuclei@1"]')).to_have_count(0)
    page.clock.install()
    page.clock.fast_forward("30:00:00")
    page.goto(f"{scene.console}/workflow?detail=all&since=24")
    expect(page.get_by_role("heading", name="Nothing matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    page.clock.resume()
    in_sight(page, "dataset:nuclei@1")


@pytest.mark.parametrize("kind", ["SVG", "PNG"])
def test_workflow_is_exported_as_a_picture(
    scene: Scene, open_as: Open, tmp_path: Path, kind: str
) -> None:
    page = open_as("vera", "/workflow")
    expect(page.locator(".react-flow__node").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_label("Export the graph").select_option(label=f"as {kind}")
    download.value.save_as(tmp_path / "picture")
    data = (tmp_path / "picture").read_bytes()
    assert b"shop" in data if kind == "SVG" else data.startswith(b"\x89PNG")


def test_news_appear_in_the_workflow_by_themselves(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/workflow")
    expect(page.locator(".react-flow__node").first).to_be_visible()
    scene.open_job("news", limit=2)
    in_sight(page, "labeling_job:news")
    scene.ask("POST", "/api/jobs/news/stop", {"keep_labels": False})


def test_images_are_filtered_and_looked_at(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/datasets/shop")
    tiles = page.locator("button.item")
    expect(tiles.first).to_be_visible()
    page.get_by_label("Labeled", exact=True).select_option("false")
    expect(page.locator("button.item", has_text="predicted").first).to_be_visible()
    page.get_by_label("Labeled", exact=True).select_option("true")
    page.get_by_label("Class", exact=True).select_option(index=1)
    wanted = page.get_by_label("Class", exact=True).input_value()
    expect(tiles.first).to_contain_text(wanted)
    tiles.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("28 × 28")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_boxes_are_drawn_on_images(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/datasets/nuclei")
    expect(page.locator("button.item .overlay-shape").first).to_be_visible()
    assert page.locator("button.item .overlay-shape").count() > 30


def test_a_version_is_restored_with_one_click_and_a_confirmation(
    scene: Scene, open_as: Open, tmp_path: Path
) -> None:
    image = tmp_path / "extra.png"
    image.write_bytes(next((DATA / "nuclei" / "test").glob("*.png")).read_bytes())
    page = open_as("admin", "/import")
    page.get_by_label("Files").set_input_files([image])
    page.get_by_label("Dataset", exact=True).fill("restored")
    page.get_by_role("button", name="Import 1 file").click()
    eventually(lambda: scene.has("restored"))
    photo = next((DATA / "photos").rglob("*.jpg"), None) or next((DATA / "photos").rglob("*.png"))
    page.get_by_label("Files").set_input_files([photo])
    page.get_by_label("Dataset", exact=True).fill("restored")
    page.get_by_role("button", name="Import 1 file").click()
    versions = "/api/datasets/restored/versions"
    eventually(lambda: len(scene.ask("GET", versions)["versions"]) == 2)

    page.goto(f"{scene.console}/datasets/restored?tab=diff")
    expect(page.get_by_role("button", name="added 1")).to_be_visible()
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Restore v1").click()
    expect(page.get_by_text("restored from v1")).to_be_visible()
    assert [one["items"] for one in scene.ask("GET", versions)["versions"]] == [1, 2, 1]


def test_a_cell_of_the_confusion_matrix_opens_its_images(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/models/shop/1?tab=evaluation")
    expect(page.get_by_role("heading", name="By class")).to_be_visible()
    found = scene.ask("GET", "/api/models/shop/versions/1")["evaluations"][0]["id"]
    report = scene.ask("GET", f"/api/models/shop/versions/1/evaluations/{found}")["report"]
    worst = report["worst"][0]
    truth, said = (worst[side][0]["class_name"] for side in ("truth", "predicted"))
    page.get_by_role("button", name=f"{truth} taken for {said}:").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("button.item").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=re.compile("Promote"))).to_have_count(0)


def test_a_version_is_promoted(scene: Scene, open_as: Open) -> None:
    page = open_as("admin", "/models/shop")
    page.get_by_role("button", name="Promote v1").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Alias").fill("challenger")
    dialog.get_by_label("Why").fill("tried by hand")
    dialog.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("challenger").first).to_be_visible()
    page.get_by_role("link", name="Deployments").click()
    expect(page.get_by_text("tried by hand")).to_be_visible()


def test_live_shows_runs_agents_and_queues(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/live")
    runs = page.get_by_role("list", name="Runs")
    expect(runs.get_by_role("listitem").first).to_be_visible()
    runs.get_by_role("button", name=re.compile("shop on shop")).click()
    expect(page.locator(".plot canvas").first).to_be_visible()
    page.get_by_role("link", name="Agents").click()
    expect(page.get_by_role("region", name=re.compile("trainer"))).to_be_visible()
    page.get_by_role("link", name="Queues").click()
    expect(page.get_by_role("cell", name="train model").first).to_be_visible()


def test_a_folder_is_imported_and_what_was_left_out_is_shown(
    scene: Scene, open_as: Open, tmp_path: Path
) -> None:
    image = next((DATA / "nuclei" / "test").glob("*.png")).read_bytes()
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "good.png").write_bytes(image)
    (folder / "again.png").write_bytes(image)
    (folder / "broken.png").write_bytes(image[: len(image) // 2])
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    cv2.imwrite(str(folder / "alike.png"), cv2.add(pixels, 2))
    cv2.imwrite(str(folder / "tiny.png"), pixels[:4, :4])
    page = open_as("admin", "/import")
    page.get_by_label("Folder").set_input_files(folder)
    expect(page.get_by_text("5 files").first).to_be_visible()
    page.get_by_label("Dataset", exact=True).fill("camera")
    page.keyboard.press("Enter")
    imports = page.get_by_role("region", name="Imports")
    expect(imports.get_by_text("camera v1")).to_be_visible()
    imports.get_by_role("button", name="What was left out").first.click()
    for file, reason in {
        "again.png": "exact duplicate", "alike.png": "near duplicate", "tiny.png": "too small",
    }.items():  # fmt: skip
        row = page.get_by_role("row", name=re.compile(file))
        expect(row.get_by_role("cell", name=reason, exact=True)).to_be_visible()
        picture = row.locator("img.drop-thumb").first
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("picture => picture.naturalWidth") > 0
    broken = page.get_by_role("row", name=re.compile("broken.png"))
    expect(broken.get_by_role("img", name="No picture: corrupt")).to_be_visible()
    page.get_by_role("group", name="Reason").get_by_role("button", name="too small 1").click()
    expect(page.get_by_role("row", name=re.compile("png"))).to_have_count(1)


def test_what_a_service_refused_is_handled_again_or_discarded(
    scene: Scene, open_as: Open, axe: str
) -> None:
    asked = {"dataset": "unheard", "source": {"connection": "uploads", "bucket": "no-such-bucket"}}
    scene.ask("POST", "/api/imports", asked)

    def letters() -> list[dict[str, Any]]:
        found = scene.ask("GET", "/api/dead")["letters"]
        return [one for one in found if "no-such-bucket" in one["reason"]]

    [first] = eventually(letters)
    page = open_as("admin", "/live?tab=dead")
    row = page.get_by_role("row", name=re.compile("no-such-bucket"))
    expect(row).to_be_visible()
    assert serious(page, axe) == []
    row.get_by_role("button", name="Open").click()
    expect(page.get_by_role("dialog")).to_contain_text("unheard")
    page.keyboard.press("Escape")
    row.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("is handled again")).to_be_visible()
    [again] = eventually(lambda: [one for one in letters() if one["sequence"] > first["sequence"]])
    assert again["can_retry"]
    page.reload()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(row).to_have_count(0)
    assert letters() == []


def test_events_appear_as_they_happen(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/live?tab=events")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="nuclei").first).to_be_visible()  # what was before
    scene.open_job("heard", limit=1)
    news = page.get_by_role("row", name=re.compile("heard"))
    expect(news.first).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    before = news.count()
    scene.ask("POST", "/api/jobs/heard/stop", {"keep_labels": False})
    page.get_by_label("Type").select_option(label="labeling job committed")
    expect(news).to_have_count(before)


def test_users_and_tokens_are_made_and_taken_back(scene: Scene, open_as: Open) -> None:
    page = open_as("admin", "/people")
    page.get_by_role("button", name="Add a user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("newcomer")
    dialog.get_by_role("button", name="Add", exact=True).click()
    secret = page.locator(".secret")
    expect(secret).to_be_visible()  # it can be read before its dialogue is open
    link = secret.inner_text()
    page.keyboard.press("Escape")
    guest = open_as("", link.removeprefix(scene.console))
    expect(guest.locator(".me")).to_contain_text("newcomer")
    row = page.get_by_role("row", name=re.compile("newcomer"))
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)

    page.get_by_role("button", name="Tokens").click()
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_label("What for").fill("nightly")
    page.get_by_role("button", name="Make it").click()
    expect(secret).to_be_visible()
    assert len(secret.inner_text()) > 100
    page.keyboard.press("Escape")
    page.get_by_role("row", name=re.compile("nightly")).get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row", name=re.compile("nightly"))).to_contain_text("revoked")


def test_what_cannot_be_read_is_not_told_as_nothing(scene: Scene, open_as: Open) -> None:
    page = open_as("admin", "/people")
    reason = "the bus does not answer"
    page.route(
        re.compile("/api/(imports|datasets|models|jobs|runs|users|workflow)"),
        lambda route: route.fulfill(status=422, json={"error": reason}),
    )
    for path in ("workflow", "datasets", "models", "label", "live", "import", "people"):
        page.goto(f"{scene.console}/{path}")
        expect(page.get_by_role("alert").first).to_contain_text(reason)
        expect(page.get_by_role("button", name="Try again").first).to_be_visible()
        expect(page.get_by_text(re.compile("yet", re.IGNORECASE))).to_have_count(0)


def test_anything_is_found_from_anywhere(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/models")
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option", name=re.compile("nuclei"))).to_be_visible()
    page.keyboard.type("nucl")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/datasets/nuclei"))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(
    ("person", "path"),
    [
        pytest.param("", "/sign-in", id="sign-in"),
        *(
            pytest.param("admin", path, id=path.lstrip("/"))
            for path in (
                "/workflow?node=dataset%3Ashop%401",
                "/datasets",
                "/datasets/shop",
                "/datasets/nuclei",
                "/datasets/shop?tab=versions",
                "/datasets/shop?tab=diff",
                "/datasets/shop?tab=drops",
                "/label",
                "/models",
                "/models/shop",
                "/models/shop?tab=aliases",
                "/models/shop/1?tab=evaluation",
                "/live",
                "/live?tab=agents",
                "/live?tab=queues",
                "/live?tab=events",
                "/live?tab=dead",
                "/import",
                "/people",
                "/nowhere",
            )
        ),
    ],
)
def test_nothing_stands_in_the_way_of_anybody(
    scene: Scene, open_as: Open, axe: str, person: str, path: str, theme: str
) -> None:
    page = open_as(person, path, color_scheme=theme)
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading").first).to_be_visible()
    assert serious(page, axe) == []


def serious(page: Page, axe: str) -> list[str]:
    """Return what the checker finds that is serious or worse."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def test_two_thousand_nodes_stay_fluid(scene: Scene, open_as: Open) -> None:
    page = open_as("vera", "/workflow")
    in_sight(page, "dataset:shop@1")
    graph = flywheel(scene.ask("GET", "/api/workflow"), turns=670)
    assert len(graph["nodes"]) > NODES
    page.route("**/api/workflow?**", lambda route: route.fulfill(json=graph))
    page.goto(f"{scene.console}/workflow?detail=all")
    expect(page.locator(".react-flow__node").first).to_be_visible()
    assert page.locator(".react-flow__node").count() < NODES_DRAWN_MAX
    page.mouse.move(640, 400)
    page.evaluate(FRAMES)
    for _ in range(40):
        page.mouse.wheel(-120, 0)
    frames = page.evaluate("() => frameTimes")
    assert statistics.median(frames) < FRAME_MAX_MS
    page.goto(f"{scene.console}/workflow?detail=1")
    expect(page.locator(".react-flow__node").first).to_be_visible()
    assert page.locator(".react-flow__node").count() < NODES_COLLAPSED_MAX


def flywheel(answer: dict[str, Any], turns: int) -> dict[str, Any]:
    """Return a workspace as it is after many turns of the loop, each made of nodes there are."""
    by_kind = {node["kind"]: node for node in answer["nodes"]}
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    for turn in range(1, turns + 1):
        at = f"2026-01-01T{turn // 60:02}:{turn % 60:02}"
        ids = {kind: f"{kind}:loop@{turn}" for kind in ("dataset", "model", "predictions")}
        for second, (kind, id_) in enumerate(ids.items()):
            made = {"id": id_, "name": "loop", "version": turn, "group": f"{kind}:loop"}
            nodes.append({**by_kind[kind], **made, "at": f"{at}:{second:02}"})
        edges += [
            {"source": ids["dataset"], "target": ids["model"], "role": "train_on"},
            {"source": ids["model"], "target": ids["predictions"], "role": "model"},
        ]
        if turn < turns:
            later = f"dataset:loop@{turn + 1}"
            edges.append({"source": ids["predictions"], "target": later, "role": "items"})
    return {**answer, "nodes": nodes, "edges": edges, "total": len(nodes), "is_partial": False}
