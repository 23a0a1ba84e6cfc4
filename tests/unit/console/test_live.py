"""Runs, agents, and the stream of events that a browser takes up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from loopline.access import Role
from loopline.contracts import (
    Agent,
    AgentReported,
    ArtefactKind,
    ArtefactRef,
    ChunkCompleted,
    ImportRules,
    RunChanged,
    RunKind,
    RunState,
    TrainingProgress,
    TrainModel,
    catalog,
)
from loopline.lineage.details import plain_struct
from loopline.runtime.bus import current_command
from loopline.store import runs
from loopline.store.commits import timestamp
from loopline.testing.flywheel import item
from services.console.adapters.events import Position
from tests.unit.console.desk import Desk

RUN = "b" * 64
Json = dict[str, Any]


async def reported(desk: Desk, **fields: Any) -> None:
    changed = RunChanged(
        run_id=RUN, kind=RunKind.RUN_KIND_TRAIN, state=RunState.RUN_STATE_RUNNING,
        title="shoes on shoes@v1", unit="epochs", total=4,
        agent=Agent(id="t-1", host="h", service="trainer"),
    )  # fmt: skip
    changed.MergeFrom(RunChanged(**fields))
    await desk.service.bus.report(changed)
    await desk.service.view.catch_up()


class Events:
    """What a browser reads of the stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> Json:
        told: Json = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name == "data":
                    return told | {"data": json.loads(value)}
                if name in ("id", "event"):
                    told[name] = value
        raise AssertionError("the stream ended")


@asynccontextmanager
async def listening(
    client: httpx.AsyncClient, last_id: str = "", types: str = ""
) -> AsyncIterator[Events]:
    headers = {"last-event-id": last_id} if last_id else {}
    params = {"types": types} if types else {}
    async with client.stream("GET", "/api/events", headers=headers, params=params) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith(":")  # it listens from here on
        yield Events(lines)


async def test_commits_and_reports_are_told_as_they_happen(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client) as events:
        await desk.flywheel.dataset("shoes", [item(1)])
        first = await events.next()
        assert (first["event"], first["data"]["node"]) == ("dataset_committed", "dataset:shoes@1")
        await reported(desk, done=1)
        second = await events.next()
        assert (second["event"], second["data"]["run"]["progress"]) == ("run_changed", 0.25)


async def test_stream_is_taken_up_where_it_was_left(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client) as events:
        await desk.flywheel.dataset("shoes", [item(1)])
        last = (await events.next())["id"]
    await reported(desk, done=1)
    await desk.flywheel.dataset("shoes", [item(2)])
    await desk.seen()
    async with listening(client, last) as events:
        missed = [await events.next(), await events.next()]
        assert {one["event"] for one in missed} == {"dataset_committed", "run_changed"}
        await desk.flywheel.dataset("shoes", [item(3)])
        live = await events.next()
        assert live["data"]["node"] == "dataset:shoes@3", "nothing twice, nothing left out"


async def test_every_event_is_told_once_however_often_the_stream_breaks(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    last = (await client.get("/api/events/recent")).json()["last_id"]
    told: list[str] = []
    for number in range(1, 13):
        await desk.flywheel.dataset("shoes", [item(number)])
        if number % 3 == 0:
            async with listening(client, last) as events:
                for _ in range(3):
                    one = await events.next()
                    told.append(one["data"]["node"])
                    last = one["id"]
    assert told == [f"dataset:shoes@{number}" for number in range(1, 13)]


async def test_who_is_too_far_behind_is_told_to_begin_anew(desk: Desk) -> None:
    desk.service.desks.feed._behind_max = 2
    client = await desk.signed_in(Role.VIEWER)
    for number in range(4):
        await desk.flywheel.dataset("shoes", [item(number)])
    await desk.seen()
    async with listening(client, "1-0") as events:
        assert (await events.next())["event"] == "reset"
    async with listening(client, "900-900") as events:
        assert (await events.next())["event"] == "reset", "another log's position"


async def test_only_what_is_asked_for_is_told(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client, types="run_changed") as events:
        await desk.flywheel.dataset("shoes", [item(1)])
        await reported(desk, done=2)
        assert (await events.next())["event"] == "run_changed"


async def test_what_workers_tell_each_other_is_not_told(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client) as events:
        chunk = ChunkCompleted(run_id=RUN, index=0, total=1)
        await desk.service.bus.send(catalog.CHUNK_COMPLETED, chunk, id="c", run_id=RUN, index="0")
        await reported(desk, done=2)
        assert (await events.next())["event"] == "run_changed"


async def test_silent_stream_says_that_it_is_there(desk: Desk) -> None:
    client = await desk.signed_in(Role.VIEWER)
    async with client.stream("GET", "/api/events") as answer, asyncio.timeout(5):
        lines = answer.aiter_lines()
        said = [line async for line in _first(lines, 4)]
    assert ": nothing new" in said


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    for _ in range(count):
        yield await anext(lines)


async def test_readers_have_a_limit(desk: Desk) -> None:
    desk.service.desks.feed._readers_max = 1
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client):
        assert (await client.get("/api/events")).status_code == 503


