"""Ingest over in-memory twins: from a command to a dataset version, once and always the same."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from loopline.contracts import (
    Actor,
    ImportChunk,
    ImportRules,
    JoinImport,
    Run,
    RunKind,
    RunState,
    catalog,
)
from loopline.demo.images import write_arrivals, write_catalogue
from loopline.errors import NotFound, Rejected, Transient
from loopline.runtime.bus import current_event
from loopline.store import runs
from loopline.store.items import Shape
from loopline.testing.memory import delivery
from services.ingest.settings import IngestSettings
from tests.unit.ingest.shop import DATASET, Shop, ShopBucket, open_shop, png

LABELS = "file,class,split\n"


def fill(bucket: ShopBucket, *numbers: int, folder: str = "") -> None:
    for number in numbers:
        bucket.put(f"{folder}{number:03}.png", png(number))


async def test_images_and_their_labels_become_a_dataset(shop: Shop) -> None:
    fill(shop.bucket, *range(20))
    shop.bucket.put("labels.csv", f"{LABELS}000.png,bag,train\n001.png,coat,test\n".encode())
    head = await shop.run(labels_key="labels.csv")
    assert head.ref.version == 1
    assert head.message.statistics["items"] == 20
    assert list(head.message.classes) == ["bag", "coat"]
    items = await shop.items()
    assert items["000.png"].labeled
    assert items["000.png"].shapes[0].source == f"import:{head.commit.run.id}"
    assert items["001.png"].split == "test"
    assert not items["002.png"].labeled


async def test_run_says_from_what_by_whom_and_how(shop: Shop) -> None:
    fill(shop.bucket, 1, 2, folder="in/")
    shop.bucket.put("labels.csv", LABELS.encode())
    head = await shop.run(prefix="in/", labels_key="labels.csv")
    run = head.commit.run
    assert run.kind == RunKind.RUN_KIND_IMPORT
    assert [(i.name, i.role) for i in run.inputs] == [
        ("s3://customer/photos/in/", "images"),
        ("s3://customer/photos/labels.csv", "labels"),
    ]
    assert run.actor == Actor(kind="external", name="shop")
    assert runs.plain(run.parameters)["rules"]["min_side_px"] == 16
    assert run.environment.code_digest == shop.service.code_digest
    assert [output.role for output in run.outputs] == ["drop_report"]
    assert run.figures["added"] == 2
    assert run.started_at.ToDatetime() <= run.finished_at.ToDatetime()


async def test_run_key_is_that_of_its_inputs_parameters_and_code(shop: Shop) -> None:
    fill(shop.bucket, 1)
    run: Run = (await shop.run()).commit.run
    code = shop.service.code_digest
    assert run.id == runs.run_key(run.kind, run.inputs, runs.plain(run.parameters), code)


async def test_command_says_who_asks_if_it_wants(shop: Shop) -> None:
    fill(shop.bucket, 1)
    head = await shop.run(actor=Actor(kind="user", name="anna"))
    assert head.commit.run.actor == Actor(kind="user", name="anna")


async def test_same_command_twice_commits_once(shop: Shop) -> None:
    fill(shop.bucket, *range(20))
    first = await shop.run()
    chunks = len(shop.bus.sent(catalog.IMPORT_CHUNK))
    second = await shop.run()
    assert (second.ref.version, second.sequence) == (1, first.sequence)
    assert len(shop.bus.sent(catalog.IMPORT_CHUNK)) == chunks
    assert shop.reports()[-1].state == RunState.RUN_STATE_COMPLETED
    assert shop.reports()[-1].artefact == first.ref


async def test_every_message_delivered_twice_changes_nothing(shop: Shop) -> None:
    fill(shop.bucket, *range(30))
    await shop.ask(shop.command())
    await shop.ask(shop.command())
    for _ in range(2):
        for chunk in list(shop.bus.sent(catalog.IMPORT_CHUNK)):
            await shop.service.on_import_chunk(chunk, delivery())
    for _ in range(2):
        for join in list(shop.bus.sent(catalog.JOIN_IMPORT)):
            await shop.service.on_join_import(join, delivery())
    head = await shop.head()
    assert head is not None
    assert (head.ref.version, head.message.statistics["items"]) == (1, 30)


async def test_join_waits_for_chunks_that_are_not_done(shop: Shop) -> None:
    fill(shop.bucket, *range(20))
    await shop.ask(shop.command())
    chunk = shop.bus.sent(catalog.IMPORT_CHUNK)[0]
    join = JoinImport(run_id=chunk.run_id, plan_digest=chunk.plan_digest)
    with pytest.raises(Transient, match="3 of 3 chunks are not done"):
        await shop.service.on_join_import(join, delivery())


async def test_digest_is_the_same_in_whatever_order_and_size_of_chunks() -> None:
    """Copies and look-alikes are spread over chunks, so that a race would show."""
    digests, runs_made = set(), set()
    for seed, size in enumerate([3, 8, 50]):
        shop = await open_shop(import_chunk_objects=size, import_fetch_threads=1 + seed)
        fill(shop.bucket, *range(24), folder="b/")
        fill(shop.bucket, *range(0, 24, 3), folder="a/")
        fill(shop.bucket, *range(0, 24, 5), folder="c/")
        shop.bucket.put("labels.csv", f"{LABELS}c/005.png,bag,\nb/001.png,coat,\n".encode())
        await shop.ask(shop.command(labels_key="labels.csv"))
        chunks = list(shop.bus.sent(catalog.IMPORT_CHUNK))
        random.Random(seed).shuffle(chunks)
        for chunk in chunks + chunks[:1]:
            await shop.service.on_import_chunk(chunk, delivery())
        await shop.service.on_join_import(shop.bus.sent(catalog.JOIN_IMPORT)[0], delivery())
        head = await shop.head()
        assert head is not None
        digests.add(head.message.tree.digest)
        runs_made.add(head.commit.run.id)
        items = await shop.items()
        assert items["005.png"].source.endswith("c/005.png")  # labeled, so it stays
        await shop.service.stop()
    assert len(digests) == len(runs_made) == 1


async def test_import_again_after_new_images_arrived_adds_only_these(shop: Shop) -> None:
    fill(shop.bucket, *range(20))
    first = await shop.run()
    fill(shop.bucket, 20, 21)
    shop.bucket.put("copy.png", png(3))
    shop.bucket.put("bad.png", png(3)[:50])
    second = await shop.run()
    assert second.ref.version == 2
    assert second.commit.parent == first.ref
    assert dict(second.message.changes) == {
        "added": 2,
        "changed": 0,
        "removed": 0,
        "labels_changed": 0,
    }
    assert second.commit.run.figures["known"] == 20
    assert await shop.reasons() == {"bad.png": "corrupt", "copy.png": "exact_duplicate"}


async def test_image_that_looks_like_one_of_the_dataset_is_dropped(shop: Shop) -> None:
    fill(shop.bucket, *range(10), folder="in/")
    await shop.run(prefix="in/")
    truth = write_catalogue(shop.bucket, prefix="all/")
    [key] = [k for k in truth.planted if "shifted/" in k][:1]
    shop.bucket.put("later/original.png", shop.bucket.get(key))
    original = key.rpartition("/")[2]
    [source] = [k for k in truth.unlabeled if k.endswith(original)]
    shop.bucket.put("in/x.png", shop.bucket.get(source))
    await shop.run(prefix="in/")
    await shop.run(prefix="later/")
    report = await shop.report()
    assert [(d["key"], d["reason"]) for d in report["drops"]] == [
        ("later/original.png", "near_duplicate")
    ]
    head = await shop.head()
    assert head is not None
    assert report["drops"][0]["repeats"] == (await shop.items())["x.png"].asset
    assert head.message.statistics["items"] == 11


async def test_near_duplicates_are_kept_if_the_command_says_so(shop: Shop) -> None:
    truth = write_catalogue(shop.bucket)
    near = [key for key, reason in truth.planted.items() if reason == "near_duplicate"][:5]
    for key in near:
        shop.bucket.put(f"near/a {key.rpartition('/')[2]}", shop.bucket.get(key))
        original = next(k for k in truth.unlabeled if k.endswith(key.rpartition("/")[2]))
        shop.bucket.put(f"near/b {key.rpartition('/')[2]}", shop.bucket.get(original))
    rules = ImportRules(drop_near_duplicates=False)
    head = await shop.run(prefix="near/", rules=rules)
    assert head.message.statistics["items"] == 10


async def test_labels_that_became_known_are_a_new_version(shop: Shop) -> None:
    fill(shop.bucket, *range(5))
    await shop.run()
    shop.bucket.put("labels.csv", f"{LABELS}000.png,bag,\n".encode())
    head = await shop.run(labels_key="labels.csv")
    assert head.ref.version == 2
    assert head.message.changes["labels_changed"] == 1
    assert list(head.message.classes) == ["bag"]


async def test_labels_of_a_labeler_committed_meanwhile_are_kept(shop: Shop) -> None:
    """The import is decided again on the head that won."""
    fill(shop.bucket, *range(5))
    await shop.run()
    item = (await shop.items())["000.png"]
    fill(shop.bucket, 7)
    shop.bucket.put("labels.csv", f"{LABELS}000.png,bag,\n".encode())
    await shop.ask(shop.command(labels_key="labels.csv"))
    for chunk in list(shop.bus.sent(catalog.IMPORT_CHUNK))[1:]:
        await shop.service.on_import_chunk(chunk, delivery())
    await _beaten(shop, item.asset)
    await shop.service.on_join_import(shop.bus.sent(catalog.JOIN_IMPORT)[-1], delivery())
    items = await shop.items()
    assert [shape.class_name for shape in items["000.png"].shapes] == ["coat"]
    assert "007.png" in items


async def _beaten(shop: Shop, asset: str) -> None:
    """Let the next append lose its race against a labeler's commit."""
    store = shop.service.log.store
    append = store.append

    async def racing(subject: str, data: bytes, headers: Any, expected: int) -> int:
        store.append = append  # type: ignore[method-assign]
        head = await shop.head()
        assert head is not None
        tree = await shop.service.datasets.tree(head)
        [item] = (await tree.get([asset])).values()
        shapes = (Shape("1", "coat", source="labeler:anna"),)
        changed = [type(item)(**{**_fields(item), "labeled": True, "shapes": shapes})]
        run = Run(id="a" * 64, kind=RunKind.RUN_KIND_ANNOTATE)
        await shop.service.datasets.commit_changes(
            DATASET, changed, run=run, summary="", classes=["bag", "coat"]
        )
        return await append(subject, data, headers, expected)

    store.append = racing  # type: ignore[method-assign]


