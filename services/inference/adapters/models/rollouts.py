"""Canary and shadow: a share of the requests goes to a second version, or a copy of them does.

Nothing here may slow or change an answer of the version that answers: a copy is dropped, and
counted, where the second version is not loaded or has enough to do. One that is not loaded, because
it made room for another or could not be read, is loaded again beside the requests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import structlog

from loopline.contracts import Agent, ArtefactKind, ArtefactRef, RolloutReported, catalog
from loopline.contracts import Rollout as RolloutMessage
from loopline.errors import LooplineError
from loopline.runtime.bus import Bus
from services.inference.adapters.engine.batching import Inferred
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.servable import Servable
from services.inference.domain.model import CHAMPION, AliasTarget
from services.inference.domain.rollout import Rollout, Tally, agrees, place_of

REPORT_S: Final = 10.0
SHADOW_PRIORITY: Final = 10_000
TOLD_KEPT: Final = 100_000  # sequences back of which it is remembered what was told
SHADOW_SHARE_OF_QUEUE: Final = 0.25
"""How full a version's queue may be by copies alone."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Followed:
    """An alias with a second version, as of one of its moves.

    Args:
        target: The alias.
        rollout: What it says of the second version.
        tally: What became of its requests since that move.
    """

    target: AliasTarget
    rollout: Rollout
    tally: Tally = field(default_factory=Tally)


class Rollouts:
    """Chooses who answers, and who is asked besides.

    Args:
        repository: Where the aliases point.
        draw: Gives a number in [0, 1) for requests without a key.
    """

    def __init__(self, repository: ModelRepository, draw: random.Random | None = None) -> None:
        self._repository = repository
        self._random = draw or random.Random()
        self._followed: dict[tuple[str, str], Followed] = {}

    def active(self) -> Iterator[Followed]:
        """Yield the aliases that have a second version now."""
        for target in self._repository.targets():
            found = self._of(target)
            if found is not None:
                yield found

    def of(self, name: str, version: str) -> Followed | None:
        """Return the rollout of what a request names; None where it names no alias with one."""
        target = self._repository.target(name, version or CHAMPION)
        return None if target is None or target.rollout is None else self._of(target)

    def version(self, followed: Followed, version: str, key: str) -> str:
        """Return the version that answers: the one that was named, or the second one.

        Args:
            followed: The rollout.
            version: What the request names.
            key: Requests of one key get one version; without one it is drawn.
        """
        rollout = followed.rollout
        place = place_of(key, followed.target.model) if key else self._random.random()
        if place >= rollout.canary:
            return version
        if self._repository.resident(rollout.key) is None:
            self._repository.recall(rollout.key)
            followed.tally.add("canary_missed")
            return version
        followed.tally.add("canary")
        return str(rollout.key.version)

    def shadow(self, followed: Followed) -> Servable | None:
        """Return who gets a copy of the next request; None where nobody does."""
        rollout = followed.rollout
        if rollout.shadow <= 0 or self._random.random() >= rollout.shadow:
            return None
        servable = self._repository.resident(rollout.key)
        if servable is None:
            self._repository.recall(rollout.key)
        if servable is None or _is_busy(servable):
            followed.tally.add("shadow_dropped")
            return None
        return servable

    def compare(
        self, followed: Followed, task: str, ours: Future[Inferred], theirs: Future[Inferred]
    ) -> None:
        """Compare two answers once both are there."""

        def both_done(_: Future[Inferred]) -> None:
            _count(followed.tally, task, ours, theirs)

        theirs.add_done_callback(lambda _: ours.add_done_callback(both_done))

    def _of(self, target: AliasTarget) -> Followed | None:
        alias = (target.model, target.alias)
        known = self._followed.get(alias)
        if target.rollout is None:
            if known is not None:
                del self._followed[alias]
            return None
        if known is None or known.target.sequence != target.sequence:
            known = self._followed[alias] = Followed(target, target.rollout)
        return known


async def report_for_ever(rollouts: Rollouts, bus: Bus, agent: Agent) -> None:
    """Tell of every rollout each `REPORT_S`, as long as its figures change."""
    told: dict[int, int] = {}
    while True:
        await asyncio.sleep(REPORT_S)
        for followed in rollouts.active():
            counts = followed.tally.figures()
            sequence, total = followed.target.sequence, sum(counts.values())
            if told.get(sequence) == total:
                continue
            told = {**{k: v for k, v in told.items() if k > sequence - TOLD_KEPT}, sequence: total}
            try:
                await report(followed, bus, agent)
            except LooplineError as error:  # the next one says it all again
                log.warning("rollout_not_reported", reason=error.message)


async def report(followed: Followed, bus: Bus, agent: Agent) -> None:
    """Tell what became of a rollout's requests so far."""
    target, rollout = followed.target, followed.rollout
    kind = ArtefactKind.ARTEFACT_KIND_MODEL
    versions = [
        ArtefactRef(kind=kind, name=target.model, version=key.version, digest=digest)
        for key, digest in ((target.key, target.digest), (rollout.key, rollout.digest))
    ]
    message = RolloutReported(
        model=target.model,
        alias=target.alias,
        target=versions[0],
        rollout=RolloutMessage(candidate=versions[1], canary=rollout.canary, shadow=rollout.shadow),
        counts=followed.tally.figures(),
        agent=agent,
    )
    await bus.send(catalog.ROLLOUT_REPORTED, message, model=target.model)


def _is_busy(servable: Servable) -> bool:
    admission = servable.admission
    return admission.inside > admission.capacity_images * SHADOW_SHARE_OF_QUEUE


def _count(tally: Tally, task: str, ours: Future[Inferred], theirs: Future[Inferred]) -> None:
    try:
        if ours.cancelled() or ours.exception() is not None:
            return  # there is nothing to compare with
        if theirs.cancelled() or theirs.exception() is not None:
            tally.add("shadow_failed")
            return
        agreed = agrees(task, ours.result().outputs, theirs.result().outputs)
        tally.add("shadow_compared", *(["shadow_agreed"] if agreed else []))
    except (KeyError, ValueError, LooplineError):  # outputs that do not compare
        log.warning("shadow_not_comparable", exc_info=True)
        tally.add("shadow_failed")
