"""Trees: their digest says what is in them; changes, reads and diffs cost what they touch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Corrupt, NotFound, Rejected
from loopline.store import shards, trie, upserts
from loopline.store.blobs import MemoryBlobs
from loopline.store.items import (
    DELIVERIES,
    ITEMS,
    PREDICTIONS,
    DeliveredObject,
    Item,
    Prediction,
    Shape,
    split_digest,
)
from loopline.store.objects import Area, ObjectStore
from loopline.store.shards import Leaf, in_order
from loopline.store.trees import Tree, TreeStore
from loopline.testing.rows import asset, item, labeled

ROWS_MAX = 4  # small shards: few rows make deep trees
NUMBERS = st.integers(0, 40)
STATES = st.sampled_from([("", ""), ("train", "coat"), ("test", "coat"), ("test", "bag")])
STEPS = st.lists(
    st.tuples(st.dictionaries(NUMBERS, STATES, max_size=30), st.sets(NUMBERS, max_size=30)),
    max_size=4,
)


class CountingBlobs(MemoryBlobs):
    """Blobs that remember what was read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: list[str] = []
        self.puts: list[str] = []

    def get(self, key: str) -> bytes:
        self.gets.append(key.rpartition("/")[2])
        return super().get(key)

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        self.puts.append(key.rpartition("/")[2])
        super().put(key, data, media_type)

    def forget(self) -> None:
        self.gets.clear()
        self.puts.clear()


@contextmanager
def opened(blobs: MemoryBlobs | None = None) -> Iterator[ObjectStore]:
    objects = ObjectStore(blobs or MemoryBlobs(), "team", concurrency=4)
    try:
        yield objects
    finally:
        objects.close()


@pytest.fixture
def blobs() -> CountingBlobs:
    return CountingBlobs()


@pytest.fixture
def objects(blobs: CountingBlobs) -> Iterator[ObjectStore]:
    with opened(blobs) as store:
        yield store


@pytest.fixture
def trees(objects: ObjectStore) -> TreeStore[Item]:
    return TreeStore(objects, ITEMS, rows_max=ROWS_MAX)


def row(number: int, state: tuple[str, str]) -> Item:
    """Return an item whose id shares 240 bits with others if its number is odd."""
    split, class_name = state
    fields = {"asset": f"{number:064x}"} if number % 2 else {}
    return labeled(number, class_name, split, **fields) if class_name else item(number, **fields)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def listed(tree: Tree[Item], columns: Sequence[str] | None = None) -> list[Item]:
    return [found async for found in tree.rows(columns)]


def sorted_rows(rows: Iterable[Item]) -> list[Item]:
    return sorted(rows, key=lambda found: found.asset)


@settings(max_examples=40)
@given(STEPS)
async def test_a_tree_is_what_a_dict_would_be_whatever_its_history(
    steps: list[tuple[dict[int, tuple[str, str]], set[int]]],
) -> None:
    with opened() as objects:
        trees = TreeStore(objects, ITEMS, rows_max=ROWS_MAX)
        model: dict[str, Item] = {}
        tree = await trees.write([])
        for puts, removals in steps:
            rows = [row(number, state) for number, state in puts.items()]
            gone = {row(n, ("", "")).asset for n in removals} - {found.asset for found in rows}
            tree = await trees.apply(tree, rows, gone)
            model.update((found.asset, found) for found in rows)
            for row_id in gone:
                model.pop(row_id, None)
        await assert_holds(trees, tree, sorted_rows(model.values()))


async def assert_holds(trees: TreeStore[Item], tree: Tree[Item], rows: list[Item]) -> None:
    """Check everything that a tree says against its rows."""
    again = await trees.open(tree.root_object)
    anew = await trees.write(reversed(rows))
    assert await listed(again) == rows
    assert tree.digest == again.digest == anew.digest
    assert [(f.prefix, f.count, f.digest) for f in tree.root.leaves] == [
        (f.prefix, f.count, f.digest) for f in anew.root.leaves
    ]
    assert tree.count == len(rows)
    expected = ITEMS.statistics(ITEMS.encode(rows)) if rows else {}
    assert tree.statistics == again.statistics == expected
    names = sorted({found.split for found in rows} - {""})
    by_split = {n: split_digest(found for found in rows if found.split == n) for n in names}
    assert tree.splits == again.splits == by_split


@given(st.permutations(range(12)))
@settings(max_examples=20)
async def test_rows_in_any_order_give_the_same_root_object(order: list[int]) -> None:
    with opened() as objects:
        trees = TreeStore(objects, ITEMS, rows_max=ROWS_MAX)
        tree = await trees.write(map(item, order))
        assert tree.ref() == (await trees.write(map(item, range(12)))).ref()


async def test_an_empty_tree_has_a_digest_and_no_rows(trees: TreeStore[Item]) -> None:
    tree = await trees.write([])
    assert (tree.count, tree.statistics, tree.splits, await listed(tree)) == (0, {}, {}, [])
    assert (await tree.table(["asset"])).num_rows == 0
    assert (
        await trees.apply(await trees.write([item(1)]), removals=[asset(1)])
    ).ref() == tree.ref()


