"""A person's work: items held by one person, drafts, reviews, jobs that fill and reopen."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from loopline.contracts import JobState, OpenLabelingJob, catalog
from loopline.digests import canonical_json
from loopline.errors import Rejected
from loopline.store.objects import Area
from loopline.testing.flywheel import CLASSES, asset, item
from loopline.testing.memory import delivery
from services.annotate.adapters.submissions import Proposal
from services.annotate.domain.holding import Overtaken
from tests.unit.annotate.desk import JOB, Desk

Json = dict[str, Any]


async def take(desk: Desk, who: str, count: int = 1, path: str = "next", **body: Any) -> Json:
    """Take items as somebody."""
    answer = await desk.client.post(
        f"/v1/jobs/{JOB}/{path}", json={"labeler": who, "count": count, **body}
    )
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def numbers(found: Json) -> list[int]:
    """Return which test images were handed out."""
    by_asset = {asset(n): n for n in range(100)}
    return [by_asset[row["item"]["asset"]] for row in found["items"]]


async def label(desk: Desk, number: int, who: str = "ada", **fields: Any) -> httpx.Response:
    """Submit one label as somebody."""
    return await desk.label(number, fields.pop("class_name", "coat"), labeler=who, **fields)


async def review(desk: Desk, number: int, verdict: str, **fields: Any) -> httpx.Response:
    """Say what a reviewer thinks."""
    body = {"verdict": verdict, "reviewer": "rita", "labels_version": 1, **fields}
    return await desk.client.post(f"/v1/jobs/{JOB}/items/{asset(number)}/review", json=body)


async def state_of(desk: Desk, number: int) -> str:
    """Return where an item stands."""
    answer = await desk.client.get(f"/v1/jobs/{JOB}/items/{asset(number)}")
    return str(answer.json()["state"])


async def job_state(desk: Desk) -> str:
    """Return the job's state once every message so far was handled."""
    await desk.handle_submissions()
    return str((await desk.client.get(f"/v1/jobs/{JOB}")).json()["state"])


async def test_an_item_is_given_to_one_person_alone(desk: Desk) -> None:
    await desk.open(await desk.command(4))
    assert numbers(await take(desk, "ada", 2)) == [0, 1]
    assert numbers(await take(desk, "bob", 2)) == [2, 3]
    assert numbers(await take(desk, "eve", 2)) == []
    assert await state_of(desk, 0) == "annotating"


async def test_fifty_clients_at_once_never_hold_the_same_item(desk: Desk) -> None:
    await desk.open(await desk.command(60))
    people = [f"p{n}" for n in range(50)]
    taken = await asyncio.gather(*(take(desk, who) for who in people))
    held = [number for found in taken for number in numbers(found)]
    assert len(held) == len(set(held)) == 50