@pytest.mark.parametrize("text", ["x", "1", "1-", "-1-2", "1-2-3", "9" * 50 + "-1"])
async def test_id_that_is_none_is_refused(desk: Desk, text: str) -> None:
    client = await desk.signed_in(Role.VIEWER)
    answer = await client.get("/api/events", headers={"last-event-id": text})
    assert answer.status_code == 422
    assert Position.parse("") is None


async def test_runs_are_listed_by_kind_state_and_command(desk: Desk) -> None:
    await desk.flywheel.dataset("shoes", [item(1)])
    await reported(desk, done=1, command_id="cmd-1")
    await reported(desk, done=2, command_id="cmd-1/later")
    await desk.seen()
    client = await desk.signed_in(Role.VIEWER)

    async def ids(**query: str) -> set[str]:
        answer = await client.get("/api/runs", params=query)
        return {run["kind"] for run in answer.json()["runs"]}

    assert await ids() == {"import", "train"}
    assert await ids(kinds="train") == {"train"}
    assert await ids(state="active") == {"train"}
    assert await ids(state="completed") == {"import"}
    assert await ids(command_id="cmd-1") == {"train"}
    assert await ids(command_id="cmd-2") == set()
    assert await ids(search="shoes@v1") == {"train"}
    run = (await client.get(f"/api/runs/{RUN}")).json()
    assert (run["command_id"], run["can_cancel"], run["progress"]) == ("cmd-1", True, 0.5)
    assert (await client.get("/api/runs/none")).status_code == 404


async def test_runs_come_in_pages(desk: Desk) -> None:
    for number in range(5):
        desk.clock.advance(1)
        await desk.flywheel.dataset("shoes", [item(number)])
    await desk.seen()
    client = await desk.signed_in(Role.VIEWER)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get("/api/runs", params={"limit": 2, "cursor": cursor})).json()
        seen += [run["artefact"]["label"] for run in page["runs"]]
        cursor = page["next_cursor"]
    assert seen == [f"shoes v{number}" for number in range(5, 0, -1)]


async def test_progress_gives_the_points_of_curves(desk: Desk) -> None:
    for epoch in range(1, 4):
        training = TrainingProgress(
            epoch=epoch, epochs=4, step=epoch * 10, loss=1 / epoch, metrics={"accuracy": 0.2}
        )
        await reported(desk, done=epoch, training=training)
    client = await desk.signed_in(Role.VIEWER)
    points = (await client.get(f"/api/runs/{RUN}/progress")).json()["points"]
    assert [point["step"] for point in points] == [10, 20, 30]
    assert [point["figures"]["loss"] for point in points] == [1, 0.5, pytest.approx(1 / 3)]
    assert points[0]["figures"]["accuracy"] == 0.2


async def test_a_run_is_stopped_by_a_command_in_the_persons_name(desk: Desk) -> None:
    await reported(desk, done=1)
    client = await desk.signed_in(Role.OPERATOR)
    answer = await client.post(f"/api/runs/{RUN}/cancel", json={"reason": "wrong data"})
    assert answer.status_code == 202
    [command] = desk.bus.sent(catalog.CANCEL_RUN)
    assert (command.run_id, command.actor.name, command.reason) == (RUN, "operator", "wrong data")
    await reported(desk, state=RunState.RUN_STATE_CANCELLED)
    again = await client.post(f"/api/runs/{RUN}/cancel", json={})
    assert again.status_code == 422


