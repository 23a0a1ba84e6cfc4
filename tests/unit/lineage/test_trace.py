"""The path from a delivered object back to image, labeler, dataset, run, model and flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopline.errors import NotFound
from loopline.lineage.trace import Step, Tracer
from tests.unit.lineage.world import World, asset


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.turn()
    return world


@pytest.fixture
async def tracer(world: World) -> Tracer:
    return Tracer(await world.journal(), world.objects)


def walk(step: Step) -> Iterator[Step]:
    yield step
    for before in step.before:
        yield from walk(before)


def titles(step: Step, kind: str) -> list[str]:
    return [one.title for one in walk(step) if one.kind == kind]


async def test_an_object_leads_back_to_everything_it_comes_from(
    world: World, tracer: Tracer
) -> None:
    path = await tracer.trace(f"s3://customer/results/{world.key(12)}")
    assert path.title == f"s3://customer/results/{world.key(12)}"
    assert path.facts["asset"] == asset(12)
    assert titles(path, "flow") == ["flow catalogue@v1"]
    assert titles(path, "model") == ["model catalogue@v2"]
    assert titles(path, "image") == ["s3://customer/photos/0012.png"]
    assert set(titles(path, "labeler")) == {"anna", "ben"}
    assert set(titles(path, "source")) == {"s3://customer/photos/"}
    assert {t.split()[0] for t in titles(path, "run")} >= {"train", "import", "annotate"}
    datasets = titles(path, "dataset")
    assert "dataset catalogue@v2" in datasets
    assert "dataset catalogue@v1" in datasets


async def test_an_object_of_the_first_delivery_leads_to_the_first_model(tracer: Tracer) -> None:
    path = await tracer.trace(asset(8))
    assert path.kind == "object"
    assert titles(path, "delivery") == ["delivery catalogue@v1"]
    assert titles(path, "model") == ["model catalogue@v1"]
    assert titles(path, "labeler") == []


async def test_an_image_says_who_labeled_it(tracer: Tracer) -> None:
    path = await tracer.trace(asset(14))
    (labels,) = [step for step in walk(path) if step.kind == "labels"]
    assert labels.title == "labeled by anna"
    assert labels.facts["classes"] == ["coat"]


async def test_an_image_that_was_not_delivered_is_traced_to_its_import(tracer: Tracer) -> None:
    path = await tracer.trace(asset(2))
    assert (path.kind, path.title) == ("image", "s3://customer/photos/0002.png")
    assert titles(path, "dataset") == ["first in dataset catalogue@v1"]
    assert titles(path, "source") == ["s3://customer/photos/"]


async def test_without_a_target_the_last_delivery_is_shown(tracer: Tracer) -> None:
    path = await tracer.trace("")
    assert (path.kind, path.before[0].kind) == ("object", "delivery")


async def test_a_node_of_the_graph_is_traced_each_step_told_once(tracer: Tracer) -> None:
    path = await tracer.trace("model:catalogue@2")
    ids = [step.id for step in walk(path)]
    assert len(ids) == len(set(ids))
    assert {"dataset:catalogue@1", "source:s3://customer/photos/", "labeler:anna"} <= set(ids)


async def test_many_submissions_are_counted_by_labeler(world: World) -> None:
    given = {n: ("anna" if n % 2 else "ben", "coat") for n in range(8, 20)}
    version = await world.labeled(given)
    tracer = Tracer(await world.journal(), world.objects)
    path = await tracer.trace(f"dataset:catalogue@{version.ref.version}")
    (labels,) = [step for step in walk(path) if step.title.endswith("submissions of labels")]
    assert labels.facts["by"] == ["anna 6", "ben 6"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("model:catalogue@9", "neither a delivered object, an asset nor a node"),
        ("0" * 64, "no dataset has the asset"),
        (f"s3://customer/results/catalogue/{'0' * 64}.json", "no delivery names"),
    ],
)
async def test_what_is_not_there_is_named(tracer: Tracer, target: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        await tracer.trace(target)


async def test_nothing_delivered_yet_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(NotFound, match="nothing was delivered yet"):
        await Tracer(await world.journal(), world.objects).trace("")
