"""What the service answers over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from loopline.contracts import ArtefactKind, ArtefactRef, catalog
from loopline.contracts.catalog import Stream
from loopline.lineage import Graph, fragment_of
from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.provenance import Provenance
from services.lineage.adapters import http as bodies
from services.lineage.service import Lineage
from services.lineage.settings import LineageSettings

TIMEOUT_S = 20.0


async def caught_up(service: Lineage, bus: MemoryBus) -> None:
    last = await bus.streams[Stream.COMMITS].last_sequence()
    await service.projector.wait_applied(last, TIMEOUT_S)


@pytest.fixture
async def client(
    turn: list[Committed[Any]], service: Lineage, bus: MemoryBus, http: httpx.AsyncClient
) -> httpx.AsyncClient:
    assert turn
    await caught_up(service, bus)
    return http


async def graph_of(
    client: httpx.AsyncClient, path: str = "/v1/graph", **params: Any
) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    bodies.GraphOut.model_validate_json(answer.content, strict=True)
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> set[str]:
    return {node["id"] for node in answer["nodes"]}


async def test_the_graph_is_the_one_in_memory(client: httpx.AsyncClient, graph: Graph) -> None:
    answer = await graph_of(client, fold=False)
    assert ids(answer) == set(graph.nodes)
    edges = {(e["source"], e["target"], e["role"]) for e in answer["edges"]}
    assert edges == {(e.source, e.target, e.role) for e in graph.edges()}
    assert answer["sequence"] == 13
    for shown in answer["nodes"]:
        node = graph.nodes[shown["id"]]
        same = ("kind", "name", "version", "digest", "label", "sequence", "committed_at", "summary")
        assert {key: shown[key] for key in same} == {key: getattr(node, key) for key in same}
        assert shown["figures"] == dict(node.figures)


async def test_labels_of_a_job_are_linked_as_in_memory(
    client: httpx.AsyncClient,
    provenance: Provenance,
    service: Lineage,
    bus: MemoryBus,
    turn: list[Committed[Any]],
) -> None:
    job = turn[6].ref
    added = [await provenance.labeled(job, "carl"), await provenance.flow()]
    added.append(await provenance.labeled(job, "anna", asset=turn[7].message.asset))
    every = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_LABELS, name=job.name, digest="ee")
    added.append(await provenance.corrected(turn[9].ref, job, [every]))
    await caught_up(service, bus)
    answer = await graph_of(client, fold=False)
    expected = Graph(map(fragment_of, [*turn, *added]))
    assert {(e["source"], e["target"], e["role"]) for e in answer["edges"]} == {
        (e.source, e.target, e.role) for e in expected.edges()
    }


async def test_a_version_says_which_run_made_it(client: httpx.AsyncClient) -> None:
    answer = await graph_of(client, kinds="model")
    run = answer["nodes"][0]["run"]
    assert run["kind"] == "train"
    assert run["actor"] == {"kind": "flow", "name": "catalogue"}
    assert run["agent"]["host"] == "host-1"
    assert (await client.get(f"/v1/nodes/{run['id']}")).json()["name"] == "train"


async def test_closures_are_those_in_memory(client: httpx.AsyncClient, graph: Graph) -> None:
    for node in graph.nodes:
        up = await graph_of(client, f"/v1/nodes/{node}/upstream")
        assert ids(up) == graph.upstream(node)
        down = await graph_of(client, f"/v1/nodes/{node}/downstream")
        assert ids(down) == graph.downstream(node)
        both = await graph_of(client, focus=node, fold=False)
        assert ids(both) == graph.upstream(node) | graph.downstream(node)
        assert both["total"] == len(both["nodes"])


async def test_a_limited_closure_keeps_what_is_nearest_and_says_how_much_there_is(
    client: httpx.AsyncClient, graph: Graph
) -> None:
    node = "alias:catalogue/champion@2"
    answer = await graph_of(client, f"/v1/nodes/{node}/upstream", limit=3)
    assert node in ids(answer)
    assert len(answer["nodes"]) == 3
    assert answer["total"] == len(graph.upstream(node))
    assert {n["sequence"] for n in answer["nodes"]} <= {12, 13}


async def test_submissions_of_a_job_are_one_node_unless_unfolded(
    client: httpx.AsyncClient, provenance: Provenance, service: Lineage, bus: MemoryBus,
    turn: list[Committed[Any]],
) -> None:  # fmt: skip
    fold = "labels:catalogue-relabel@1/*"
    answer = await graph_of(client)
    assert answer["folded"] == {fold: 2}
    assert [n["id"] for n in answer["nodes"] if n["kind"] == "labels"] == [fold]
    roles = {(e["source"], e["target"].partition(":")[0], e["role"]) for e in answer["edges"]}
    assert ("labeler:anna", "labels", "labeler") in roles
    assert (fold, "run", "labels") in roles
    assert ids(await graph_of(client, focus="dataset:catalogue@2")) >= {fold, "labeler:ben"}
    job = turn[6].ref  # a later batch counts on, and links what reads the labels then
    await provenance.job(turn[1].ref, turn[4].ref, turn[0].ref)
    added = [await provenance.labeled(job, "carl") for _ in range(3)]
    await provenance.corrected(turn[9].ref, job, [turn[7].ref, added[0].ref])
    await caught_up(service, bus)
    again = await graph_of(client, kinds="labels,dataset")
    assert again["folded"] == {fold: 2, "labels:catalogue-relabel@3/*": 3}
    links = {(e["source"], e["target"]) for e in again["edges"]}
    assert {(f, "dataset:catalogue@3") for f in again["folded"]} <= links
    node = (await client.get(f"/v1/nodes/{fold}")).json()
    assert {e["source"] for e in node["inputs"]} == {
        "labeling_job:catalogue-relabel@1", "labeler:anna", "labeler:ben",
    }  # fmt: skip


async def test_a_limit_counts_folds_not_submissions(
    client: httpx.AsyncClient, provenance: Provenance, service: Lineage, bus: MemoryBus,
    turn: list[Committed[Any]],
) -> None:  # fmt: skip
    for _ in range(40):
        await provenance.labeled(turn[6].ref, "carl")
    await caught_up(service, bus)
    answer = await graph_of(client, limit=30)
    assert "dataset:catalogue@1" in ids(answer)
    assert len((await client.get("/v1/runs")).json()["nodes"]) == 11


async def test_only_the_kinds_asked_for_are_shown_and_stay_linked(
    client: httpx.AsyncClient,
) -> None:
    answer = await graph_of(client, kinds="dataset,model,alias")
    assert {n["kind"] for n in answer["nodes"]} == {"dataset", "model", "alias"}
    links = {(e["source"], e["target"]) for e in answer["edges"]}
    assert ("dataset:catalogue@2", "model:catalogue@2") in links
    assert ("model:catalogue@2", "alias:catalogue/champion@2") in links


async def test_a_node_has_details_and_the_edges_at_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/nodes/dataset:catalogue@2")
    bodies.NodeDetailOut.model_validate_json(answer.content, strict=True)
    node = answer.json()
    assert node["details"]["classes"] == ["bag", "boot"]
    assert {e["role"] for e in node["inputs"]} == {"parent", "made"}
    assert {e["role"] for e in node["outputs"]} >= {"train_on"}


async def test_nodes_whose_ids_hold_slashes_are_found(client: httpx.AsyncClient) -> None:
    for id_ in ("source:s3://customer/catalogue-photos/", "alias:catalogue/champion@1"):
        answer = await client.get(f"/v1/nodes/{id_}")
        assert answer.json()["id"] == id_
        quoted = id_.replace(":", "%3A").replace("/", "%2F").replace("@", "%40")
        assert (await client.get(f"/v1/nodes/{quoted}")).json()["id"] == id_


async def test_nodes_are_listed_newest_first_and_page_by_page(client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/nodes", params={"kind": "dataset", "limit": 1})).json()
    assert [n["id"] for n in first["nodes"]] == ["dataset:catalogue@2"]
    params = {"kind": "dataset", "limit": 1, "before": first["next"]}
    second = (await client.get("/v1/nodes", params=params)).json()
    assert [n["id"] for n in second["nodes"]] == ["dataset:catalogue@1"]


async def test_a_version_is_found_by_its_digest(
    client: httpx.AsyncClient, turn: list[Committed[Any]]
) -> None:
    answer = await client.get("/v1/nodes", params={"digest": turn[1].ref.digest})
    assert [n["id"] for n in answer.json()["nodes"]] == ["dataset:catalogue@1"]


async def test_runs_are_listed_by_kind(client: httpx.AsyncClient) -> None:
    runs = (await client.get("/v1/runs", params={"kind": "train"})).json()["nodes"]
    assert [run["name"] for run in runs] == ["train", "train"]
    assert len((await client.get("/v1/runs")).json()["nodes"]) == 11  # without the submissions'


async def test_a_run_is_told_as_openlineage(client: httpx.AsyncClient) -> None:
    run = (await client.get("/v1/runs", params={"kind": "import"})).json()["nodes"][0]
    event = (await client.get(f"/v1/runs/{run['digest']}/openlineage")).json()
    assert event["eventType"] == "COMPLETE"
    assert event["job"] == {**event["job"], "namespace": "loopline://default", "name": "import"}
    assert event["inputs"] == [{"namespace": "s3://customer", "name": "catalogue-photos/"}]
    versions = {o["name"]: o["facets"]["version"]["datasetVersion"] for o in event["outputs"]}
    assert versions["catalogue"] == "1"
    assert event["run"]["facets"]["loopline_run"]["id"] == run["digest"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/nodes/dataset:nobody@1", 404, "dataset:nobody@1"),
        ("/v1/nodes/dataset:nobody@1/upstream", 404, "dataset:nobody@1"),
        ("/v1/graph?focus=nothing", 404, "nothing"),
        ("/v1/runs/nothing/openlineage", 404, "nothing"),
        ("/v1/graph?limit=0", 422, "greater than or equal to 1"),
        ("/v1/graph?direction=sideways", 422, "upstream"),
    ],
)
async def test_what_is_not_there_is_named(
    client: httpx.AsyncClient, path: str, status: int, said: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert said in answer.text


async def test_status_says_where_the_graph_is_and_what_was_left_out(
    client: httpx.AsyncClient, service: Lineage, bus: MemoryBus
) -> None:
    subject = catalog.DATASET_COMMITTED.subject("default", name="broken")
    bus.streams[Stream.COMMITS].add(subject, b"\xff\xff", {"ce-type": "x"})
    await caught_up(service, bus)
    answer = await client.get("/v1/status")
    bodies.StatusOut.model_validate_json(answer.content, strict=True)
    status = answer.json()
    assert (status["applied_sequence"], status["last_sequence"], status["behind"]) == (14, 14, 0)
    assert status["nodes"]["dataset"] == 2
    (skip,) = status["skipped"]
    assert (skip["sequence"], skip["subject"]) == (14, subject)


async def events(client: httpx.AsyncClient, after: str | None, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    headers = {} if after is None else {"Last-Event-ID": after}
    async with (
        asyncio.timeout(TIMEOUT_S),
        client.stream("GET", "/v1/changes", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                event[name] = value
            elif not line and event:
                found.append(event)
                event = {}
                if len(found) == count:
                    return found
    return found


async def test_changes_are_taken_up_again_after_the_last_seen_one(
    client: httpx.AsyncClient,
) -> None:
    found = await events(client, "10", 3)
    assert [event["id"] for event in found] == ["11", "12", "13"]
    change = bodies.ChangeOut.model_validate_json(found[1]["data"], strict=True)
    assert (change.node, change.run_kind, change.actor) == (
        "model:catalogue@2",
        "train",
        "catalogue",
    )


async def test_changes_arrive_as_they_are_committed(
    client: httpx.AsyncClient, provenance: Provenance, service: Lineage
) -> None:
    reading = asyncio.create_task(events(client, None, 1))
    while not service._streams:
        await asyncio.sleep(0.005)
    await provenance.imported()
    (event,) = await reading
    assert (event["id"], json.loads(event["data"])["node"]) == ("14", "dataset:catalogue@3")


async def test_readers_of_changes_are_bounded(client: httpx.AsyncClient, service: Lineage) -> None:
    service._streams = service.settings.changes_streams_max
    answer = await client.get("/v1/changes")
    assert answer.status_code == 503
    assert "too many streams" in answer.text
    service._streams = 0


async def test_the_service_is_ready_once_it_has_caught_up(
    client: httpx.AsyncClient, service: Lineage
) -> None:
    assert (await client.get("/readyz")).status_code == 200
    service._target = 99
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the graph is at sequence 13 of 99")


@pytest.fixture
async def guarded(bus: MemoryBus, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = LineageSettings(data_dir=tmp_path, api_token=SecretStr("s3cret"))
    service = memory_service(Lineage, settings, bus, MemoryBlobs())
    await service.start()
    server = HttpServer(service.api(), service.ready, "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client
    await service.stop()
    await server.stop()


async def test_the_token_is_asked_for_where_one_is_set(guarded: httpx.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
        answer = await guarded.get("/v1/graph", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    answer = await guarded.get("/v1/graph", headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 200
    assert (await guarded.get("/healthz")).status_code == 200


async def test_an_empty_log_is_an_empty_graph(http: httpx.AsyncClient) -> None:
    answer = await graph_of(http)
    assert (answer["nodes"], answer["edges"], answer["sequence"]) == ([], [], 0)