def _fields(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


async def test_chunk_that_another_worker_did_is_not_fetched_again(shop: Shop) -> None:
    fill(shop.bucket, *range(5))
    await shop.ask(shop.command())
    [chunk] = shop.bus.sent(catalog.IMPORT_CHUNK)
    await shop.service.on_import_chunk(chunk, delivery())
    for number in range(5):
        shop.bucket.delete(f"{number:03}.png")
    await shop.service.on_import_chunk(chunk, delivery(attempt=2))
    await shop.pump()
    head = await shop.head()
    assert head is not None
    assert head.message.statistics["items"] == 5


async def test_run_whose_chunks_died_goes_on_when_it_is_asked_for_again(shop: Shop) -> None:
    """The bus drops repeated messages: those of a new command must not look repeated."""
    fill(shop.bucket, *range(20))
    for command_id in ("first", "first again", "second"):
        current_event.set(command_id.partition(" ")[0])
        await shop.ask(shop.command())
    chunks = shop.bus.sent(catalog.IMPORT_CHUNK)
    assert [chunk.index for chunk in chunks] == [0, 1, 2, 0, 1, 2]
    for chunk in chunks[3:]:
        await shop.service.on_import_chunk(chunk, delivery())
    await shop.service.on_join_import(shop.bus.sent(catalog.JOIN_IMPORT)[0], delivery())
    assert await shop.head() is not None


async def test_object_deleted_between_listing_and_reading_is_told(shop: Shop) -> None:
    fill(shop.bucket, *range(5))
    await shop.ask(shop.command())
    shop.bucket.delete("002.png")
    await shop.pump()
    assert await shop.reasons() == {"002.png": "deleted_after_listing"}


async def test_bad_labels_are_told_and_the_rest_goes_on(shop: Shop) -> None:
    fill(shop.bucket, *range(5))
    rows = "file,class,x_min,y_min,x_max,y_max\n"
    rows += "000.png,bag,,,,\n001.png,hat,,,,\n002.png,bag,20,20,90,90\nno.png,bag,,,,\n"
    shop.bucket.put("labels.csv", rows.encode())
    head = await shop.run(labels_key="labels.csv", classes=["bag", "coat"])
    assert head.message.statistics["labeled"] == 1
    report = await shop.report()
    assert [(p["line"], p["reason"]) for p in report["labels"]] == [
        (3, "unknown_class"),
        (4, "outside_image"),
        (5, "no_such_file"),
    ]
    assert report["counts"]["label_problems"] == 3


async def test_folders_and_the_labels_themselves_are_no_images(shop: Shop) -> None:
    fill(shop.bucket, 1, folder="in/")
    shop.bucket.put("in/", b"")
    shop.bucket.put("in/labels.csv", f"{LABELS}001.png,bag,\n".encode())
    head = await shop.run(prefix="in/", labels_key="in/labels.csv")
    assert dict(head.commit.run.figures)["dropped"] == 0
    assert head.message.statistics["labeled"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"dataset": "No Name"}, "not a valid dataset name", id="dataset"),
        pytest.param({"source": {"connection": "customer"}}, "no bucket", id="no-bucket"),
        pytest.param(
            {"source": {"connection": "customer", "bucket": "gone"}},
            "there is no bucket 'gone'",
            id="missing-bucket",
        ),
        pytest.param({"prefix": "nothing/"}, "there is nothing at", id="nothing"),
        pytest.param({"labels_key": "no.csv"}, "no object 'no.csv'", id="no-labels"),
        pytest.param({"labels_key": "bad.csv"}, "no column 'file'", id="bad-labels"),
        pytest.param(
            {"rules": {"max_megapixels": 101}}, "more than this service decodes", id="megapixels"
        ),
        pytest.param({"rules": {"near_duplicate_bits": 17}}, "more than 16", id="bits"),
    ],
)
async def test_wrong_command_is_rejected_and_its_run_fails(
    shop: Shop, fields: dict[str, Any], message: str
) -> None:
    fill(shop.bucket, 1)
    shop.bucket.put("bad.csv", b"who,knows\n")
    command = shop.command(prefix=fields.pop("prefix", ""))
    command.MergeFrom(type(command)(**fields))
    if "source" in fields:
        command.source.CopyFrom(type(command.source)(**fields["source"]))
    with pytest.raises(Rejected, match=message):
        await shop.ask(command)
    [report] = shop.reports()
    assert report.state == RunState.RUN_STATE_FAILED
    assert message in report.message