async def test_an_import_is_asked_for_again_as_it_was(desk: Desk) -> None:
    source = ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_SOURCE, name="s3://customer/photos/new%20shoes/",
        role="images",
    )  # fmt: skip
    labels = ArtefactRef(kind=source.kind, name="s3://customer/photos/labels.csv", role="labels")
    parameters = {"rules": {"min_side_px": 9, "max_object_bytes": 5}, "classes": ["a", "b"]}
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, inputs=[source, labels], parameters=parameters)
    await desk.flywheel.datasets.commit_changes("shoes", [item(1)], run=run, summary="imported")
    await desk.seen()
    client = await desk.signed_in(Role.OPERATOR)
    assert (await client.post(f"/api/runs/{run.id}/rerun")).status_code == 202
    [command] = desk.bus.sent(catalog.IMPORT_IMAGES)
    assert (command.source.connection, command.source.bucket) == ("customer", "photos")
    assert (command.source.prefix, command.labels_key) == ("new shoes/", "labels.csv")
    assert command.rules == ImportRules(min_side_px=9)
    assert list(command.classes) == ["a", "b"]
    assert command.actor.name == "operator"


async def test_a_training_is_asked_for_again_and_reproduced(desk: Desk) -> None:
    dataset = await desk.flywheel.dataset("shoes", [item(1)])
    model = await desk.flywheel.model("shoes", "w1", {"accuracy": 0.8})
    model.commit.run.inputs.append(dataset.ref)
    model.commit.run.parameters.update({"epochs": 3, "recipe": "classification", "classes": []})
    await desk.seen()
    desk.service.view.commits["model:shoes@1"].message.CopyFrom(model.message)
    client = await desk.signed_in(Role.OPERATOR)
    run = model.commit.run.id
    assert (await client.post(f"/api/runs/{run}/rerun")).status_code == 202
    [command] = desk.bus.sent(catalog.TRAIN_MODEL)
    assert plain_struct(command.parameters) == {"epochs": 3, "weights": "w1"}
    assert (command.model, command.dataset.version) == ("shoes", 1)
    assert (await client.post(f"/api/runs/{run}/reproduce")).status_code == 202
    [reproduce] = desk.bus.sent(catalog.REPRODUCE_MODEL)
    assert (reproduce.model.name, reproduce.model.version) == ("shoes", 1)
    imported = dataset.commit.run.id
    assert (await client.post(f"/api/runs/{imported}/reproduce")).status_code == 422


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
async def test_a_run_that_committed_nothing_is_asked_for_again_as_it_was(
    desk: Desk, state: str
) -> None:
    asked = TrainModel(model="shoes", recipe="classification")
    asked.parameters.update({"epochs": 3})
    current_command.set(asked)
    await reported(desk, done=1)
    current_command.set(None)
    client = await desk.signed_in(Role.OPERATOR)
    early = await client.post(f"/api/runs/{RUN}/rerun")
    assert (early.status_code, desk.bus.sent(catalog.TRAIN_MODEL)) == (422, [])
    await reported(desk, state=RunState.Value(f"RUN_STATE_{state}"), message="no room")
    run = (await client.get(f"/api/runs/{RUN}")).json()
    assert run["can_rerun"]
    assert (await client.post(f"/api/runs/{RUN}/rerun")).status_code == 202
    [command] = desk.bus.sent(catalog.TRAIN_MODEL)
    assert (command.model, plain_struct(command.parameters)) == ("shoes", {"epochs": 3})
    assert command.actor.name == "operator"


async def test_a_run_whose_command_is_not_known_cannot_be_asked_for_again(desk: Desk) -> None:
    await reported(desk, state=RunState.RUN_STATE_FAILED)
    client = await desk.signed_in(Role.OPERATOR)
    answer = await client.post(f"/api/runs/{RUN}/rerun")
    assert (answer.status_code, "known no more" in answer.text) == (404, True)


