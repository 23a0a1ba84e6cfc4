"""Differences of two trees and the merge of three agree with what dicts would say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.store import trie
from loopline.store.blobs import MemoryBlobs
from loopline.store.items import ITEMS, Item
from loopline.store.objects import ObjectStore
from loopline.store.trees import MergeConflict, Tree, TreeStore
from loopline.testing.rows import asset, item, labeled

CLASSES = ("bag", "coat", "shirt")
CONTENTS = st.dictionaries(st.integers(0, 30), st.sampled_from(CLASSES), max_size=30)
Contents = dict[int, str]


@contextmanager
def opened() -> Iterator[TreeStore[Item]]:
    objects = ObjectStore(MemoryBlobs(), "team", concurrency=4)
    try:
        yield TreeStore(objects, ITEMS, rows_max=4)
    finally:
        objects.close()


@pytest.fixture
def trees() -> Iterator[TreeStore[Item]]:
    with opened() as store:
        yield store


def rows(contents: Contents) -> dict[str, Item]:
    return {asset(number): labeled(number, name) for number, name in contents.items()}


async def written(trees: TreeStore[Item], contents: Contents) -> Tree[Item]:
    return await trees.write(rows(contents).values())


@settings(max_examples=50)
@given(CONTENTS, CONTENTS)
async def test_a_diff_is_what_dicts_would_say(before: Contents, after: Contents) -> None:
    with opened() as trees:
        a, b = rows(before), rows(after)
        one, other = await written(trees, before), await written(trees, after)
        diff = await trees.diff(one, other)
        assert diff.added == {i: b[i] for i in b.keys() - a.keys()}
        assert diff.removed == {i: a[i] for i in a.keys() - b.keys()}
        assert diff.changed == {i: (a[i], b[i]) for i in a.keys() & b.keys() if a[i] != b[i]}
        assert bool(diff) == (before != after) == (one.digest != other.digest)
        changes = await trees.changes(one, other)
        assert {n: c for n, c in changes.items() if n != "labels_changed"} == diff.counts()
        assert changes["labels_changed"] == sum(diff.counts().values())


@settings(max_examples=30)
@given(CONTENTS, CONTENTS)
async def test_applying_a_diff_leads_to_the_other_tree(before: Contents, after: Contents) -> None:
    with opened() as trees:
        one, other = await written(trees, before), await written(trees, after)
        diff = await trees.diff(one, other)
        puts = [*diff.added.values(), *(new for _, new in diff.changed.values())]
        assert (await trees.apply(one, puts, diff.removed)).ref() == other.ref()


@settings(max_examples=60)
@given(CONTENTS, CONTENTS, CONTENTS)
async def test_a_merge_is_what_dicts_would_say(
    base: Contents, ours: Contents, theirs: Contents
) -> None:
    with opened() as trees:
        versions = [await written(trees, contents) for contents in (base, ours, theirs)]
        conflicts, merged = expected(base, ours, theirs)
        if conflicts:
            with pytest.raises(MergeConflict) as caught:
                await trees.merge(*versions)
            assert caught.value.items == tuple(sorted(map(asset, conflicts)))
        else:
            assert (await trees.merge(*versions)).ref() == (await written(trees, merged)).ref()


@settings(max_examples=30)
@given(CONTENTS, CONTENTS, CONTENTS)
async def test_a_merge_does_not_know_whose_side_is_whose(
    base: Contents, ours: Contents, theirs: Contents
) -> None:
    conflicts, _ = expected(base, ours, theirs)
    assume(not conflicts)
    with opened() as trees:
        a, b, c = [await written(trees, contents) for contents in (base, ours, theirs)]
        assert (await trees.merge(a, b, c)).digest == (await trees.merge(a, c, b)).digest


def expected(base: Contents, ours: Contents, theirs: Contents) -> tuple[set[int], Contents]:
    """Return the conflicts and the merged rows of three dicts."""
    conflicts, merged = set(), dict[int, str]()
    for number in base.keys() | ours.keys() | theirs.keys():
        was, mine, yours = (side.get(number) for side in (base, ours, theirs))
        if mine != was != yours and mine != yours:
            conflicts.add(number)
        result = yours if mine == was else mine
        if result is not None:
            merged[number] = result
    return conflicts, merged


async def test_both_sides_may_make_the_same_change(trees: TreeStore[Item]) -> None:
    base = await written(trees, {1: "coat", 2: "coat", 3: "coat"})
    ours = await trees.apply(base, [labeled(1, "bag")], [asset(2)])
    theirs = await trees.apply(base, [labeled(1, "bag"), labeled(4, "bag")], [asset(2)])
    merged = await trees.merge(base, ours, theirs)
    assert merged.ref() == (await written(trees, {1: "bag", 3: "coat", 4: "bag"})).ref()


async def test_a_conflict_is_rejected_and_names_the_items(trees: TreeStore[Item]) -> None:
    base = await written(trees, dict.fromkeys(range(9), "coat"))
    ours = await trees.apply(base, [labeled(n, "bag") for n in range(5)])
    theirs = await trees.apply(base, [labeled(n, "shirt") for n in range(1, 5)], [asset(0)])
    with pytest.raises(MergeConflict, match=r"both sides changed .* and 2 more") as caught:
        await trees.merge(base, ours, theirs)
    assert isinstance(caught.value, Rejected)
    assert caught.value.items == tuple(sorted(map(asset, range(5))))
    assert caught.value.ids == {"items": caught.value.items}


async def test_two_imports_into_nothing_are_merged(trees: TreeStore[Item]) -> None:
    merged = await trees.merge(
        None, await written(trees, {1: "coat"}), await written(trees, {2: "bag"})
    )
    assert merged.ref() == (await written(trees, {1: "coat", 2: "bag"})).ref()


async def test_a_side_that_did_nothing_gives_way(trees: TreeStore[Item]) -> None:
    base = await written(trees, {1: "coat"})
    changed = await trees.apply(base, [labeled(1, "bag")])
    assert await trees.merge(base, base, changed) is changed
    assert await trees.merge(base, changed, base) is changed


async def test_a_diff_against_nothing_adds_everything(trees: TreeStore[Item]) -> None:
    contents = dict.fromkeys(range(20), "coat")
    diff = await trees.diff(None, await written(trees, contents))
    assert diff.counts() == {"added": 20, "changed": 0, "removed": 0}
    assert diff.added == rows(contents)


async def test_a_diff_of_some_columns_still_finds_every_change(trees: TreeStore[Item]) -> None:
    base = await trees.write([item(1), item(2)])
    after = await trees.apply(base, [item(1, phash=5)])
    diff = await trees.diff(base, after, ["split"])
    plain = Item(asset(1), "", 0, 0, 0)
    assert diff.changed == {asset(1): (plain, plain)}


@given(st.integers(0, trie.KEY_BITS), st.binary(min_size=32, max_size=32))
def test_a_prefix_reads_what_it_wrote(bits: int, key: bytes) -> None:
    start = int.from_bytes(key) >> (trie.KEY_BITS - bits) << (trie.KEY_BITS - bits)
    prefix = trie.Prefix(start, bits)
    assert trie.Prefix.parse(str(prefix)) == prefix
    assert prefix.contains(trie.Prefix(int.from_bytes(key), trie.KEY_BITS))


KEYS = st.lists(st.integers(0, 2**trie.KEY_BITS - 1) | st.integers(0, 64), unique=True).map(sorted)


@given(KEYS, st.data())
def test_a_folded_range_stands_for_its_leaves(keys: list[int], data: st.DataObject) -> None:
    """The digest of a split may be kept per shard: folding the parts is folding the whole."""
    leaves = [(key, key.to_bytes(32)) for key in keys]
    rows_max = data.draw(st.integers(1, 5))

    def under(prefix: trie.Prefix) -> list[tuple[int, bytes]]:
        high = int(prefix.high, 16) if prefix.high else 1 << trie.KEY_BITS
        return [leaf for leaf in leaves if prefix.start <= leaf[0] < high]

    prefixes = trie.split(lambda prefix: len(under(prefix)), rows_max=rows_max)
    parts = [(prefix.start, trie.fold(under(prefix))) for prefix in prefixes]
    assert trie.fold(parts) == trie.fold(leaves)
