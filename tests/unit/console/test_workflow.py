"""The workflow graph: what has a card, what leads where, and what is told again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from loopline.access import Role
from loopline.contracts import (
    Agent,
    ArtefactKind,
    ArtefactRef,
    Commit,
    ReproductionCommitted,
    RunChanged,
    RunKind,
    RunState,
    catalog,
)
from loopline.lineage.model import artefact_id
from loopline.store.commits import Committed
from loopline.store.runs import new_run
from loopline.testing.flywheel import item
from loopline.testing.provenance import Provenance
from tests.unit.console.desk import Desk

Json = dict[str, Any]


@pytest.fixture
async def turned(desk: Desk) -> Desk:
    """A console over one turn of the loop, "shoes", and one of "hats"."""
    for name in ("shoes", "hats"):
        await Provenance(desk.service.log, desk.clock, name=name).turn()
        desk.clock.advance(3600)
    await desk.seen()
    return desk


async def graph(client: httpx.AsyncClient, **query: str) -> Json:
    answer = await client.get("/api/workflow", params=query)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def by_id(found: Json) -> dict[str, Json]:
    return {node["id"]: node for node in found["nodes"]}


async def test_every_kind_of_card_is_there_and_submissions_are_not(turned: Desk) -> None:
    found = await graph(await turned.signed_in(Role.VIEWER), datasets="shoes")
    kinds = {node["kind"] for node in found["nodes"]}
    assert kinds == {
        "source", "dataset", "run", "model", "deployment", "predictions", "labeling_job",
        "flow", "delivery", "bucket",
    }  # fmt: skip
    cards = by_id(found)
    assert cards["labeling_job:shoes-relabel"]["state"] == "completed"
    assert cards["model:shoes@1"]["figures"][0] == {
        "name": "accuracy", "value": 0.81, "label": "accuracy",
    }  # fmt: skip
    assert cards["source:s3://customer/catalogue-photos/"]["label"]


async def test_the_graph_has_no_cycle_and_no_loose_end(turned: Desk) -> None:
    found = await graph(await turned.signed_in())
    ids = set(by_id(found))
    below: dict[str, list[str]] = {}
    for edge in found["edges"]:
        assert {edge["source"], edge["target"]} <= ids
        below.setdefault(edge["source"], []).append(edge["target"])
    done: set[str] = set()

    def walk(at: str, path: tuple[str, ...]) -> None:
        assert at not in path, f"a cycle: {' -> '.join((*path, at))}"
        if at not in done:
            for next_ in below.get(at, []):
                walk(next_, (*path, at))
            done.add(at)

    for id_ in ids:
        walk(id_, ())


async def test_corrections_lead_from_job_to_dataset_to_the_next_model(turned: Desk) -> None:
    found = await graph(
        await turned.signed_in(), focus="labeling_job:shoes-relabel", direction="descendants"
    )
    assert {"dataset:shoes@2", "model:shoes@2"} <= set(by_id(found))
    assert "dataset:shoes@1" not in by_id(found)


async def test_a_run_whose_result_has_no_card_is_a_card_all_the_same(turned: Desk) -> None:
    model = turned.service.view.commits["model:shoes@1"].ref
    run = new_run(RunKind.RUN_KIND_REPRODUCE, inputs=[model])
    kind = ArtefactKind.ARTEFACT_KIND_REPRODUCTION
    message = ReproductionCommitted(
        commit=Commit(artefact=ArtefactRef(kind=kind, name="shoes", digest="d" * 64), run=run),
        model=model, is_identical=True,
    )  # fmt: skip

    async def build(_: Committed[ReproductionCommitted] | None) -> ReproductionCommitted:
        return message

    await turned.service.log.commit(catalog.REPRODUCTION_COMMITTED, build, model="shoes")
    await turned.seen()
    client = await turned.signed_in()
    found = await graph(client, datasets="shoes")
    card = by_id(found)[f"run:{run.id}"]
    assert (card["run_kind"], card["state"]) == ("reproduce", "completed")
    assert ("model:shoes@1", card["id"]) in {(e["source"], e["target"]) for e in found["edges"]}
    told = (await client.get(f"/api/runs/{run.id}")).json()
    assert told["state"] == "completed"


async def test_the_version_an_alias_points_to_is_flagged_and_the_one_before_not(
    turned: Desk,
) -> None:
    cards = by_id(await graph(await turned.signed_in()))
    assert cards["model:shoes@1"]["aliases"] == []
    assert [a["alias"] for a in cards["model:shoes@2"]["aliases"]] == ["champion"]
    assert cards["alias:shoes/champion@1"]["state"] == "replaced"
    assert cards["alias:shoes/champion@2"]["state"] == "serving"


async def test_focus_shows_what_a_node_comes_from(turned: Desk) -> None:
    client = await turned.signed_in()
    found = await graph(client, focus="model:shoes@1", direction="ancestors")
    assert {"dataset:shoes@1", "flow:shoes@1"} <= set(by_id(found))
    assert not any("hats" in id_ for id_ in by_id(found))
    missing = await client.get("/api/workflow", params={"focus": "model:none@1"})
    assert missing.status_code == 404


async def test_kinds_that_are_left_out_do_not_cut_the_graph(turned: Desk) -> None:
    found = await graph(await turned.signed_in(), kinds="dataset,model", datasets="shoes")
    edges = {(edge["source"], edge["target"]) for edge in found["edges"]}
    assert ("dataset:shoes@1", "model:shoes@1") in edges
    assert {node["kind"] for node in found["nodes"]} == {"dataset", "model"}


async def test_filters_of_dataset_time_and_words(turned: Desk) -> None:
    client = await turned.signed_in()
    of_hats = await graph(client, datasets="hats")
    assert of_hats["nodes"]
    assert all("hats" in node["datasets"] for node in of_hats["nodes"])
    since = "2026-01-01T00:30:00Z"
    later = await graph(client, after=since)
    earlier = await graph(client, before=since, kinds="dataset")
    assert not {"dataset:shoes@1"} & set(by_id(later))
    assert set(by_id(earlier)) == {"dataset:shoes@1", "dataset:shoes@2"}
    found = await graph(client, search="hats champion")
    assert {node["kind"] for node in found["nodes"]} <= {"deployment", "model", "run"}
    assert found["total"] == len(found["nodes"])
    assert set((await graph(client))["dataset_names"]) == {"shoes", "hats"}


async def test_an_unchanged_graph_is_not_sent_again(turned: Desk) -> None:
    client = await turned.signed_in()
    first = await client.get("/api/workflow")
    tag = {"if-none-match": first.headers["etag"]}
    assert (await client.get("/api/workflow", headers=tag)).status_code == 304
    await turned.flywheel.dataset("new", [item(1)])
    await turned.seen()
    assert (await client.get("/api/workflow", headers=tag)).status_code == 200


async def test_only_what_changed_is_told_to_who_has_the_rest(turned: Desk) -> None:
    client = await turned.signed_in()
    before = await graph(client)
    await turned.flywheel.dataset("new", [item(1)])
    await turned.seen()
    news = await graph(client, since=before["revision"])
    assert news["is_partial"]
    assert {node["id"].partition(":")[0] for node in news["nodes"]} == {"dataset", "run"}
    assert len(news["edges"]) == 1
    whole = await graph(client, since="another-1")
    assert not whole["is_partial"], "another process's revision says nothing here"
    merged = by_id(before) | by_id(news)
    assert merged.keys() == by_id(await graph(client)).keys()


async def test_a_running_run_is_a_card_before_it_commits_anything(turned: Desk) -> None:
    changed = RunChanged(
        run_id="a" * 64, kind=RunKind.RUN_KIND_TRAIN, state=RunState.RUN_STATE_RUNNING,
        title="shoes on shoes@v2", done=3, total=12, unit="epochs",
        agent=Agent(id="t", host="h", service="trainer"),
    )  # fmt: skip
    client = await turned.signed_in()
    await turned.service.bus.report(changed)
    await turned.service.view.catch_up()
    found = await graph(client)
    card = by_id(found)[f"run:{'a' * 64}"]
    assert (card["state"], card["progress"], card["run_kind"]) == ("running", 0.25, "train")
    assert {"source": "dataset:shoes@2", "target": card["id"], "role": "input"} in found["edges"]
    changed.state, changed.message = RunState.RUN_STATE_FAILED, "out of memory"
    await turned.service.bus.report(changed)
    await turned.service.view.catch_up()
    assert by_id(await graph(client))[card["id"]]["state"] == "failed"


async def test_a_node_tells_everything_and_what_can_be_done(turned: Desk) -> None:
    client = await turned.signed_in(Role.OPERATOR)
    node = (await client.get("/api/workflow/nodes/model:shoes@1")).json()
    assert node["details"]["recipe"] == "classification"
    assert node["all_figures"]["macro_f1"] == 0.8
    assert node["run"]["parameters"]["options"] == {"epochs": [1, 2.5]}
    assert node["run"]["environment"]["code_digest"] == "c" * 64
    assert {"open", "promote", "rerun", "reproduce"} == {a["name"] for a in node["actions"]}
    [rerun] = [a for a in node["actions"] if a["name"] == "rerun"]
    assert "choose Reproduce" in rerun["confirm"]  # what is done is recognised, not made anew
    assert {n["id"] for n in node["neighbours"]} >= {node["made_by"], "model:shoes@2"}
    dataset = (await client.get("/api/workflow/nodes/dataset:shoes@1")).json()
    [restore] = [a for a in dataset["actions"] if a["name"] == "restore"]
    assert (restore["method"], restore["body"]) == ("POST", {"version": 1})
    assert (await client.get("/api/workflow/nodes/model:none@1")).status_code == 404


async def test_pages_of_nodes_are_addresses_that_the_page_knows(turned: Desk) -> None:
    commits = turned.service.view.commits
    made = await turned.flywheel.evaluation(
        commits["model:shoes@1"], commits["dataset:shoes@1"].ref, {"accuracy": 0.5},
        split_digest="e" * 64,
    )  # fmt: skip
    await turned.seen()
    client = await turned.signed_in()
    nodes = by_id(await graph(client))

    async def page(name: str, id_: str) -> str:
        told = (await client.get(f"/api/workflow/nodes/{id_}")).json()
        [path] = [one["path"] for one in told["actions"] if one["name"] == name]
        return str(path)

    run, deployment, job = (
        next(id_ for id_ in nodes if id_.startswith(kind))
        for kind in ("run:", "alias:", "labeling_job:shoes")
    )
    assert await page("open", run) == f"/live?run={run.removeprefix('run:')}"
    assert await page("open", deployment) == "/models/shoes?tab=aliases"
    assert await page("open", job) == f"/label/{job.removeprefix('labeling_job:')}"
    assert await page("open", "dataset:shoes@2") == "/datasets/shoes/2"
    assert await page("compare", "dataset:shoes@2") == "/datasets/shoes?tab=diff&a=1&b=2"
    assert await page("open", "model:shoes@1") == "/models/shoes/1"
    assert await page("compare", "model:shoes@2") == "/models/shoes?tab=compare&a=1&b=2"
    evaluated = artefact_id("evaluation", made.ref.name, made.ref.version)
    assert await page("open", evaluated) == "/models/shoes/1?tab=evaluation"


async def test_who_may_only_look_is_offered_nothing_else(turned: Desk) -> None:
    client = await turned.signed_in(Role.VIEWER)
    node = (await client.get("/api/workflow/nodes/dataset:shoes@2")).json()
    assert {action["method"] for action in node["actions"]} == {"GET"}


async def test_a_source_with_slashes_in_its_name_is_a_node_like_others(turned: Desk) -> None:
    client = await turned.signed_in()
    found = await graph(client, kinds="source")
    for id_ in by_id(found):
        assert (await client.get(f"/api/workflow/nodes/{id_}")).status_code == 200
