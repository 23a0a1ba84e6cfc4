"""What is known of how good model versions are: their own evaluations, and those made later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopline.contracts import ArtefactRef, Evaluation, ModelCommitted, catalog
from loopline.errors import Rejected
from loopline.store.commits import CommitLog
from loopline.store.objects import Area, ObjectStore

if TYPE_CHECKING:  # numpy is imported by whoever compares: a client that lists models needs none
    from loopline.evaluation.report import Comparison

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0


DATA_ROLES = ("train_on", "calibrate_on")
"""The parts that a dataset plays in the run of a model that was measured on its test split."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation, and the dataset version it was made on."""

    dataset: ArtefactRef
    evaluation: Evaluation


class Evaluations:
    """Finds and compares evaluations.

    Args:
        log: Where they are committed.
        objects: Where their reports and outcomes are.
    """

    def __init__(self, log: CommitLog, objects: ObjectStore) -> None:
        self._log = log
        self._objects = objects

    async def of(self, model: ModelCommitted) -> list[Evaluated]:
        """Return a version's evaluations, the newest first; its training's own is the last."""
        ref = model.commit.artefact
        history = await self._log.history(catalog.EVALUATION_COMMITTED, model=ref.name)
        later = [
            Evaluated(found.message.dataset, found.message.evaluation)
            for found in history
            if found.message.model.digest == ref.digest
        ]
        own = [Evaluated(data_of(model) or ArtefactRef(), one) for one in model.evaluations]
        return [*reversed(later), *own]

    async def on_split(self, model: ModelCommitted, split_digest: str) -> Evaluation | None:
        """Return a version's newest evaluation on exactly these items and labels, or None."""
        for found in await self.of(model):
            if split_digest and found.evaluation.split_digest == split_digest:
                return found.evaluation
        return None

    async def shared(self, a: ModelCommitted, b: ModelCommitted) -> tuple[Evaluation, Evaluation]:
        """Return an evaluation of each on the same items and labels, the newest of the second's.

        Raises:
            Rejected: There is no split that both were measured on.
        """
        of_a = {
            one.evaluation.split_digest: one.evaluation
            for one in reversed(await self.of(a))
            if one.evaluation.outcomes_digest
        }
        for of_b in (one.evaluation for one in await self.of(b)):
            if of_b.split_digest and of_b.outcomes_digest and of_b.split_digest in of_a:
                return of_a[of_b.split_digest], of_b
        one, other = version_of(a.commit.artefact), version_of(b.commit.artefact)
        raise Rejected(
            f"{one} and {other} were not measured on the same frozen split; measure one of them "
            f"on the other's: loopline model evaluate {one} --dataset NAME@VERSION"
        )

    async def compare(
        self,
        a: ModelCommitted,
        b: ModelCommitted,
        *,
        resamples: int = RESAMPLES,
        confidence: float = CONFIDENCE,
        seed: int = SEED,
    ) -> Comparison:
        """Compare two versions on the newest split that both were measured on.

        Raises:
            Rejected: There is none, or their outcomes do not compare.
        """
        from loopline.evaluation import comparison, outcomes

        of_a, of_b = await self.shared(a, b)
        digests = [of_a.outcomes_digest, of_b.outcomes_digest]
        one, other = await self._objects.get_many(Area.REPORTS, digests)
        found = await asyncio.to_thread(
            comparison.compare,
            outcomes.from_bytes(one),
            outcomes.from_bytes(other),
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )
        return found.model_copy(
            update={
                "a": version_of(a.commit.artefact),
                "b": version_of(b.commit.artefact),
                "split_digest": of_b.split_digest,
            }
        )


def data_of(model: ModelCommitted) -> ArtefactRef | None:
    """Return the dataset version that a model's own evaluation is of; None if it names none."""
    return next((ref for ref in model.commit.run.inputs if ref.role in DATA_ROLES), None)


def version_of(ref: ArtefactRef) -> str:
    """Return a version for people: "catalogue@v3"."""
    return f"{ref.name}@v{ref.version}"
