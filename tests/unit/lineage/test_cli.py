"""`loopline lineage show` and `loopline verify`: what people see."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from loopline.cli.lineage import place_of, tree_of
from loopline.errors import Rejected
from loopline.lineage.trace import Tracer
from tests.unit.lineage.world import World, asset


async def test_a_path_is_drawn_as_a_tree(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.turn()
    path = await Tracer(await world.journal(), world.objects).trace(asset(14))
    text = io.StringIO()
    Console(file=text, width=160).print(tree_of(path))
    lines = [line.strip("│├└─ ").strip() for line in text.getvalue().splitlines()]
    assert lines[0].startswith(f"s3://customer/results/catalogue/{asset(14)}.json")
    for said in ("delivery catalogue@v2", "flow catalogue@v1", "model catalogue@v2", "train run",
                 "dataset catalogue@v2", "anna", "s3://customer/photos/0014.png",
                 "labeled by anna"):  # fmt: skip
        assert any(line.startswith(said) for line in lines), said


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://customer/results/catalogue/", ("customer", "results", "catalogue/")),
        ("s3://customer/results", ("customer", "results", "")),
        ("s3://customer/results/a/b", ("customer", "results", "a/b")),
    ],
)
def test_a_place_is_read_from_its_uri(uri: str, place: tuple[str, str, str]) -> None:
    found = place_of(uri)
    assert (found.connection, found.bucket, found.prefix) == place


@pytest.mark.parametrize("uri", ["results", "s3://", "s3://customer", "http://a/b"])
def test_what_is_no_place_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(Rejected, match="s3://<connection>/<bucket>/<prefix>"):
        place_of(uri)
