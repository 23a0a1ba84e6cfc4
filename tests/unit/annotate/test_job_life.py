"""A job's life: opened, started, filled, changed, completed, opened again; all of it recorded."""

from __future__ import annotations

from typing import Any

import pytest

from loopline.contracts import JobState, OpenLabelingJob, catalog
from loopline.errors import Rejected
from loopline.testing.flywheel import asset, item
from loopline.testing.memory import delivery
from tests.unit.annotate.desk import JOB, Desk
from tests.unit.annotate.people import Json, job_state, label, numbers, review, state_of, take


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


async def test_items_that_were_added_to_another_dataset_are_refused(desk: Desk) -> None:
    dataset = await desk.flywheel.dataset("catalogue", [item(0)])
    other = await desk.flywheel.dataset("shoes", [item(0)])
    fills: Json = {"keeps_filling": True}
    await desk.open(await desk.command_over([asset(0)], dataset=dataset.ref, **fills))
    command: OpenLabelingJob = await desk.command_over([asset(0)], dataset=other.ref, **fills)
    with pytest.raises(Rejected, match="is about catalogue"):
        await desk.service.jobs.open(command)
    assert (await desk.job()).message.state == JobState.JOB_STATE_IN_PROGRESS


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


async def test_a_deadline_is_moved_and_taken_away(desk: Desk) -> None:
    await desk.open(await desk.command(1))

    async def changed(**change: Any) -> Json:
        answer = await desk.client.patch(f"/v1/jobs/{JOB}", json={"actor": "olga", **change})
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    moved = await changed(deadline="2027-01-02T03:04:05+00:00")
    assert moved["deadline"] == "2027-01-02T03:04:05.000+00:00"
    assert (await changed(priority=2))["deadline"] == moved["deadline"]
    assert (await changed(deadline=None))["version"] == moved["version"] + 1  # says nothing of it
    gone = await changed(deadline="")
    assert (gone["deadline"], gone["priority"]) == (None, 2)
    assert (await changed(deadline=""))["version"] == gone["version"]
    await changed(labelers=[], instructions=gone["instructions"], priority=3)
    history = (await desk.client.get(f"/v1/jobs/{JOB}/history")).json()["history"]
    assert history[-1]["summary"] == f"{JOB} changed by olga: priority"  # what stayed is not told
    refused = await desk.client.patch(f"/v1/jobs/{JOB}", json={"deadline": "never"})
    assert refused.status_code == 422


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