async def test_the_digest_is_the_documented_one_for_ever(objects: ObjectStore) -> None:
    """Versions in the log name these digests: a change of any line breaks every one of them."""
    rows = [labeled(n, "coat", "test") for n in range(3)]
    tree = await TreeStore(objects, ITEMS).write(rows)
    assert tree.digest == "9faa39f571c28599b44a1996efb5c853933fbf22d3b73b48dfda287c606294a8"
    assert tree.splits == {
        "test": "bc7888e31e4cf10975676a72dceda97ff5b2fa47d1d37fdc72b72142f86dc64a"
    }


async def test_the_digest_does_not_know_the_encoder(
    trees: TreeStore[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [item(n) for n in range(20)]
    one = await trees.write(rows)

    def plain(table: pa.Table, group: object) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="none", store_schema=True)
        return bytes(sink.getvalue())

    monkeypatch.setattr(shards, "_write_parquet", plain)
    other = await trees.write(rows)
    assert other.digest == one.digest
    assert other.root_object != one.root_object
    assert not await trees.diff(one, await trees.open(other.root_object))


async def test_trees_of_other_row_types_have_other_digests(objects: ObjectStore) -> None:
    items = await TreeStore(objects, ITEMS).write([])
    predictions = await TreeStore(objects, PREDICTIONS).write([])
    assert items.digest != predictions.digest


async def test_of_several_rows_with_one_id_the_last_counts(trees: TreeStore[Item]) -> None:
    tree = await trees.write([item(1), item(2), item(1, split="test")])
    assert (await tree.get([asset(1)]))[asset(1)].split == "test"
    assert tree.count == 2


async def test_removing_what_is_not_there_changes_nothing(trees: TreeStore[Item]) -> None:
    tree = await trees.write([item(1)])
    assert await trees.apply(tree, removals=[asset(2)]) is tree


async def test_putting_what_is_there_writes_nothing(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    tree = await trees.write(map(item, range(20)))
    blobs.forget()
    assert await trees.apply(tree, map(item, range(20))) is tree
    assert blobs.puts == []


async def test_a_row_both_put_and_removed_is_refused(trees: TreeStore[Item]) -> None:
    with pytest.raises(Rejected, match=asset(1)):
        await trees.apply(None, [item(1)], [asset(1)])


async def test_an_id_that_is_no_digest_is_refused(trees: TreeStore[Item]) -> None:
    tree = await trees.write([item(1)])
    with pytest.raises(Rejected, match=r"photo\.png"):
        await trees.apply(tree, removals=["photo.png"])
    with pytest.raises(Rejected, match=r"photo\.png"):
        await tree.get(["photo.png"])


async def test_rows_may_come_from_another_tree(trees: TreeStore[Item]) -> None:
    tree = await trees.write(map(item, range(20)))
    assert (await trees.write(tree.rows())).ref() == tree.ref()


async def test_a_change_of_labels_costs_the_shards_it_touches(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    """It reads and writes the head of one shard, and writes the root; origins are not even read."""
    tree = await trees.write(map(item, range(100)))
    blobs.forget()
    after = await trees.apply(tree, [labeled(7, "coat")])
    touched = _leaf_of(tree, asset(7))
    assert blobs.gets == [touched.objects[0]]
    assert blobs.puts == [_leaf_of(after, asset(7)).objects[0], after.root_object]
    assert _leaf_of(after, asset(7)).objects[1] == touched.objects[1]


async def test_a_diff_reads_the_shards_that_differ(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    tree = await trees.write(map(item, range(100)))
    after = await trees.apply(tree, [labeled(7, "coat")])
    blobs.forget()
    diff = await trees.diff(tree, after, ["split"])
    assert diff.changed.keys() == {asset(7)}
    heads = [_leaf_of(version, asset(7)).objects[0] for version in (tree, after)]
    assert sorted(blobs.gets) == sorted(heads)


async def test_reading_some_columns_leaves_the_others_unread(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    tree = await trees.write([labeled(n, "coat", thumbprint=b"x" * 1024) for n in range(20)])
    blobs.forget()
    assert {found.split for found in await listed(tree, ["split"])} == {"train"}
    assert sorted(blobs.gets) == sorted(leaf.objects[0] for leaf in tree.root.leaves)
    table = await tree.table(["width_px", "asset"])
    assert table.column_names == ["width_px", "asset"]
    assert table.column("asset").to_pylist() == sorted(map(asset, range(20)))


async def test_a_column_that_does_not_exist_is_refused_by_name(trees: TreeStore[Item]) -> None:
    tree = await trees.write([item(1)])
    with pytest.raises(Rejected, match="no column 'colour'; it has asset, media_type"):
        await tree.table(["asset", "colour"])


async def test_get_finds_the_rows_that_are_there(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    tree = await trees.write(map(item, range(100)))
    blobs.forget()
    found = await tree.get([asset(3), asset(1000), asset(3)])
    assert found == {asset(3): item(3)}
    assert set(blobs.gets) <= {*_leaf_of(tree, asset(3)).objects, *_below(tree, asset(1000))}


async def test_a_first_version_is_counted_without_reading_it(
    trees: TreeStore[Item], blobs: CountingBlobs
) -> None:
    tree = await trees.write([labeled(n, "coat") if n % 2 else item(n) for n in range(50)])
    blobs.forget()
    assert await trees.changes(None, tree) == {
        "added": 50,
        "changed": 0,
        "removed": 0,
        "labels_changed": 25,
    }
    assert blobs.gets == []


async def test_changes_of_labels_are_told_from_other_changes(trees: TreeStore[Item]) -> None:
    first = await trees.write([labeled(n, "coat") for n in range(20)])
    shape = (Shape("9", "coat", source="model:x"),)
    second = await trees.apply(
        first,
        [
            labeled(0, "bag"),
            labeled(1, "coat", tags=("x",)),
            labeled(2, "coat", shapes=shape),
            labeled(30, "coat"),
            item(31),
        ],
        [asset(3)],
    )
    assert await trees.changes(first, second) == {
        "added": 2,
        "changed": 3,
        "removed": 1,
        "labels_changed": 3,
    }


async def test_rows_past_the_memory_bound_are_spilled_and_nothing_is_left_behind(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upserts, "RUN_ROWS", 7)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [*map(item, range(50)), *(item(n, split="test") for n in range(10, 20))]
    trees = TreeStore(objects, ITEMS, rows_max=ROWS_MAX)
    expected = await trees.write(rows)
    with upserts.Upserts(ITEMS, memory_bytes=0) as collected:
        await collected.add(rows)
        assert files_below(tmp_path)
        runs = await collected.runs()
        assert sum(runs.count(leaf.prefix) for leaf in expected.root.leaves) == 50
        table = runs.under(trie.ROOT)
    assert ITEMS.rows(table) == await listed(expected)
    assert files_below(tmp_path) == []


async def test_predictions_and_deliveries_are_trees_too(objects: ObjectStore) -> None:
    predictions = [Prediction(asset(n), (Shape("1", "coat"),), (0.25, 0.75)) for n in range(9)]
    tree = await TreeStore(objects, PREDICTIONS, rows_max=ROWS_MAX).write(predictions)
    assert {p.asset: p for p in predictions} == {p.asset: p async for p in tree.rows()}
    assert tree.statistics == {"class:coat": 9, "items": 9}
    sent = [DeliveredObject(asset(n), f"{n}.json", asset(n), asset(0), asset(1)) for n in range(9)]
    deliveries = await TreeStore(objects, DELIVERIES, rows_max=ROWS_MAX).write(sent)
    assert await deliveries.get([asset(4)]) == {asset(4): sent[4]}


async def test_a_tree_of_another_row_type_is_not_opened(objects: ObjectStore) -> None:
    tree = await TreeStore(objects, PREDICTIONS).write([])
    with pytest.raises(Rejected, match=r"holds predictions/1 .* not items/1"):
        await TreeStore(objects, ITEMS).open(tree.root_object)


async def test_what_is_no_root_is_not_opened(trees: TreeStore[Item], objects: ObjectStore) -> None:
    with pytest.raises(Corrupt, match="not the root"):
        await trees.open(await objects.put(Area.TREES, b"something else"))
    with pytest.raises(NotFound):
        await trees.open("0" * 64)


async def test_a_missing_shard_is_named_and_the_others_are_read(
    trees: TreeStore[Item], objects: ObjectStore
) -> None:
    tree = await trees.write(map(item, range(100)))
    lost = _leaf_of(tree, asset(7)).objects[0]
    await objects.delete(Area.TREES, lost)
    with pytest.raises(NotFound, match=lost):
        await tree.get([asset(7)])
    other = next(n for n in range(100) if _leaf_of(tree, asset(n)).objects[0] != lost)
    assert await tree.get([asset(other)])


async def test_no_more_calls_are_under_way_than_allowed() -> None:
    running, most = 0, 0

    async def call(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return value

    assert [found async for found in in_order(range(50), call, 3)] == list(range(50))
    assert most == 3


async def test_a_reader_that_stops_early_leaves_nothing_running(trees: TreeStore[Item]) -> None:
    tree = await trees.write(map(item, range(100)))
    before = len(asyncio.all_tasks())
    rows: AsyncIterator[Item] = tree.rows()
    assert (await anext(rows)).asset == min(map(asset, range(100)))
    await rows.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert len(asyncio.all_tasks()) == before


def _leaf_of(tree: Tree[Item], row_id: str) -> Leaf:
    (found,) = _holding(tree, row_id)
    return found


def _below(tree: Tree[Item], row_id: str) -> list[str]:
    return [digest for leaf in _holding(tree, row_id) for digest in leaf.objects]


def _holding(tree: Tree[Item], row_id: str) -> list[Leaf]:
    place = trie.Prefix(int(row_id, 16), trie.KEY_BITS)
    return [leaf for leaf in tree.root.leaves if leaf.prefix.contains(place)]
