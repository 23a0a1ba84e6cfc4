"""A person's work: items held by one person, drafts, reviews, what several say of one item."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from loopline.contracts import catalog
from loopline.digests import canonical_json
from loopline.store.objects import Area
from loopline.testing.flywheel import CLASSES, asset, item
from services.annotate.adapters.submissions import Proposal
from services.annotate.domain.holding import Overtaken
from tests.unit.annotate.desk import JOB, Desk
from tests.unit.annotate.people import job_state, label, numbers, review, state_of, take


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


async def test_the_same_labels_after_being_sent_back_count_again(desk: Desk) -> None:
    await desk.open(await desk.command(1, review=True))
    await label(desk, 0)
    await review(desk, 0, "rejected", comment="look again")
    again = (await label(desk, 0)).json()
    assert (again["version"], again["unchanged"]) == (2, False)
    assert await state_of(desk, 0) == "submitted"


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


async def test_time_on_each_shape_and_tags_are_kept(desk: Desk) -> None:
    await desk.open(await desk.command(1))
    shapes = [{"class_name": "coat", "id": "s1", "spent_s": 3.5}]
    await label(desk, 0, shapes=shapes, tags=["wet"], spent_s=9)
    [said] = desk.bus.sent(catalog.LABELS_SUBMITTED)
    assert dict(said.shape_spent_s) == {"s1": 3.5}
    await desk.handle_submissions()
    tree = await desk.flywheel.datasets.tree(await desk.head())
    assert (await tree.get([asset(0)]))[asset(0)].tags == ("wet",)


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
