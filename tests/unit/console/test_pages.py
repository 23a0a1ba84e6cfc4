"""The page, images, other services behind the console, and what every answer keeps to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from loopline.access import KeySet, Role, TokenVerifier
from loopline.errors import Rejected
from loopline.store.objects import Area
from services.console.adapters.thumbnails import DiskCache, MemoryCache, thumbnail_of
from services.console.domain.policy import host_name, is_allowed, is_page, is_plain
from tests.unit.console.desk import KEY, Desk


def png(width_px: int = 400, height_px: int = 200) -> bytes:
    image = np.zeros((height_px, width_px, 3), np.uint8)
    image[:, : width_px // 2] = (0, 0, 255)
    return bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.mark.parametrize("path", ["/", "/sign-in", "/datasets/shoes/3", "/label/a-job"])
async def test_every_address_of_the_page_opens_it(desk: Desk, path: str) -> None:
    answer = await desk.browser().get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_files_named_by_their_content_are_kept_for_ever_and_the_page_is_not(
    desk: Desk,
) -> None:
    browser = desk.browser()
    file = await browser.get("/static/assets/index-1a2b.js")
    assert "immutable" in file.headers["cache-control"]
    assert (await browser.get("/")).headers["cache-control"] == "no-cache"


async def test_page_that_was_not_built_says_how_to(desk: Desk) -> None:
    assert desk.settings.pages_dir is not None
    (desk.settings.pages_dir / "index.html").unlink()
    answer = await desk.browser().get("/")
    assert answer.status_code == 503
    assert "make ui" in answer.text


@pytest.mark.parametrize("path", ["/api/nothing", "/api", "/static/nothing.js", "/favicon.ico"])
async def test_address_of_nothing_is_not_the_page(desk: Desk, path: str) -> None:
    assert (await desk.browser().get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/api/session", "/api/nothing", "/static/nothing"])
async def test_every_answer_says_what_a_browser_may_do(desk: Desk, path: str) -> None:
    headers = (await desk.browser().get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy, "no other host"
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_foreign_host_names_are_turned_away(desk: Desk) -> None:
    foreign = {"host": "evil.example:80"}
    browser = desk.browser()
    for path in ("/", "/api/sign-in", "/static/x"):
        answer = await browser.get(path, headers=foreign)
        assert answer.status_code == 421
        assert "content-security-policy" in answer.headers
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await browser.get(path, headers=foreign)).status_code == 200


async def test_large_body_is_refused_before_it_is_read(desk: Desk) -> None:
    desk.service.settings = desk.settings
    browser = await desk.signed_in()
    answer = await browser.post("/api/users", content=b"x" * (33 * 1024 * 1024))
    assert answer.status_code == 413


async def test_thumbnail_is_small_upright_and_kept_for_ever(desk: Desk) -> None:
    digest = await desk.service.objects.put(Area.ASSETS, png())
    client = await desk.signed_in(Role.VIEWER)
    answer = await client.get(f"/api/assets/{digest}/thumbnail?size=100")
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert "private" in answer.headers["cache-control"]
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (64, 128, 3)
    assert image[30, 20, 2] > 200, "red stays red"
    known = {"if-none-match": answer.headers["etag"]}
    again = await client.get(f"/api/assets/{digest}/thumbnail?size=100", headers=known)
    assert again.status_code == 304


async def test_thumbnail_is_made_once_for_all_who_ask(desk: Desk) -> None:
    digest = await desk.service.objects.put(Area.ASSETS, png())
    client = await desk.signed_in(Role.VIEWER)
    reads: list[str] = []
    get = desk.blobs.get

    def counted(key: str) -> bytes:
        reads.append(key)
        return get(key)

    desk.blobs.get = counted  # type: ignore[method-assign]
    path = f"/api/assets/{digest}/thumbnail"
    answers = await asyncio.gather(*(client.get(path) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len([key for key in reads if digest in key]) == 1


async def test_image_is_served_as_what_it_is_and_can_run_nothing(desk: Desk) -> None:
    digest = await desk.service.objects.put(Area.ASSETS, png())
    script = await desk.service.objects.put(Area.ASSETS, b"<script>alert(1)</script>")
    client = await desk.signed_in(Role.VIEWER)
    image = await client.get(f"/api/assets/{digest}")
    assert image.headers["content-type"] == "image/png"
    assert image.content == png()
    other = await client.get(f"/api/assets/{script}")
    assert other.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in other.headers["content-security-policy"]
    assert (await client.get(f"/api/assets/{script}/thumbnail")).status_code == 422
    assert (await client.get(f"/api/assets/{'0' * 64}")).status_code == 404
    assert (await client.get("/api/assets/none")).status_code == 422


def test_thumbnail_of_a_huge_image_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Rejected, match="too many"):
        thumbnail_of(png(), 64, pixels_max=1_000)


def test_memory_cache_keeps_what_was_used_last() -> None:
    cache = MemoryCache(30)
    for key in "abc":
        cache.put(key, b"x" * 10)
    assert cache.get("a")
    cache.put("d", b"x" * 10)
    assert cache.get("b") is None
    assert cache.get("a")
    cache.put("large", b"x" * 31)
    assert cache.get("large") is None


def test_disk_cache_stays_within_its_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1_000)
    for number in range(50):
        cache.put(f"{number:02}-key", b"x" * 100)
        held = sum(path.stat().st_size for path in tmp_path.glob("*/*"))
        assert held <= 1_000
    assert cache.get("49-key") == b"x" * 100
    none = DiskCache(tmp_path / "none", 0)
    none.put("k", b"x")
    assert none.get("k") is None


async def test_annotate_is_asked_with_a_token_of_who_asks(desk: Desk) -> None:
    client = await desk.signed_in(Role.LABELER)
    answer = await client.post("/api/jobs/a-job/items/x?limit=2", json={"shapes": []})
    assert answer.json() == {"jobs": []}
    [asked] = desk.upstreams.requests
    assert asked.url.raw_path == b"/v1/jobs/a-job/items/x?limit=2"
    assert (asked.method, asked.content) == ("POST", b'{"shapes":[]}')
    assert "cookie" not in asked.headers
    token = asked.headers["authorization"].removeprefix("Bearer ")
    verifier = TokenVerifier(KeySet.of(KEY), "default", clock=desk.clock)
    caller = verifier.verify(token)
    assert (caller.name, caller.role) == ("labeler", Role.LABELER)
    desk.clock.advance(66)
    with pytest.raises(Rejected, match="expired"):
        verifier.verify(token)


async def test_operator_opens_and_changes_a_labeling_job(desk: Desk) -> None:
    client = await desk.signed_in(Role.OPERATOR)
    asked = {"job": "coats", "dataset": "shop@v2", "where": "!item.labeled"}
    desk.upstreams.status, desk.upstreams.body = 201, b'{"job":"coats"}'
    answer = await client.post("/api/jobs", json=asked)
    assert (answer.status_code, answer.json()) == (201, {"job": "coats"})
    desk.upstreams.status = 200
    assert (await client.patch("/api/jobs/coats", json={"priority": 2})).status_code == 200
    opened, changed = desk.upstreams.requests
    assert (opened.method, opened.url.path) == ("POST", "/v1/jobs")
    assert json.loads(opened.content) == asked
    assert (changed.method, changed.url.path) == ("PATCH", "/v1/jobs/coats")


async def test_job_that_cannot_be_is_refused_in_annotates_words(desk: Desk) -> None:
    client = await desk.signed_in(Role.OPERATOR)
    refusal = {"error": "job coats: class 'coat' is listed twice"}
    desk.upstreams.status, desk.upstreams.body = 422, json.dumps(refusal).encode()
    answer = await client.post("/api/jobs", json={"job": "coats", "classes": ["coat", "coat"]})
    assert (answer.status_code, answer.json()) == (422, refusal)


async def test_jobs_are_opened_and_changed_by_operators_alone(desk: Desk) -> None:
    client = await desk.signed_in(Role.REVIEWER)
    for method, path in (("POST", "/api/jobs"), ("PATCH", "/api/jobs/coats")):
        answer = await client.request(method, path, json={"job": "coats"})
        assert answer.status_code == 403
        assert "needs 'operate'" in answer.json()["error"]
    assert desk.upstreams.requests == []


async def test_who_may_sign_in_can_be_asked_to_label(desk: Desk) -> None:
    admin, operator = await desk.signed_in(), await desk.signed_in(Role.OPERATOR)
    await admin.patch("/api/users/viewer", json={"is_disabled": True})
    members = (await operator.get("/api/members")).json()["members"]
    assert {"name": "labeler", "role": "labeler"} in members
    assert {one["name"] for one in members} == {*Role} - {Role.VIEWER}


async def test_token_of_a_program_is_passed_on_with_its_own_scopes_alone(desk: Desk) -> None:
    token = desk.issuer.issue(
        "robot", role=Role.ADMIN, lifetime_s=60, scopes=["read"], kind="token"
    )
    await desk.program(token).get("/api/jobs")
    [asked] = desk.upstreams.requests
    given = asked.headers["authorization"].removeprefix("Bearer ")
    caller = TokenVerifier(KeySet.of(KEY), "default", clock=desk.clock).verify(given)
    assert caller.scopes == {"read"}


async def test_answers_of_other_services_come_back_as_they_are(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    first = await client.get("/api/lineage/graph")
    tag = {"if-none-match": first.headers["etag"]}
    assert (await client.get("/api/lineage/graph", headers=tag)).status_code == 304
    desk.upstreams.status, desk.upstreams.body = 404, b'{"error":"there is no job"}'
    answer = await client.get("/api/jobs/none")
    assert (answer.status_code, answer.json()) == (404, {"error": "there is no job"})
    desk.upstreams.is_down = True
    answer = await client.get("/api/jobs")
    assert answer.status_code == 503
    assert answer.json()["error"] == "annotate does not answer: ConnectError"
    desk.upstreams.is_down, desk.upstreams.status = False, 200
    desk.service.desks.annotate._answer_max_bytes = 10
    assert (await client.get("/api/jobs")).status_code == 503


async def test_only_the_apis_of_other_services_are_in_reach(desk: Desk) -> None:
    client = await desk.signed_in()
    for path in ("/api/jobs/%2e%2e/%2e%2e/metrics", "/api/lineage/%2e%2e/metrics"):
        assert (await client.get(path)).status_code == 404
    assert desk.upstreams.requests == []


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:80", "localhost"), ("[::1]:80", "::1"), ("Example.ORG", "example.org"), ("", "")],
)
def test_host_names_are_read_with_or_without_a_port(host: str, name: str) -> None:
    assert host_name(host) == name


def test_policies() -> None:
    assert is_allowed("/", "anything", {"*"})
    assert not is_allowed("/", "anything", {"localhost"})
    assert is_plain("nodes/source:s3://a/b")
    assert not is_plain("../metrics")
    assert is_page("/workflow/dataset:shoes@1.0")
    assert not is_page("/metrics")
