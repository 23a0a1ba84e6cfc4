"""The commit log: compare-and-set, redelivery, and lost confirmations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from loopline.contracts import ArtefactKind, ArtefactRef, FlowCommitted, RunKind, catalog
from loopline.errors import Conflict, NotFound, Transient
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed, Unchanged
from loopline.testing.memory import ManualClock, MemoryLog

FLOW = catalog.FLOW_COMMITTED


def flow(digest: str, run: str = "") -> FlowCommitted:
    message = FlowCommitted(document=f"flow: {digest}")
    message.commit.artefact.CopyFrom(
        ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_FLOW, name="f", digest=digest * 64)
    )
    parameters = {"run": run or digest}
    message.commit.run.CopyFrom(runs.new_run(RunKind.RUN_KIND_EDIT, parameters=parameters))
    return message


@pytest.fixture
def store() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def log(store: MemoryLog) -> CommitLog:
    return CommitLog(store, "default", source="test", clock=ManualClock())


async def commit(log: CommitLog, digest: str, run: str = "") -> Committed[FlowCommitted]:
    async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
        return flow(digest, run)

    return await log.commit(FLOW, build, name="f")


async def test_versions_count_up_and_name_their_parent(log: CommitLog) -> None:
    first, second = await commit(log, "a"), await commit(log, "b")
    assert (first.ref.version, second.ref.version) == (1, 2)
    assert second.commit.parent == first.ref
    assert second.commit.parent_sequence == first.sequence
    assert second.commit.workspace == "default"


async def test_a_redelivered_run_finds_its_own_commit_and_publishes_nothing(
    log: CommitLog, store: MemoryLog
) -> None:
    first = await commit(log, "a")
    await commit(log, "b")
    again = await commit(log, "a")
    assert again.sequence == first.sequence
    assert len(store.records) == 2


async def test_every_racing_writer_gets_a_version_of_its_own(log: CommitLog) -> None:
    committed = await asyncio.gather(*(commit(log, "a", run=str(n)) for n in range(10)))
    assert sorted(c.ref.version for c in committed) == list(range(1, 11))


async def test_the_loser_of_a_race_builds_again_on_the_new_head(
    log: CommitLog, store: MemoryLog
) -> None:
    heads: list[int] = []

    async def build(head: Committed[FlowCommitted] | None) -> FlowCommitted:
        heads.append(head.ref.version if head else 0)
        if len(heads) == 1:
            await commit(log, "b")
        return flow("a")

    assert (await log.commit(FLOW, build, name="f")).ref.version == 2
    assert heads == [0, 1]


async def test_a_writer_that_always_loses_gives_up_with_conflict(log: CommitLog) -> None:
    count = 0

    async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
        nonlocal count
        count += 1
        await commit(log, "b", run=f"other {count}")
        return flow("a")

    with pytest.raises(Conflict, match=r"loopline\.default\.flow\.f\.committed moved on"):
        await log.commit(FLOW, build, name="f")


class LosesConfirmations(MemoryLog):
    """Stores, but the answer gets lost; or loses the message too."""

    def __init__(self, *, stores: bool) -> None:
        super().__init__()
        self._stores = stores

    async def append(
        self, subject: str, data: bytes, headers: Mapping[str, str], expected: int
    ) -> int:
        if self._stores:
            await super().append(subject, data, headers, expected)
        raise Transient("no answer")


async def test_a_commit_whose_confirmation_was_lost_is_found_in_the_log() -> None:
    log = CommitLog(LosesConfirmations(stores=True), "default", source="test")
    assert (await commit(log, "a")).ref.version == 1


async def test_a_commit_that_was_lost_is_reported() -> None:
    log = CommitLog(LosesConfirmations(stores=False), "default", source="test")
    with pytest.raises(Transient, match="no answer"):
        await commit(log, "a")


async def test_unchanged_returns_the_head(log: CommitLog, store: MemoryLog) -> None:
    first = await commit(log, "a")

    async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
        raise Unchanged("the same")

    assert await log.commit(FLOW, build, name="f") == first
    assert len(store.records) == 1


async def test_version_finds_by_number_by_digest_and_the_head(log: CommitLog) -> None:
    first, second = await commit(log, "a"), await commit(log, "b")
    assert await log.version(FLOW, ArtefactRef(name="f", version=1), name="f") == first
    assert await log.version(FLOW, ArtefactRef(name="f", digest="b" * 64), name="f") == second
    assert await log.version(FLOW, ArtefactRef(name="f"), name="f") == second
    with pytest.raises(NotFound, match="there is no flow f@v7"):
        await log.version(FLOW, ArtefactRef(name="f", version=7), name="f")


async def test_read_yields_commits_in_order_from_any_sequence(log: CommitLog) -> None:
    for digest in "abc":
        await commit(log, digest)
    found = [c.ref.version async for c in log.read([FLOW], after=1)]
    assert found == [2, 3]


def test_equal_work_has_an_equal_key() -> None:
    a = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_DATASET, name="d", digest="a" * 64, version=1)
    same = ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_DATASET, name="d", digest="a" * 64, version=9
    )
    b = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_MODEL, name="m", digest="b" * 64)
    train = RunKind.RUN_KIND_TRAIN
    key = runs.run_key(train, [a, b], {"epochs": 3.0, "lr": 0.1}, "code")
    assert key == runs.run_key(train, [b, same], {"lr": 0.1, "epochs": 3}, "code")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({"epochs": 4}, "code", id="parameter"),
        pytest.param({"epochs": 3}, "other code", id="code"),
    ],
)
def test_different_work_has_another_key(parameters: dict[str, int], code: str) -> None:
    key = runs.run_key(RunKind.RUN_KIND_TRAIN, [], {"epochs": 3}, "code")
    assert key != runs.run_key(RunKind.RUN_KIND_TRAIN, [], parameters, code)