async def test_agents_are_gone_after_silence(desk: Desk) -> None:
    told = AgentReported(
        agent=Agent(id="t-1", host="h", service="trainer"), kind="trainer", capacity=1,
        labels={"gpu": "h100"}, at=timestamp(desk.clock), every_s=10,
    )  # fmt: skip
    await desk.service.bus.send(catalog.AGENT_REPORTED, told, id="a", agent="t-1")
    await desk.service.view.catch_up()
    client = await desk.signed_in(Role.VIEWER)
    [agent] = (await client.get("/api/agents")).json()["agents"]
    assert (agent["state"], agent["labels"]) == ("present", {"gpu": "h100"})
    desk.clock.advance(60)
    [agent] = (await client.get("/api/agents")).json()["agents"]
    assert agent["state"] == "gone"


async def test_log_lines_of_a_run_are_found(tmp_path: Any) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    line = {"event": "epoch_done", "level": "info", "timestamp": "2026", "run_id": RUN, "n": 1}
    other = {"event": "else", "run_id": "c" * 64}
    (logs / "trainer.log").write_text(json.dumps(line) + "\n" + json.dumps(other) + "\nno json\n")
    desk = await Desk(tmp_path, {"logs_dir": logs}).start()
    await reported(desk, done=1)
    client = await desk.signed_in(Role.OPERATOR)
    found = (await client.get(f"/api/runs/{RUN}/log")).json()
    [shown] = found["lines"]
    assert (shown["service"], shown["event"]) == ("trainer", "epoch_done")
    assert shown["fields"] == {"run_id": RUN, "n": 1}
    assert found["is_whole"]
    await desk.stop()


async def test_a_new_console_knows_what_ran_before_it(tmp_path: Any) -> None:
    desk = await Desk(tmp_path).start()
    await desk.flywheel.dataset("shoes", [item(1)])
    await reported(desk, done=1)
    desk.clock.advance(50)
    await reported(desk, done=2)
    await desk.stop()
    again = Desk(tmp_path / "again", clock=desk.clock, bus=desk.bus, blobs=desk.blobs)
    await again.start()
    client = await again.signed_in(Role.VIEWER)
    run = (await client.get(f"/api/runs/{RUN}")).json()
    assert (run["state"], run["duration_s"]) == ("running", 50.0)
    await again.stop()


async def test_the_tail_of_events_does_not_begin_with_the_console(tmp_path: Any) -> None:
    """A new process tells what happened before it, and streams on from where the last one was."""
    desk = await Desk(tmp_path).start()
    client = await desk.signed_in(Role.VIEWER)
    async with listening(client) as events:
        await desk.flywheel.dataset("shoes", [item(1)])
        first = (await events.next())["id"]
    desk.clock.advance(1)
    await reported(desk, done=1)
    desk.clock.advance(1)
    await desk.flywheel.dataset("shoes", [item(2)])
    await desk.stop()
    again = Desk(tmp_path / "again", clock=desk.clock, bus=desk.bus, blobs=desk.blobs)
    await again.start()
    client = await again.signed_in(Role.VIEWER)
    recent = (await client.get("/api/events/recent")).json()
    nodes = ["dataset:shoes@1", f"run:{RUN}", "dataset:shoes@2"]
    assert [event["node"] for event in recent["events"]] == nodes
    assert [event["at"] for event in recent["events"]] == sorted(
        event["at"] for event in recent["events"]
    )
    async with listening(client, first) as events:
        missed = {(await events.next())["data"]["node"] for _ in range(2)}
        assert missed == set(nodes[1:])
        again.clock.advance(1)
        await again.flywheel.dataset("shoes", [item(3)])
        assert (await events.next())["data"]["node"] == "dataset:shoes@3"
    for limit, expected in ((500, [*nodes, "dataset:shoes@3"]), (2, [nodes[2], "dataset:shoes@3"])):
        query = {"limit": limit}
        recent = (await client.get("/api/events/recent", params=query)).json()
        assert [event["node"] for event in recent["events"]] == expected
    await again.stop()
