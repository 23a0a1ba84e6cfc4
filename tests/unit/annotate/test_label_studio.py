"""The bridge to Label Studio, against a stand-in that answers as its API does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from loopline.contracts import catalog
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.testing.memory import ManualClock
from services.annotate.adapters.image_links import ImageLinks
from services.annotate.adapters.label_studio import SECRET_HEADER, LabelStudio
from tests.unit.annotate.desk import JOB, Desk

Json = dict[str, Any]
IMAGES = [f"image {n}".encode() for n in range(3)]
SECRET = "shown by the webhook"


@dataclass
class Server:
    """Label Studio as far as the bridge asks it."""

    projects: list[Json] = field(default_factory=list)
    tasks: list[Json] = field(default_factory=list)
    webhooks: list[Json] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    status: int = 200

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.tokens.add(request.headers["authorization"])
        if self.status != 200:
            return httpx.Response(self.status, text="not now")
        body: Any = json.loads(request.content) if request.content else None
        path = request.url.path
        if request.method == "GET" and path == "/api/projects/":
            return httpx.Response(200, json={"results": self.projects})
        if path == "/api/projects/":
            self.projects.append({"id": 7, **body})
            return httpx.Response(201, json=self.projects[-1])
        if path == "/api/webhooks/":
            self.webhooks.append(body)
            return httpx.Response(201, json={})
        if path == "/api/projects/7/import":
            self.tasks += [{"id": len(self.tasks) + n, **task} for n, task in enumerate(body)]
            return httpx.Response(201, json={})
        assert path == "/api/tasks/", path
        return httpx.Response(200, json={"tasks": self.tasks, "total": len(self.tasks)})


@pytest.fixture
async def server(desk: Desk) -> Server:
    """A job over real assets, and a server that desk's annotate uses."""
    made, service = Server(), desk.service
    await service.label_studio.close()
    service.label_studio = LabelStudio(
        "http://studio", SecretStr("token"), SecretStr(SECRET), service.objects, service.rows,
        transport=httpx.MockTransport(made),
    )  # fmt: skip
    assets = [await service.objects.put(Area.ASSETS, data) for data in IMAGES]
    rows = [Item(digest, "image/png", 9, 100, 50) for digest in assets]
    dataset = await desk.flywheel.dataset("catalogue", rows)
    await desk.open(await desk.command_over(assets, dataset=dataset.ref, classes=["coat"]))
    return made


def annotation(x: float = 10.0, **fields: Any) -> Json:
    """Return an annotation with one box."""
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["coat"]}
    region = {"id": "r1", "type": "rectanglelabels", "value": value}
    by = {"id": 1, "email": "ada@example.org"}
    return {"id": 5, "result": [region], "completed_by": by, "lead_time": 4.5, **fields}


def event(asset: str, **fields: Any) -> Json:
    """Return what the webhook posts."""
    made = annotation(**fields)
    return {"action": "ANNOTATION_CREATED", "annotation": made, "task": {"data": {"asset": asset}}}


async def test_a_job_becomes_a_project_with_its_tasks_once(desk: Desk, server: Server) -> None:
    path = f"/v1/jobs/{JOB}/label-studio"
    made = (await desk.client.post(path)).json()
    assert (made["project"], made["tasks"], made["added"]) == (7, 3, 3)
    again = (await desk.client.post(path)).json()
    assert (again["tasks"], again["added"]) == (3, 0)
    [project] = server.projects
    assert project["title"] == JOB
    assert 'value="coat"' in project["label_config"]
    assert server.tasks[0]["data"]["image"].startswith("data:image/png;base64,")
    assert server.tokens == {"Token token"}


