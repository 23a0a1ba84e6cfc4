"""annotate's handlers over in-memory twins: from a command to the dataset's next version."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import json_format

from loopline.contracts import (
    JobState,
    NotificationSent,
    OpenLabelingJob,
    RunKind,
    RunState,
    catalog,
)
from loopline.errors import NotFound, Rejected, Transient
from loopline.store.items import Item, Shape
from loopline.store.objects import Area
from loopline.testing.flywheel import asset, item
from loopline.testing.memory import delivery
from services.annotate.adapters.submissions import Proposal
from tests.unit.annotate.desk import JOB, Desk, annotate_service


async def test_command_opens_a_job_with_what_it_meant_made_exact(desk: Desk) -> None:
    command = await desk.command(classes=[], dataset={"name": "catalogue"})
    opened = await desk.open(command)
    asked = opened.message.specification
    assert opened.message.state == JobState.JOB_STATE_IN_PROGRESS
    assert asked.dataset == (await desk.head()).ref
    assert list(asked.classes) == ["coat", "shirt"]
    roles = {ref.role: ref.name for ref in opened.commit.run.inputs}
    assert roles.keys() == {"items", "predictions"}
    assert opened.commit.run.actor.name == "catalogue"


async def test_the_same_command_again_changes_nothing(desk: Desk) -> None:
    command = await desk.command()
    first = await desk.open(command)
    await desk.flywheel.dataset("catalogue", [item(9)])  # the head moved on meanwhile
    assert await desk.open(command) == first


async def test_another_specification_under_the_same_name_is_rejected(desk: Desk) -> None:
    command = await desk.command()
    await desk.open(command)
    command.instructions = "look twice"
    with pytest.raises(Rejected, match="relabel exists with another specification"):
        await desk.open(command)


async def test_two_processes_open_one_job_once(desk: Desk, tmp_path: Path) -> None:
    other = annotate_service(desk.bus, desk.blobs, tmp_path, desk.clock)
    await other.start()
    command = await desk.command()
    await asyncio.gather(
        desk.service.on_open_labeling_job(command, delivery()),
        other.on_open_labeling_job(command, delivery()),
    )
    history = await desk.service.log.history(catalog.LABELING_JOB_COMMITTED, name=JOB)
    assert len(history) == 1
    await other.stop()


async def test_jobs_over_what_is_not_there_are_rejected_by_name(desk: Desk) -> None:
    command = await desk.command()
    absent = OpenLabelingJob()
    absent.CopyFrom(command)
    absent.items_digest = "0" * 64
    with pytest.raises(NotFound, match=f"job relabel: there is no list of items {'0' * 64}"):
        await desk.open(absent)
    with pytest.raises(NotFound, match="there is no dataset hats"):
        await desk.open(await desk.command_over([asset(0)], dataset={"name": "hats"}))
    stranger = await desk.command_over([asset(0), asset(99)], dataset=command.dataset)
    with pytest.raises(Rejected, match=f"asset {asset(99)} is not in catalogue@v1"):
        await desk.open(stranger)
    digest = await desk.service.objects.put(Area.PLANS, b"{broken")
    stranger.items_digest = digest
    with pytest.raises(Rejected, match="its list of items is not JSON"):
        await desk.open(stranger)


async def test_last_submission_commits_the_dataset_and_completes_the_job(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    for number in range(2):
        await desk.label(number, "coat")
    await desk.handle_submissions()
    assert (await desk.head()).ref.version == 1, "one item has no labels yet"
    await desk.label(2, "shirt", labeler="bob")
    await desk.handle_submissions()

    head = await desk.head()
    assert head.ref.version == 2
    run = head.commit.run
    assert run.kind == RunKind.RUN_KIND_ANNOTATE
    assert {ref.role for ref in run.inputs} == {"items", "job", "predictions", "labels"}
    assert json_format.MessageToDict(run.parameters)["labelers"] == {"ada": 2, "bob": 1}
    assert run.figures["agreement"] == pytest.approx(1 / 3)
    assert head.message.changes["labels_changed"] == 3
    assert head.message.statistics["labeled:train"] == 3

    job = await desk.job()
    assert job.message.state == JobState.JOB_STATE_COMPLETED
    assert "33%" in job.commit.summary
    labeled = next(ref for ref in job.commit.run.inputs if ref.role == "labeled")
    assert labeled.version == 2


async def test_items_keep_who_labeled_them_and_what_they_were_edited_from(desk: Desk) -> None:
    await desk.open(await desk.command(1))
    await desk.label(0, "coat")
    await desk.handle_submissions()
    [row] = await _rows(desk)
    [shape] = row.shapes
    assert (shape.class_name, shape.source, shape.edited_from) == ("coat", "labeler:ada", "1")
    assert row.labeled
    assert row.split == "train"
    assert row.source == "s3://customer/photos/0000.png"


async def test_report_shows_where_the_model_was_wrong(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await desk.label(0, "coat")
    await desk.label(1, "shirt")
    await desk.handle_submissions()
    [report] = (await desk.head()).commit.run.outputs
    rows = json.loads(await desk.service.objects.get(Area.REPORTS, report.digest))
    assert {row["asset"]: row["agreed"] for row in rows} == {asset(0): False, asset(1): True}


async def test_labels_are_merged_onto_what_the_dataset_has_become(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await desk.flywheel.dataset("catalogue", [item(7, labeled=True, split="train")])
    tagged = replace(item(0), tags=("checked",), split="val")
    await desk.flywheel.dataset("catalogue", [tagged])
    await desk.label(0)
    await desk.label(1)
    await desk.handle_submissions()
    rows = {row.asset: row for row in await _rows(desk)}
    assert len(rows) == 3
    assert rows[asset(0)].tags == ("checked",)
    assert rows[asset(0)].split == "val"
    assert rows[asset(0)].labeled


async def test_item_that_was_removed_meanwhile_stays_removed(desk: Desk) -> None:
    command = await desk.command(2)
    await desk.open(command)
    run = (await desk.head()).commit.run
    run.id = "1" * 64
    await desk.flywheel.datasets.commit_changes(
        "catalogue", removals=[asset(0)], run=run, summary="out"
    )
    await desk.label(0)
    await desk.label(1)
    await desk.handle_submissions()
    assert [row.asset for row in await _rows(desk)] == [asset(1)]
    assert (await desk.head()).commit.run.figures["left_out"] == 1


async def test_everything_redelivered_changes_nothing(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    for number in range(3):
        await desk.label(number)
    await desk.handle_submissions()
    length = await desk.service.log.store.last_sequence()
    await desk.handle_submissions()
    await desk.caught_up()
    await desk.handle_submissions()
    assert await desk.service.log.store.last_sequence() == length


async def test_killed_between_dataset_and_completion_the_next_one_completes(desk: Desk) -> None:
    await desk.open(await desk.command(2))
    await desk.label(0)
    await desk.label(1)
    await desk.caught_up()
    complete = desk.service.jobs.settled

    async def killed(*args: object, **kwargs: object) -> None:
        raise Transient("killed here")

    desk.service.jobs.settled = killed  # type: ignore[method-assign, assignment]  # the kill
    with pytest.raises(Transient, match="killed here"):
        await desk.handle_submissions()
    assert (await desk.head()).ref.version == 2
    desk.service.jobs.settled = complete  # type: ignore[method-assign]
    await desk.handle_submissions()
    assert (await desk.head()).ref.version == 2
    assert (await desk.job()).message.state == JobState.JOB_STATE_COMPLETED


async def test_two_processes_settle_one_job_once(desk: Desk, tmp_path: Path) -> None:
    other = annotate_service(desk.bus, desk.blobs, tmp_path / "other", desk.clock)
    await other.start()
    await desk.open(await desk.command(2))
    await desk.label(0)
    await desk.label(1)
    job = await desk.job()
    # Each has a database of its own: one that has not seen the labels would say so, and try again.
    labeled = await desk.service.log.store.last_sequence()
    for each in (desk.service, other):
        await each.projector.wait_applied(labeled, timeout_s=5)
    await asyncio.gather(desk.service.settlement.settle(job), other.settlement.settle(job))
    assert (await desk.head()).ref.version == 2
    assert (await desk.job()).ref.version == 2
    await other.stop()


async def test_database_that_was_lost_is_built_anew_and_what_was_left_is_settled(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(await desk.command(2))
    await desk.label(0)
    await desk.label(1)
    other = annotate_service(desk.bus, desk.blobs, tmp_path / "fresh", desk.clock)
    await other.start()
    await other._left_over
    job = await other.board.job(JOB)
    assert job is not None
    assert job.submitted == 2
    assert (await desk.job()).message.state == JobState.JOB_STATE_COMPLETED
    await other.stop()


async def test_correction_that_was_on_its_way_is_in_the_dataset_too(desk: Desk) -> None:
    """A submission that passed the check just before the job was completed is not lost."""
    await desk.open(await desk.command(2))
    await desk.label(0)
    opened = await desk.service.submissions.open_job(JOB, [asset(0)])
    await desk.label(1)
    await desk.handle_submissions()
    late = Proposal(asset(0), "ada", (Shape("", "shirt"),))
    await desk.service.submissions.submit(opened, late)
    await desk.handle_submissions()
    rows = {row.asset: row for row in await _rows(desk)}
    assert rows[asset(0)].shapes[0].class_name == "shirt"
    assert (await desk.head()).ref.version == 3


async def test_stopped_job_keeps_the_labels_it_has(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    await desk.label(0)
    answer = await desk.client.post(f"/v1/jobs/{JOB}/stop", json={"actor": "olga"})
    assert answer.json()["state"] == "stopped"
    job = await desk.job()
    await desk.service.on_labeling_job_committed(job.message, delivery(job.sequence))
    await desk.handle_submissions()
    assert [row.labeled for row in await _rows(desk)].count(True) == 1
    assert (await desk.job()).message.state == JobState.JOB_STATE_STOPPED
    assert (await desk.label(1)).status_code == 422


async def test_stopped_job_drops_its_labels_where_asked_to(desk: Desk) -> None:
    await desk.open(await desk.command(3))
    await desk.label(0)
    body = {"actor": "olga", "keep_labels": False}
    await desk.client.post(f"/v1/jobs/{JOB}/stop", json=body)
    job = await desk.job()
    await desk.service.on_labeling_job_committed(job.message, delivery(job.sequence))
    assert (await desk.head()).ref.version == 1


async def test_webhook_down_for_an_hour_hears_of_the_job_in_the_end(desk: Desk) -> None:
    job = await desk.open(await desk.command())
    desk.receiver.down = True
    attempt, waited_s = 1, 0.0
    while True:
        desk.receiver.down = waited_s < 3600
        try:
            await desk.tell(job, attempt)
            break
        except Transient as error:
            delay_s = error.retry_after_s or 0.0
            desk.clock.advance(delay_s)
            waited_s += delay_s
            attempt += 1
    assert 3600 <= waited_s < 2 * 3600
    requests = desk.receiver.requests
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    sent_at = [int(request.headers["webhook-timestamp"]) for request in requests]
    assert sent_at[-1] - sent_at[0] == waited_s
    [told] = desk.bus.sent(catalog.NOTIFICATION_SENT)
    assert (told.outcome, told.attempts) == ("delivered", attempt)


async def test_webhook_that_stays_down_is_given_up_after_days(desk: Desk) -> None:
    job = await desk.open(await desk.command())
    desk.receiver.status = 503
    delays_s = desk.service.settings.webhook_delays_s
    for attempt in range(1, len(delays_s) + 1):
        with pytest.raises(Transient, match="http://receiver/hook: HTTP 503"):
            await desk.tell(job, attempt)
    with pytest.raises(Rejected, match="given up after 15 attempts: HTTP 503"):
        await desk.tell(job, len(delays_s) + 1)
    [told] = desk.bus.sent(catalog.NOTIFICATION_SENT)
    assert told == NotificationSent(
        job=JOB,
        url="http://receiver/hook",
        outcome="failed",
        attempts=15,
        detail="HTTP 503",
        id=told.id,
        type="labeling_job.opened",
        version=1,
    )
    assert told.id == desk.receiver.requests[0].headers["webhook-id"]


async def test_receiver_that_is_gone_is_not_asked_again(desk: Desk) -> None:
    job = await desk.open(await desk.command())
    desk.receiver.status = 410
    with pytest.raises(Rejected, match="given up after 1 attempts: HTTP 410"):
        await desk.tell(job)


async def test_redirects_are_not_followed(desk: Desk) -> None:
    job = await desk.open(await desk.command())
    desk.receiver.status = 302
    with pytest.raises(Transient, match="HTTP 302"):
        await desk.tell(job)
    assert len(desk.receiver.requests) == 1


async def test_webhook_is_told_of_opening_and_completion(desk: Desk) -> None:
    opened = await desk.open(await desk.command(1, instructions="look at the sleeves"))
    await desk.tell(opened)
    await desk.label(0)
    await desk.handle_submissions()
    completed = await desk.job()
    await desk.tell(completed)
    first, second = (json.loads(request.content) for request in desk.receiver.requests)
    assert first["type"] == "labeling_job.opened"
    assert first["data"]["instructions"] == "look at the sleeves"
    assert first["data"]["items"] == 1
    assert second["type"] == "labeling_job.completed"
    assert second["data"]["labeled"]["version"] == 2
    assert second["data"]["figures"]["agreement"] == 0


async def test_progress_is_told_from_the_first_item_to_the_last(desk: Desk) -> None:
    opened = await desk.open(await desk.command(2))
    for number in range(2):
        await desk.label(number)
        await desk.handle_submissions()
    job = await desk.job()
    await desk.service.on_labeling_job_committed(job.message, delivery(job.sequence))
    reports = desk.bus.sent(catalog.RUN_CHANGED)
    assert {report.run_id for report in reports} == {opened.commit.run.id}
    assert [(RunState.Name(r.state)[10:], r.done, r.total) for r in reports] == [
        ("RUNNING", 0, 2),
        ("RUNNING", 1, 2),
        ("RUNNING", 2, 2),
        ("COMPLETED", 2, 2),
    ]
    assert reports[-1].artefact.version == 2


async def test_job_without_a_webhook_tells_nobody(desk: Desk) -> None:
    job = await desk.open(await desk.command(webhook_url=""))
    await desk.tell(job)
    assert desk.receiver.requests == []
    assert desk.bus.sent(catalog.SEND_NOTIFICATION) == []


async def _rows(desk: Desk) -> list[Item]:
    tree = await desk.flywheel.datasets.tree(await desk.head())
    return [row async for row in tree.rows()]