async def test_too_many_objects_are_refused_before_any_is_fetched() -> None:
    shop = await open_shop(import_max_objects=10)
    fill(shop.bucket, *range(11))
    with pytest.raises(Rejected, match="more than 10 objects"):
        await shop.ask(shop.command())
    await shop.service.stop()


async def test_labels_larger_than_the_limit_are_refused() -> None:
    shop = await open_shop(import_max_labels_bytes=100)
    fill(shop.bucket, 1)
    shop.bucket.put("labels.csv", LABELS.encode() + b"x" * 100)
    with pytest.raises(Rejected, match="more than 100 bytes"):
        await shop.ask(shop.command(labels_key="labels.csv"))
    await shop.service.stop()


async def test_bucket_of_bad_files_alone_makes_no_dataset(shop: Shop) -> None:
    shop.bucket.put("a.png", b"no")
    await shop.ask(shop.command())
    with pytest.raises(Rejected, match=r"none of the 1 objects .* can be kept"):
        await shop.pump()
    assert shop.reports()[-1].state == RunState.RUN_STATE_FAILED
    assert await shop.head() is None


async def test_plan_that_is_gone_fails_the_run(shop: Shop) -> None:
    command = ImportChunk(run_id="1" * 64, plan_digest="2" * 64, index=0, total=1)
    with pytest.raises(NotFound):
        await shop.service.on_import_chunk(command, delivery())
    assert shop.reports()[-1].run_id == "1" * 64


