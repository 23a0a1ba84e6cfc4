"""fsck finds what is missing, corrupt and garbage; gc removes old garbage and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from loopline import contracts as c
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.fsck import GRACE, fsck, gc
from loopline.store.items import ITEMS, PREDICTIONS, Item, Prediction
from loopline.store.objects import Area, ObjectStore
from loopline.store.reachability import RULES, references
from loopline.store.roots import Root
from loopline.store.shards import Shards
from loopline.store.trees import Tree, TreeStore
from loopline.store.trie import ROOT, Prefix
from loopline.testing.memory import ManualClock
from loopline.testing.rows import item

BYTES = b"some bytes"


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def objects(blobs: MemoryBlobs) -> Iterator[ObjectStore]:
    store = ObjectStore(blobs, "team", concurrency=4)
    yield store
    store.close()


@pytest.fixture
def trees(objects: ObjectStore) -> TreeStore[Item]:
    return TreeStore(objects, ITEMS, rows_max=4)


@pytest.fixture
def later() -> ManualClock:
    return ManualClock(datetime.now(UTC) + GRACE + timedelta(minutes=1))


def committed(*messages: Message) -> list[Committed[Message]]:
    return [
        Committed(message, f"loopline.team.thing.{number}.committed", number)
        for number, message in enumerate(messages, start=1)
    ]


def dataset(tree: Tree[Item]) -> c.DatasetCommitted:
    return c.DatasetCommitted(tree=tree.ref())


async def imported(objects: ObjectStore, trees: TreeStore[Item], *numbers: int) -> Tree[Item]:
    """Store some assets and the tree of their items."""
    assets = await objects.put_many(Area.ASSETS, [f"image {n}".encode() for n in numbers])
    return await trees.write(item(n, asset=a) for n, a in zip(numbers, assets, strict=True))


async def test_what_commits_reach_is_whole(objects: ObjectStore, trees: TreeStore[Item]) -> None:
    first = await imported(objects, trees, *range(10))
    second = await imported(objects, trees, *range(5, 20))
    report = await fsck(committed(dataset(first), dataset(second)), objects, deep=True)
    assert (report.ok, report.commits, report.garbage) == (True, 2, ())
    shards = {d for tree in (first, second) for leaf in tree.root.leaves for d in leaf.objects}
    assert report.reachable == 20 + len(shards) + 2


async def test_a_version_that_is_no_head_is_reached(
    objects: ObjectStore, trees: TreeStore[Item], later: ManualClock
) -> None:
    first, second = await imported(objects, trees, 1), await imported(objects, trees, 2)
    commits = committed(dataset(first), dataset(second))
    assert (await gc(commits, objects, clock=later)).removed == ()
    assert len((await gc(commits[1:], objects, clock=later)).removed) == 4


async def test_what_is_missing_is_named_with_the_commit_that_needs_it(
    objects: ObjectStore, trees: TreeStore[Item]
) -> None:
    tree = await imported(objects, trees, 1, 2)
    lost = [sha256_hex(b"image 1"), tree.root.leaves[0].objects[1]]
    await objects.delete(Area.ASSETS, lost[0])
    await objects.delete(Area.TREES, lost[1])
    report = await fsck(committed(dataset(tree)), objects)
    assert not report.ok
    assert {(found.area, found.digest) for found in report.missing} == {
        (Area.ASSETS, lost[0]),
        (Area.TREES, lost[1]),
    }
    assert {found.referenced_by for found in report.missing} == {
        "loopline.team.thing.1.committed @ 1"
    }


async def test_a_missing_root_is_named(objects: ObjectStore, trees: TreeStore[Item]) -> None:
    tree = await imported(objects, trees, 1)
    await objects.delete(Area.TREES, tree.root_object)
    report = await fsck(committed(dataset(tree)), objects)
    assert [found.digest for found in report.missing] == [tree.root_object]


@pytest.mark.parametrize(
    ("area", "which"),
    [
        pytest.param(Area.ASSETS, lambda tree: sha256_hex(b"image 1"), id="asset"),
        pytest.param(Area.TREES, lambda tree: tree.root_object, id="root"),
        pytest.param(Area.TREES, lambda tree: tree.root.leaves[0].objects[0], id="labels"),
        pytest.param(Area.TREES, lambda tree: tree.root.leaves[0].objects[1], id="origins"),
    ],
)
async def test_bytes_that_do_not_hash_to_their_name_are_corrupt(
    objects: ObjectStore,
    blobs: MemoryBlobs,
    trees: TreeStore[Item],
    area: Area,
    which: Callable[[Tree[Item]], str],
) -> None:
    tree = await imported(objects, trees, 1, 2)
    blobs.put(objects.key(area, which(tree)), b"rot")
    report = await fsck(committed(dataset(tree)), objects, deep=True)
    assert [(found.area, found.digest) for found in report.corrupt] == [(area, which(tree))]
    assert report.missing == ()


async def test_without_deep_assets_are_not_read(
    objects: ObjectStore, blobs: MemoryBlobs, trees: TreeStore[Item]
) -> None:
    tree = await imported(objects, trees, 1)
    blobs.put(objects.key(Area.ASSETS, sha256_hex(b"image 1")), b"rot")
    assert (await fsck(committed(dataset(tree)), objects)).ok


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"statistics": {"items": 4}}, id="counters"),
        pytest.param({"digest": "0" * 64}, id="digest"),
        pytest.param({"splits": {"test": "0" * 64}}, id="split"),
        pytest.param({"prefix": Prefix.parse("1:8")}, id="prefix"),
    ],
)
async def test_a_root_that_lies_about_its_shards_is_found_when_deep(
    objects: ObjectStore, trees: TreeStore[Item], change: dict[str, Any]
) -> None:
    """Every object hashes to its name here: only the rows themselves can tell."""
    tree = await imported(objects, trees, *range(3))
    (leaf,) = tree.root.leaves
    lie = Root("items/1", 4, (replace(leaf, **change),))
    stored = await objects.put(Area.TREES, lie.to_bytes())
    ref = c.TreeRef(digest=lie.digest, root_object=stored, count=3)
    commits = committed(c.DatasetCommitted(tree=ref))
    assert (await fsck(commits, objects)).ok
    report = await fsck(commits, objects, deep=True)
    assert [found.digest for found in report.corrupt] == [leaf.objects[0]]


async def test_a_row_whose_digest_is_not_its_own_is_found_when_deep(objects: ObjectStore) -> None:
    shards = Shards(objects, ITEMS)
    table = ITEMS.encode([item(1)])
    at = table.column_names.index("labeled")
    forged = table.set_column(at, table.schema.field("labeled"), [[True]])
    leaf = await shards.save(ROOT, forged)
    root = Root("items/1", 1500, (leaf,))
    stored = await objects.put(Area.TREES, root.to_bytes())
    ref = c.TreeRef(digest=root.digest, root_object=stored, count=1)
    report = await fsck(committed(c.DatasetCommitted(tree=ref)), objects, deep=True)
    assert [found.digest for found in report.corrupt] == [leaf.objects[0]]


async def test_a_commit_that_says_another_digest_than_its_root_is_found(
    objects: ObjectStore, trees: TreeStore[Item]
) -> None:
    ref = (await imported(objects, trees, 1)).ref()
    ref.digest = "0" * 64
    report = await fsck(committed(c.DatasetCommitted(tree=ref)), objects)
    assert "not what was said" in report.corrupt[0].reason


async def test_garbage_is_removed_when_it_is_old(
    objects: ObjectStore, trees: TreeStore[Item], later: ManualClock
) -> None:
    tree = await imported(objects, trees, 1)
    left = await objects.put(Area.REPORTS, BYTES)
    commits = committed(dataset(tree))
    report = await gc(commits, objects, clock=later)
    assert [found.digest for found in report.removed] == [left]
    assert (report.freed_bytes, report.dry_run) == (len(BYTES), True)
    assert await objects.exists(Area.REPORTS, left)
    report = await gc(commits, objects, clock=later, dry_run=False)
    assert [found.digest for found in report.removed] == [left]
    assert not await objects.exists(Area.REPORTS, left)
    assert (await fsck(commits, objects, deep=True)).ok


async def test_garbage_that_is_young_may_be_committed_yet(
    objects: ObjectStore, trees: TreeStore[Item]
) -> None:
    commits = committed(dataset(await imported(objects, trees, 1)))
    left = await objects.put(Area.ASSETS, BYTES)
    clock = ManualClock(datetime.now(UTC) + GRACE - timedelta(minutes=1))
    report = await gc(commits, objects, clock=clock, dry_run=False)
    assert (report.removed, report.young) == ((), 1)
    assert await objects.exists(Area.ASSETS, left)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_gc_refuses_to_guess_what_an_unreadable_tree_reaches(
    objects: ObjectStore, trees: TreeStore[Item], later: ManualClock, dry_run: bool
) -> None:
    tree = await imported(objects, trees, 1)
    await objects.delete(Area.TREES, tree.root_object)
    with pytest.raises(Rejected, match=tree.root_object):
        await gc(committed(dataset(tree)), objects, clock=later, dry_run=dry_run)
    assert await objects.exists(Area.ASSETS, sha256_hex(b"image 1"))


async def test_gc_refuses_an_empty_log(objects: ObjectStore, later: ManualClock) -> None:
    await objects.put(Area.ASSETS, BYTES)
    with pytest.raises(Rejected, match="no commits"):
        await gc([], objects, clock=later, dry_run=False)
    assert (await gc([], ObjectStore(MemoryBlobs(), "empty"), clock=later)).removed == ()


REPORT = c.ArtefactRef(kind=c.ArtefactKind.ARTEFACT_KIND_REPORT, digest=sha256_hex(BYTES))
COMMIT = c.Commit(run=c.Run(outputs=[REPORT]))
DIGEST = sha256_hex(BYTES)


@pytest.mark.parametrize(
    ("message", "area"),
    [
        pytest.param(c.DatasetCommitted(commit=COMMIT), Area.REPORTS, id="drop report"),
        pytest.param(c.FlowCommitted(commit=COMMIT), Area.CHECKPOINTS, id="checkpoint"),
        pytest.param(
            c.ModelCommitted(files=[c.ModelFile(digest=DIGEST)]), Area.MODELS, id="model file"
        ),
        pytest.param(
            c.ModelCommitted(evaluations=[c.Evaluation(report_digest=DIGEST)]),
            Area.REPORTS,
            id="evaluation",
        ),
        pytest.param(c.PredictionsCommitted(selection_digest=DIGEST), Area.PLANS, id="selection"),
        pytest.param(
            c.LabelingJobCommitted(specification=c.OpenLabelingJob(items_digest=DIGEST)),
            Area.PLANS,
            id="items of a job",
        ),
        pytest.param(c.LabelsSubmitted(asset=DIGEST), Area.ASSETS, id="labeled asset"),
    ],
)
async def test_every_kind_of_reference_is_followed(
    objects: ObjectStore, later: ManualClock, message: Message, area: Area
) -> None:
    commits = committed(message)
    assert [found.digest for found in (await fsck(commits, objects)).missing] == [DIGEST]
    await objects.put(area, BYTES)
    report = await fsck(commits, objects, deep=True)
    assert (report.ok, report.reachable, report.garbage) == (True, 1, ())
    assert (await gc(commits, objects, clock=later)).removed == ()


async def test_trees_of_every_row_type_are_followed(objects: ObjectStore) -> None:
    assets = await objects.put_many(Area.ASSETS, [b"1", b"2"])
    tree = await TreeStore(objects, PREDICTIONS).write(Prediction(a, (), (1.0,)) for a in assets)
    commits = committed(c.PredictionsCommitted(tree=tree.ref()))
    report = await fsck(commits, objects, deep=True)
    assert (report.ok, report.reachable, report.garbage) == (True, 5, ())


def test_a_version_that_is_merely_named_is_no_object() -> None:
    """The digests of datasets and models are of content: no object has them as its name."""
    named = c.ArtefactRef(kind=c.ArtefactKind.ARTEFACT_KIND_MODEL, digest=DIGEST)
    commit = c.Commit(artefact=named, run=c.Run(inputs=[named]))
    assert list(references(c.AliasMoved(commit=commit, target=named))) == []


def test_every_field_that_may_name_an_object_has_its_rule() -> None:
    """A new field `..._digest` or `..._object` of a committed message needs a rule, or a reason."""
    not_objects = {
        "loopline.contracts.dataset.v1.DatasetCommitted.test_split_digest",
        "loopline.contracts.lineage.v1.Environment.code_digest",
        "loopline.contracts.lineage.v1.Environment.packages_digest",
        "loopline.contracts.model.v1.Evaluation.split_digest",
    }
    ruled = {f"{name}.{rule.field}" for name, rules in RULES.items() for rule in rules}
    for message in (
        c.DatasetCommitted,
        c.ModelCommitted,
        c.EvaluationCommitted,
        c.AliasMoved,
        c.FlowCommitted,
        c.PredictionsCommitted,
        c.LabelingJobCommitted,
        c.LabelsSubmitted,
        c.ItemReviewed,
        c.DeliveryCommitted,
    ):
        fields = set(_digest_fields(message.DESCRIPTOR, set()))
        assert fields - ruled <= not_objects


def _digest_fields(descriptor: Any, seen: set[str]) -> Iterator[str]:
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if field.message_type:
            yield from _digest_fields(field.message_type, seen)
        elif field.name.endswith(("_digest", "_object")):
            yield field.full_name