async def test_who_comes_back_gets_what_they_hold_with_their_draft(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    await take(desk, "ada", 2)
    path = f"/v1/jobs/{JOB}/items/{asset(1)}/draft"
    drawn = {"shapes": [{"class_name": "coat", "bbox_xyxy": [1, 2, 3, 4]}], "revision": 3}
    saved = await desk.client.put(path, json={"labeler": "ada", "spent_s": 5, **drawn})
    assert saved.json()["revision"] == 3
    again = await take(desk, "ada", 2)
    assert numbers(again) == [0, 1]
    draft = again["items"][1]["draft"]
    assert draft["shapes"][0]["bbox_xyxy"] == [1, 2, 3, 4]
    assert draft["spent_s"] == 5
    assert again["items"][0]["draft"] is None
    older = {"labeler": "ada", "shapes": [], "revision": 2}
    assert (await desk.client.put(path, json=older)).json()["revision"] == 3
    only_new = await take(desk, "ada", 2, holding=[asset(0)])
    assert numbers(only_new) == [1]
    assert only_new["held"] == [asset(0), asset(1)]


async def test_a_draft_goes_when_its_labels_are_submitted_or_it_is_dropped(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    for number, drop in ((0, False), (1, True)):
        path = f"/v1/jobs/{JOB}/items/{asset(number)}/draft"
        await desk.client.put(path, json={"labeler": "ada", "shapes": []})
        if drop:
            query = {"labeler": "ada"}
            assert (await desk.client.delete(path, params=query)).status_code == 204
        else:
            assert (await label(desk, number)).status_code == 200
        kept = await desk.service.desk.drafts(JOB, [asset(number)], "ada")
        assert kept == {}


async def test_a_lease_ends_by_itself_and_the_item_goes_to_somebody_else(desk: Desk) -> None:
    await desk.open(await desk.command(2, lease_s=60))
    assert numbers(await take(desk, "ada")) == [0]
    desk.clock.advance(59)
    assert numbers(await take(desk, "bob")) == [1]
    path = f"/v1/jobs/{JOB}/items/{asset(0)}"
    await desk.client.put(f"{path}/draft", json={"labeler": "ada", "shapes": []})  # a sign of life
    desk.clock.advance(59)
    assert numbers(await take(desk, "eve")) == []
    desk.clock.advance(2)
    assert numbers(await take(desk, "eve")) == [0]
    refused = await label(desk, 0, "ada")
    assert refused.status_code == 409
    assert "eve holds it" in refused.json()["error"]


async def test_labels_that_somebody_else_overtook_are_refused(desk: Desk) -> None:
    """Ada's request hung until her lease ended; Bob took the item and labeled it meanwhile."""
    await desk.open(await desk.command(2, lease_s=60))
    await take(desk, "ada")
    opened = await desk.service.submissions.open_job(JOB, [asset(0)])
    desk.clock.advance(61)
    assert (await label(desk, 0, "bob")).status_code == 200
    answer = await label(desk, 0, "ada")  # takes it anew, with Bob's labels in sight
    assert answer.status_code == 200
    desk.service.submissions._desk = _Before(desk.service.desk)  # type: ignore[assignment]
    late = Proposal(asset(0), "bob", ())
    with pytest.raises(Overtaken, match="ada labeled it meanwhile"):
        await desk.service.submissions.submit(opened, late)


class _Before:
    """A desk that remembers the item as it was taken before anybody labeled it."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk, name)

    async def taken_version(self, job: str, asset: str) -> int:
        return 0


async def test_only_the_holder_saves_drafts_and_submits(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await take(desk, "ada")
    path = f"/v1/jobs/{JOB}/items/{asset(0)}"
    drawn = {"labeler": "bob", "shapes": []}
    assert (await desk.client.put(f"{path}/draft", json=drawn)).status_code == 409
    assert (await desk.client.post(f"{path}/lease", json={"labeler": "bob"})).status_code == 409
    assert (await label(desk, 0, "bob")).status_code == 409
    bulk = {"labeler": "bob", "labels": [{"asset": asset(n), "shapes": []} for n in (0, 1)]}
    said = (await desk.client.post(f"/v1/jobs/{JOB}/labels", json=bulk)).json()
    assert [row["asset"] for row in said["refused"]] == [asset(0)]
    assert [row["asset"] for row in said["accepted"]] == [asset(1)]


async def test_what_is_let_go_is_free_and_what_is_skipped_comes_last(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    await take(desk, "ada")
    path = f"/v1/jobs/{JOB}/items/{asset(0)}/lease"
    gone = await desk.client.delete(path, params={"labeler": "ada", "skip": True})
    assert gone.status_code == 204
    assert numbers(await take(desk, "bob")) == [0]
    await desk.client.delete(path, params={"labeler": "bob"})
    assert numbers(await take(desk, "ada", 3)) == [1, 2, 0]


async def test_submitting_brings_what_is_next(desk: Desk) -> None:
    await desk.open(await desk.command(4))
    await take(desk, "ada", 2)
    said = (await label(desk, 0, next=2, holding=[asset(1)])).json()
    assert numbers(said["next"]) == [2]
    assert said["next"]["held"] == [asset(1), asset(2)]
    assert said["next"]["remaining"] == 3


async def test_a_job_names_who_labels_and_what_may_be_drawn(desk: Desk) -> None:
    command = await desk.command(2, labelers=["ada"], shapes=["box"])
    await desk.open(command)
    answer = await desk.client.post(f"/v1/jobs/{JOB}/next", json={"labeler": "bob"})
    assert answer.status_code == 403
    assert (await label(desk, 0, "bob")).status_code == 403
    whole = await label(desk, 0)
    assert "it is a whole_image; this job takes box" in whole.json()["error"]
    box = {"class_name": "coat", "bbox_xyxy": [0, 0, 5, 5]}
    assert (await label(desk, 0, shapes=[box])).status_code == 200


async def test_reviewed_jobs_go_over_review_and_back(desk: Desk) -> None:
    await desk.open(await desk.command(2, review=True))
    await label(desk, 0)
    await label(desk, 1)
    assert await job_state(desk) == "on_review"
    assert numbers(await take(desk, "rita", 2, "review/next")) == [0, 1]
    assert (await review(desk, 0, "rejected", comment="the sleeve")).status_code == 200
    await desk.handle_reviews()
    assert await job_state(desk) == "in_progress"
    back = await take(desk, "ada")
    assert numbers(back) == [0]
    assert back["items"][0]["item"]["comment"] == "the sleeve"
    assert back["items"][0]["item"]["labels"]["labeler"] == "ada"
    await label(desk, 0, class_name="shirt")
    assert await job_state(desk) == "on_review"  # once more
    stale = await review(desk, 0, "accepted")
    assert "its labels are version 2 by now" in stale.json()["error"]
    assert (await review(desk, 0, "accepted", labels_version=2)).status_code == 200
    assert (await review(desk, 1, "accepted")).status_code == 200
    await desk.handle_reviews()
    assert await job_state(desk) == "completed"
    tree = await desk.flywheel.datasets.tree(await desk.head())
    rows = await tree.get([asset(0), asset(1)])
    assert [rows[asset(n)].shapes[0].class_name for n in (0, 1)] == ["shirt", "coat"]
    assert {row.shapes[0].review for row in rows.values()} == {"accepted"}


async def test_a_reviewer_mends_labels_and_is_named_as_their_source(desk: Desk) -> None:
    await desk.open(await desk.command(1, review=True))
    await label(desk, 0)
    mended = await review(desk, 0, "accepted", shapes=[{"class_name": "shirt"}])
    assert mended.status_code == 200, mended.text
    await desk.handle_reviews()
    tree = await desk.flywheel.datasets.tree(await desk.head())
    [shape] = (await tree.get([asset(0)]))[asset(0)].shapes
    assert (shape.class_name, shape.source) == ("shirt", "labeler:rita")
    path = f"/v1/jobs/{JOB}/items/{asset(0)}/history"
    said = (await desk.client.get(path)).json()["history"]
    assert [(row["kind"], row["by"]) for row in said] == [
        ("labels", "ada"), ("labels", "rita"), ("review", "rita"),
    ]  # fmt: skip


async def test_what_was_accepted_is_not_edited_and_nothing_is_reviewed_unlabeled(
    desk: Desk,
) -> None:
    await desk.open(await desk.command(2, review=True))
    assert "no labels to review" in (await review(desk, 0, "accepted")).json()["error"]
    await label(desk, 0)
    await review(desk, 0, "accepted")
    refused = await label(desk, 0, class_name="shirt")
    assert refused.status_code == 422
    assert "rita accepted its labels" in refused.json()["error"]


async def test_nothing_is_editable_after_completion_until_it_is_reopened(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await label(desk, 0)
    await label(desk, 1)
    assert await job_state(desk) == "completed"
    first = (await desk.head()).ref.version
    answer = await desk.client.post(f"/v1/jobs/{JOB}/next", json={"labeler": "ada"})
    assert answer.status_code == 422
    reopen = {"actor": "olga", "assets": [asset(1)]}
    answer = await desk.client.post(f"/v1/jobs/{JOB}/reopen", json=reopen)
    assert answer.json()["state"] == "in_progress"
    job = await desk.job()
    assert job.message.reopened
    assert job.commit.run.actor.name == "olga"
    assert numbers(await take(desk, "ada", 5)) == [1]
    assert (await label(desk, 1, class_name="shirt")).json()["version"] == 2
    assert await job_state(desk) == "completed"
    head = await desk.head()
    assert head.ref.version == first + 1
    assert head.message.changes["labels_changed"] == 1


async def test_reopening_without_names_brings_every_item_back(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    for number in range(3):
        await label(desk, number)
    await desk.handle_submissions()
    await desk.client.post(f"/v1/jobs/{JOB}/reopen")
    assert numbers(await take(desk, "bob", 5)) == [0, 1, 2]
    assert "is in progress" in (await desk.client.post(f"/v1/jobs/{JOB}/reopen")).json()["error"]


async def test_the_same_labels_after_being_sent_back_count_again(desk: Desk) -> None:
    await desk.open(await desk.command(1, review=True))
    await label(desk, 0)
    await review(desk, 0, "rejected", comment="look again")
    again = (await label(desk, 0)).json()
    assert (again["version"], again["unchanged"]) == (2, False)
    assert await state_of(desk, 0) == "submitted"


async def test_a_pending_job_takes_no_labels_until_it_is_started(desk: Desk) -> None:
    await desk.open(await desk.command(1, pending=True))
    assert "is pending" in (await label(desk, 0)).json()["error"]
    answer = await desk.client.post(f"/v1/jobs/{JOB}/start", json={"labeler": "olga"})
    assert answer.json()["state"] == "in_progress"
    assert (await label(desk, 0)).status_code == 200


async def test_a_job_that_keeps_filling_takes_more_items_and_settles_again(desk: Desk) -> None:
    dataset = await desk.flywheel.dataset("catalogue", [item(n) for n in range(5)])
    common = {"dataset": dataset.ref, "keeps_filling": True}
    await desk.open(await desk.command_over([asset(0), asset(1)], **common))
    await label(desk, 0)
    await label(desk, 1)
    assert await job_state(desk) == "in_progress"
    assert (await desk.head()).ref.version == 2
    more = await desk.command_over([asset(1), asset(2), asset(3)], **common)
    for _ in range(2):  # the same command again adds nothing
        await desk.service.on_open_labeling_job(more, delivery())
    await desk.caught_up()
    shown = (await desk.client.get(f"/v1/jobs/{JOB}")).json()
    assert (shown["items"], shown["submitted"]) == (4, 2)
    assert numbers(await take(desk, "ada", 5)) == [2, 3]
    await label(desk, 2)
    await label(desk, 3)
    await desk.handle_submissions()
    head = await desk.head()
    assert (head.ref.version, head.message.changes["labels_changed"]) == (3, 2)


async def test_jobs_are_opened_over_the_api_by_list_or_by_rule(desk: Desk) -> None:
    rows = [item(n, labeled=n < 2) for n in range(4)]
    await desk.flywheel.dataset("catalogue", rows)
    body = {
        "job": JOB, "dataset": "catalogue", "where": "!item.labeled", "priority": 3,
        "deadline": "2030-01-02T03:04:05Z", "notify": ["mailto:olga@example.org"],
    }  # fmt: skip
    made = await desk.client.post("/v1/jobs", json=body)
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["items"], job["priority"], job["where"]) == (2, 3, "!item.labeled")
    assert job["deadline"].startswith("2030-01-02T03:04:05")
    listed = {"job": "other", "dataset": "catalogue@v1", "items": [asset(0)]}
    assert (await desk.client.post("/v1/jobs", json=listed)).status_code == 201
    names = [job["job"] for job in (await desk.client.get("/v1/jobs")).json()["jobs"]]
    assert names == [JOB, "other"]  # the higher priority first


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"where": "item.nothing"}, "nothing", id="rule"),
        pytest.param({"where": "item.labeled"}, "no item of catalogue is chosen", id="none"),
        pytest.param({"shapes": ["circle"]}, "circle", id="shape"),
        pytest.param({"notify": ["fax:1"]}, "begins with neither", id="receiver"),
        pytest.param({"quorum": 3}, "a quorum of 3 out of 1", id="quorum"),
        pytest.param({"lease_s": 1}, "lease_s must be", id="lease"),
        pytest.param({"labelers": ["a", "a"]}, "different names", id="twice"),
        pytest.param({"ground_truth": [asset(1)]}, "is not labeled in catalogue@v1", id="truth"),
    ],
)
async def test_a_job_that_could_not_be_worked_is_refused_with_the_reason(
    desk: Desk, fields: Json, reason: str
) -> None:
    await desk.flywheel.dataset("catalogue", [item(n) for n in range(3)])
    given = {"job": JOB, "dataset": "catalogue", **fields}
    answer = await desk.client.post("/v1/jobs", json=given)
    assert answer.status_code == 422
    assert reason in answer.text
    assert desk.bus.sent(catalog.LABELING_JOB_COMMITTED) == []


async def test_several_label_each_item_blind_and_a_quorum_stands(desk: Desk) -> None:
    await desk.open(await desk.command(1, labelers_per_item=3))
    await label(desk, 0, "ada")
    seen_by_bob = await take(desk, "bob")
    assert seen_by_bob["items"][0]["item"]["labels"] is None
    assert numbers(await take(desk, "ada")) == []  # she has said hers
    await label(desk, 0, "bob", class_name="shirt")
    assert await state_of(desk, 0) == "queued"
    await label(desk, 0, "eve")
    assert await job_state(desk) == "completed"
    tree = await desk.flywheel.datasets.tree(await desk.head())
    [shape] = (await tree.get([asset(0)]))[asset(0)].shapes
    assert shape.class_name == "coat"
    assert shape.source in ("labeler:ada", "labeler:eve")


async def test_a_dispute_goes_to_a_reviewer(desk: Desk) -> None:
    await desk.open(await desk.command(1, labelers_per_item=2))
    await label(desk, 0, "ada")
    await label(desk, 0, "bob", class_name="shirt")
    assert await job_state(desk) == "on_review"
    assert await state_of(desk, 0) == "disputed"
    [taken] = (await take(desk, "rita", 1, "review/next"))["items"]
    assert taken["item"]["agreement"] == 0.0
    body = {"labels_version": 2, "shapes": [{"class_name": "shirt"}]}
    assert (await review(desk, 0, "accepted", **body)).status_code == 200
    await desk.handle_reviews()
    assert await job_state(desk) == "completed"


async def test_hidden_items_come_in_turn_and_go_nowhere(desk: Desk) -> None:
    rows = [item(n, labeled=n == 9) for n in range(10)]
    dataset = await desk.flywheel.dataset("catalogue", rows)
    truth = await desk.service.objects.put(Area.PLANS, canonical_json([asset(9)]))
    command = await desk.command_over(
        [asset(n) for n in range(3)],
        dataset=dataset.ref,
        ground_truth_digest=truth,
        ground_truth_count=1,
        ground_truth_every=2,
    )
    await desk.open(command)
    order = []
    for _ in range(4):
        [number] = numbers(await take(desk, "ada"))
        order.append(number)
        await label(desk, number)
    assert order == [0, 9, 1, 2]
    assert await job_state(desk) == "completed"
    head = await desk.head()
    assert head.message.changes["labels_changed"] == 3
    listed = (await desk.client.get(f"/v1/jobs/{JOB}/items", params={"limit": 3})).json()
    assert asset(9) not in [row["asset"] for row in listed["items"]]


async def test_a_restart_keeps_drafts_and_leases(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await take(desk, "ada")
    path = f"/v1/jobs/{JOB}/items/{asset(0)}/draft"
    await desk.client.put(path, json={"labeler": "ada", "shapes": [{"class_name": "coat"}]})
    service = desk.service
    await service.stop()
    await service.start()
    again = await take(desk, "ada")
    assert numbers(again) == [0]
    assert again["items"][0]["draft"]["shapes"][0]["class_name"] == "coat"
    assert numbers(await take(desk, "bob")) == [1]


async def test_rows_can_be_dropped_and_come_back_as_they_were(desk: Desk) -> None:
    await desk.open(await desk.command(3, review=True))
    await label(desk, 0)
    await label(desk, 1)
    await review(desk, 1, "rejected", comment="no")
    before = [await state_of(desk, n) for n in range(3)]
    await desk.service.projector.rebuild()
    assert [await state_of(desk, n) for n in range(3)] == before == [
        "submitted", "rejected", "queued",
    ]  # fmt: skip
    assert numbers(await take(desk, "ada", 5)) == [1, 2]


async def test_time_on_each_shape_and_tags_are_kept(desk: Desk) -> None:
    await desk.open(await desk.command(1))
    shapes = [{"class_name": "coat", "id": "s1", "spent_s": 3.5}]
    await label(desk, 0, shapes=shapes, tags=["wet"], spent_s=9)
    [said] = desk.bus.sent(catalog.LABELS_SUBMITTED)
    assert dict(said.shape_spent_s) == {"s1": 3.5}
    await desk.handle_submissions()
    tree = await desk.flywheel.datasets.tree(await desk.head())
    assert (await tree.get([asset(0)]))[asset(0)].tags == ("wet",)


async def test_items_that_were_added_to_another_dataset_are_refused(desk: Desk) -> None:
    dataset = await desk.flywheel.dataset("catalogue", [item(0)])
    other = await desk.flywheel.dataset("shoes", [item(0)])
    fills: Json = {"keeps_filling": True}
    await desk.open(await desk.command_over([asset(0)], dataset=dataset.ref, **fills))
    command: OpenLabelingJob = await desk.command_over([asset(0)], dataset=other.ref, **fills)
    with pytest.raises(Rejected, match="is about catalogue"):
        await desk.service.jobs.open(command)
    assert (await desk.job()).message.state == JobState.JOB_STATE_IN_PROGRESS


async def labeled_job(desk: Desk, **fields: Any) -> None:
    """Open a job over images that the dataset has labels for."""
    rows = [item(n, labeled=n < 2, split="train") for n in range(3)]
    dataset = await desk.flywheel.dataset("catalogue", rows)
    assets = [asset(n) for n in range(3)]
    await desk.open(await desk.command_over(assets, dataset=dataset.ref, **fields))


async def test_labeled_images_start_from_what_the_dataset_says(desk: Desk) -> None:
    await labeled_job(desk)
    found = await take(desk, "ada", 3)
    assert [
        [shape["class_name"] for shape in row["item"]["existing"]] for row in found["items"]
    ] == [[CLASSES[0]], [CLASSES[1]], []]
    assert all(row["item"]["labels"] is None for row in found["items"])
    for number in range(3):
        assert (await label(desk, number, class_name=CLASSES[1])).status_code == 200
    await desk.handle_submissions()
    tree = await desk.flywheel.datasets.tree(await desk.head())
    rows = await tree.get([asset(n) for n in range(3)])
    edited, kept, new = (rows[asset(n)].shapes[0] for n in range(3))
    assert (edited.edited_from, edited.source) == ("1", "labeler:ada")
    assert kept == item(1, labeled=True).shapes[0]
    assert (new.edited_from, new.source) == ("", "labeler:ada")


@pytest.mark.parametrize("how", ["asked", "ground truth"])
async def test_images_start_empty_where_that_is_asked_or_would_give_the_truth_away(
    desk: Desk, how: str
) -> None:
    truth = {}
    if how == "ground truth":
        rows = [item(n, labeled=n in (0, 9)) for n in (0, 1, 2, 9)]
        dataset = await desk.flywheel.dataset("catalogue", rows)
        digest = await desk.service.objects.put(Area.PLANS, canonical_json([asset(9)]))
        truth = {"ground_truth_digest": digest, "ground_truth_count": 1}
        assets = [asset(n) for n in range(3)]
        await desk.open(await desk.command_over(assets, dataset=dataset.ref, **truth))
    else:
        await labeled_job(desk, start_empty=True)
    answer = await desk.client.get(f"/v1/jobs/{JOB}")
    assert answer.json()["start_empty"] is True
    found = await take(desk, "ada", 3)
    assert [row["item"]["existing"] for row in found["items"]] == [[], [], []]


async def test_the_cache_of_another_release_is_built_anew(desk: Desk) -> None:
    await labeled_job(desk)
    rows = desk.service.rows
    with rows._writer.begin() as connection:
        connection.execute(text("ALTER TABLE annotate_job_items DROP COLUMN existing"))
    await rows.open()
    desk.service.sources._whole.clear()
    await desk.service.sources.ensure(JOB)
    found = await take(desk, "ada", 3)
    assert [len(row["item"]["existing"]) for row in found["items"]] == [1, 1, 0]


async def test_other_people_are_asked_by_another_date_and_that_is_recorded(desk: Desk) -> None:
    await desk.open(await desk.command(2, labelers=["ada"]))
    refused = await desk.client.post(f"/v1/jobs/{JOB}/next", json={"labeler": "bob"})
    assert refused.status_code == 403
    change = {"labelers": ["bob"], "priority": 5, "deadline": "2027-01-02T03:04:05+00:00"}
    answer = await desk.client.patch(f"/v1/jobs/{JOB}", json={"actor": "olga", **change})
    changed = answer.json()
    assert (changed["labelers"], changed["priority"]) == (["bob"], 5)
    assert changed["deadline"] == "2027-01-02T03:04:05.000+00:00"
    assert (await label(desk, 0, "bob")).status_code == 200
    assert (await label(desk, 1, "ada")).status_code == 403
    again = await desk.client.patch(f"/v1/jobs/{JOB}", json={"actor": "olga", **change})
    assert again.json()["version"] == changed["version"]
    twice = await desk.client.patch(f"/v1/jobs/{JOB}", json={"labelers": ["bob", "bob"]})
    assert twice.status_code == 422


async def test_a_jobs_history_tells_who_stopped_and_reopened_it(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await desk.client.post(f"/v1/jobs/{JOB}/stop", json={"actor": "olga"})
    refused = await desk.client.patch(f"/v1/jobs/{JOB}", json={"priority": 1})
    assert refused.status_code == 422
    await desk.client.post(f"/v1/jobs/{JOB}/reopen", json={"actor": "pia"})
    history = (await desk.client.get(f"/v1/jobs/{JOB}/history")).json()["history"]
    told = [(one["by"], one["state"], one["reopened"]) for one in history]
    assert told == [
        ("catalogue", "in_progress", False),
        ("olga", "stopped", False),
        ("pia", "in_progress", True),
    ]
    assert (await desk.client.get("/v1/jobs/none/history")).status_code == 404