async def test_failure_that_passes_is_told_only_when_it_is_given_up(shop: Shop) -> None:
    class Away(ShopBucket):
        def list(self, prefix: str) -> Any:
            raise Transient("S3 cannot be reached")

    shop.bucket = Away()
    for attempt, told in [(1, 0), (7, 0), (8, 1)]:
        with pytest.raises(Transient):
            await shop.service.on_import_images(shop.command(), delivery(attempt=attempt))
        assert len(shop.reports()) == told


async def test_connection_that_is_not_configured_is_named() -> None:
    with pytest.raises(Rejected, match="there is no connection 'nobody'"):
        IngestSettings().customer_blobs("nobody", "bucket")


async def test_progress_is_told(shop: Shop) -> None:
    fill(shop.bucket, *range(20))
    head = await shop.run()
    told = [(r.state, r.done, r.total) for r in shop.reports()]
    running, completed = RunState.RUN_STATE_RUNNING, RunState.RUN_STATE_COMPLETED
    assert told == [(running, n, 20) for n in (0, 8, 16, 20)] + [(completed, 20, 20)]
    assert shop.reports()[-1].artefact == head.ref


async def test_catalogue_of_the_demo_is_imported_as_planted() -> None:
    """6,365 objects: every planted bad file is found, and next to nothing else is dropped."""
    shop = await open_shop(import_chunk_objects=256)
    truth = write_catalogue(shop.bucket)
    head = await shop.run(prefix=truth.prefix, labels_key=truth.labels_key)
    reasons = await shop.reasons()
    missed = {key for key in truth.planted if reasons.get(key) != truth.planted[key]}
    extra = {key: reason for key, reason in reasons.items() if key not in truth.planted}
    assert {truth.planted[key] for key in missed} <= {"near_duplicate"}
    assert len(missed) <= 5
    assert set(extra.values()) <= {"near_duplicate"}
    assert len(extra) <= 5
    statistics = head.message.statistics
    assert statistics["items"] == truth.objects - len(reasons)
    assert statistics["split:test"] >= 1495
    assert statistics["labeled"] >= 2995
    assert list(head.message.classes) == list(truth.classes)
    assert not set(write_arrivals(shop.bucket)) & set(truth.unlabeled)
    again = await shop.run(prefix=truth.prefix, labels_key=truth.labels_key)
    assert again.message.test_split_digest == head.message.test_split_digest
    assert 295 <= again.message.changes["added"] <= 300
    assert Counter(reasons.values())["corrupt"] == 50
    await shop.service.stop()