async def test_an_annotation_that_the_webhook_tells_of_is_labels(
    desk: Desk, server: Server
) -> None:
    path, asset = f"/v1/jobs/{JOB}/label-studio/events", sha256_hex(IMAGES[0])
    headers = {SECRET_HEADER: SECRET, "authorization": ""}
    for _ in range(2):  # told twice is one submission
        told = await desk.client.post(path, json=event(asset), headers=headers)
        assert told.json()["accepted"] == 1, told.text
    [said] = desk.bus.sent(catalog.LABELS_SUBMITTED)
    assert (said.labeler, said.spent_s) == ("label-studio:ada@example.org", 4.5)
    box = said.shapes[0].bbox_xyxy
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((10, 10, 40, 30))
    other = {"action": "PROJECT_UPDATED"}
    assert (await desk.client.post(path, json=other, headers=headers)).json()["accepted"] == 0
    outside = await desk.client.post(path, json=event(asset, x=90.0), headers=headers)
    assert "outside the 100 x 50 image" in outside.json()["refused"][0]["error"]


@pytest.mark.parametrize("secret", ["", "guessed"])
async def test_a_webhook_without_the_secret_is_not_heard(
    desk: Desk, server: Server, secret: str
) -> None:
    path, body = f"/v1/jobs/{JOB}/label-studio/events", event(sha256_hex(IMAGES[0]))
    answer = await desk.client.post(path, json=body, headers={SECRET_HEADER: secret})
    assert answer.status_code == 401
    assert desk.bus.sent(catalog.LABELS_SUBMITTED) == []
    assert server.tasks == []


async def test_what_webhooks_lost_is_pulled(desk: Desk, server: Server) -> None:
    path = f"/v1/jobs/{JOB}/label-studio"
    assert (await desk.client.post(f"{path}/pull")).status_code == 404
    await desk.client.post(path)
    older = annotation(x=1.0, updated_at="2026-01-01T00:00:00Z", id=9)
    newer = annotation(x=10.0, updated_at="2026-01-02T00:00:00Z", id=2)
    server.tasks[1]["annotations"] = [newer, older, annotation(was_cancelled=True)]
    for _ in range(2):
        pulled = (await desk.client.post(f"{path}/pull")).json()
        assert (pulled["accepted"], pulled["refused"]) == (1, [])
    [said] = desk.bus.sent(catalog.LABELS_SUBMITTED)
    assert said.shapes[0].bbox_xyxy.x_min == pytest.approx(10)


async def test_a_server_that_does_not_answer_is_said(desk: Desk, server: Server) -> None:
    server.status = 502
    answer = await desk.client.post(f"/v1/jobs/{JOB}/label-studio")
    assert (answer.status_code, answer.json()["error"][:24]) == (503, "Label Studio: HTTP 502 n")
    server.status = 403
    assert (await desk.client.post(f"/v1/jobs/{JOB}/label-studio")).status_code == 422


async def test_tasks_link_images_that_only_the_link_opens_and_only_for_a_while(
    desk: Desk, server: Server
) -> None:
    base, clock = str(desk.client.base_url), desk.clock
    desk.service.label_studio.links = ImageLinks(base, SecretStr(SECRET), clock, 60.0)
    await desk.client.post(f"/v1/jobs/{JOB}/label-studio")
    links = [task["data"]["image"] for task in server.tasks]
    async with httpx.AsyncClient() as browser:
        assert [(await browser.get(link)).content for link in links] == IMAGES
        for other in (
            links[0].replace("until=1", "until=2"),
            links[0].replace(server.tasks[0]["data"]["asset"], server.tasks[1]["data"]["asset"]),
            links[0].partition("&signature=")[0],
        ):
            assert (await browser.get(other)).status_code == 401
        clock.advance(61)
        assert (await browser.get(links[0])).status_code == 401
        desk.service.label_studio.links = None
        assert (await browser.get(links[0])).status_code == 404


def test_links_need_an_address_and_a_secret() -> None:
    for address, secret in (("", SECRET), ("http://annotate", "")):
        links = ImageLinks(address, SecretStr(secret), ManualClock(), 60.0)
        with pytest.raises(Rejected, match="LOOPLINE_ANNOTATE_URL"):
            links.check_possible()
