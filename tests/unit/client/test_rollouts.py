"""A version beside an alias's, and how it ends: forwards, back, and moved back once more."""

from __future__ import annotations

import pytest

from loopline.client.models import ModelVerbs
from loopline.client.session import Session
from loopline.client.settings import ClientSettings
from loopline.contracts import AliasMoved
from loopline.contracts.catalog import Stream
from loopline.errors import NotFound, Rejected
from loopline.runtime.bus import Bus
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import CommitLog, Committed
from loopline.store.objects import ObjectStore
from loopline.testing.memory import ManualClock, MemoryBus
from loopline.testing.onnx_models import colour_classifier, commit_model


@pytest.fixture
async def verbs() -> ModelVerbs:
    """Verbs over a workspace with three versions of a model, none of them deployed."""
    bus, clock = MemoryBus(), ManualClock()
    log = CommitLog(bus.streams[str(Stream.COMMITS)], "default", source="test")
    objects = ObjectStore(MemoryBlobs(), "default")
    for sharpness in (0.1, 0.2, 0.3):
        await commit_model(log, objects, colour_classifier(sharpness=sharpness))
    session = Session.within(
        ClientSettings(workspace="default", user="anna"), log=log, objects=objects, clock=clock,
        bus=Bus(bus, "default", source="test", clock=clock),
    )  # fmt: skip
    return ModelVerbs(session)


def seen(move: Committed[AliasMoved]) -> tuple[int, int]:
    """Return where the alias points, and what is beside that; 0 for nothing."""
    return move.message.target.version, move.message.rollout.candidate.version


async def test_a_rollout_ends_forwards_by_promoting_its_version(verbs: ModelVerbs) -> None:
    await verbs.promote("colours@v1")
    rolled = await verbs.rollout("colours@v2", canary=0.1, shadow=0.5)
    assert seen(rolled) == (1, 2)
    shares = rolled.message.rollout
    assert (shares.canary, shares.shadow) == (0.1, 0.5)
    assert seen(await verbs.promote("colours@v2")) == (2, 0)


async def test_rolled_back_a_rollout_ends_and_the_alias_stays(verbs: ModelVerbs) -> None:
    await verbs.promote("colours@v1")
    await verbs.promote("colours@v2")
    await verbs.rollout("colours@v3", canary=0.1)
    back = await verbs.rollback("colours")
    assert seen(back) == (2, 0)
    assert back.message.reason == "rolled back by anna"
    assert seen(await verbs.rollback("colours", reason="worse on boots")) == (1, 0)
    assert seen(await verbs.rollback("colours")) == (2, 0)


async def test_what_was_never_elsewhere_has_nothing_to_go_back_to(verbs: ModelVerbs) -> None:
    with pytest.raises(NotFound, match="no alias 'champion'"):
        await verbs.rollback("colours")
    await verbs.promote("colours@v1")
    with pytest.raises(Rejected, match="never at another version"):
        await verbs.rollback("colours")


@pytest.mark.parametrize(
    ("version", "canary", "error", "reason"),
    [
        pytest.param("colours@v2", 1.5, Rejected, "shares lie in", id="share"),
        pytest.param("colours@v1", 0.1, Rejected, "is colours@v1 already", id="the alias's own"),
        pytest.param("colours@v9", 0.1, NotFound, "colours", id="no such version"),
    ],
)
async def test_a_rollout_that_makes_no_sense_is_refused(
    verbs: ModelVerbs, version: str, canary: float, error: type[Exception], reason: str
) -> None:
    await verbs.promote("colours@v1")
    with pytest.raises(error, match=reason):
        await verbs.rollout(version, canary=canary)
    assert [seen(move) for move in await verbs.aliases("colours")] == [(1, 0)]
