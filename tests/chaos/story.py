"""What the worlds tell beyond the demo's story: what people ask for while the loop turns.

A version in 8 bit integers, an evaluation, a model trained again from the log, a dataset of
augmented copies, a labeling job whose items are reviewed and one sent back, and a request that is
recorded. As the demo's: what was asked for before is found in the log, and not asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from loopline.contracts import DatasetCommitted, LabelingJobCommitted, RunKind, catalog
from loopline.demo.images import CatalogueTruth
from loopline.demo.story import LABELERS, PHOTOS_BUCKET, Story, Summary
from loopline.demo.webhook import WebhookReceiver
from loopline.store.commits import Committed
from tests.chaos.scene import ASKED, CLASSES

COPIES = "turned"
JOB = "turned-review"
REVIEWED = 3  # items
REJECTED = len(CLASSES) - 1  # times, one of them
CALIBRATED_WITH = 16  # images
ASK_AGAIN_S = 4.0  # a minute's requests that are recorded are limited
T = TypeVar("T")


class LongStory(Story):
    """The demo's story, with what people ask for beside it and after it."""

    _asked_at = float("-inf")  # when the quantized model was asked last
    _beside: tuple[asyncio.Task[None], ...] = ()

    async def run(self) -> Summary:
        """See `Story`."""
        try:
            return await super().run()
        finally:
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)

    async def _import(self, truth: CatalogueTruth) -> Committed[DatasetCommitted]:
        first = await super()._import(truth)
        self._begin(self._copied(truth))
        return first

    async def _labeling(self, truth: CatalogueTruth, receiver: WebhookReceiver) -> None:
        await super()._labeling(truth, receiver)
        # One thing after the other of the trainer: who dies takes a life of all that is at hand.
        version = await self._measured()
        self._begin(self._asked(version, truth), self._reproduced())
        await asyncio.gather(*self._beside)

    async def _job(self) -> Committed[LabelingJobCommitted] | None:
        log = self._loopline.session.log
        jobs = [j for j in await log.heads(catalog.LABELING_JOB_COMMITTED) if j.ref.name != JOB]
        return min(jobs, key=lambda j: j.commit.parent_sequence or j.sequence, default=None)

    def _begin(self, *strands: Coroutine[Any, Any, None]) -> None:
        self._beside += tuple(asyncio.create_task(strand) for strand in strands)

    async def _measured(self) -> str:
        """Quantize the first model, and measure it against that; return the quantized version."""
        version, evaluation = f"{self._scene.name}@v1", self._loopline.evaluation
        int8 = await self._made(
            "the model in 8 bit integers",
            self._quantized,
            lambda: evaluation.quantize(version, calibration_images=CALIBRATED_WITH, wait=False),
        )
        await self._made(
            "the evaluation",
            lambda: self._first(catalog.EVALUATION_COMMITTED, model=self._scene.name),
            lambda: evaluation.run(version, version, wait=False),
        )
        return f"{self._scene.name}@v{int8.ref.version}"

    async def _asked(self, version: str, truth: CatalogueTruth) -> None:
        """Ask a version about an image, until that is recorded."""
        image = await asyncio.to_thread(self._customer_bucket(PHOTOS_BUCKET).get, min(truth.test))
        await self._until("the recorded request", lambda: self._recorded(version, image))

    async def _recorded(self, version: str, image: bytes) -> Committed[Any] | None:
        """Return the dataset of recorded requests; until it is there, ask every now and then.

        A worker that is killed loses what it had not yet told.
        """
        if (found := await self._first(catalog.DATASET_COMMITTED, name=ASKED)) is not None:
            return found
        if (now := time.monotonic()) >= self._asked_at + ASK_AGAIN_S:
            self._asked_at = now
            await self._loopline.model.predict(version, [image])
        return None

    async def _quantized(self) -> Committed[Any] | None:
        log = self._loopline.session.log
        for model in await log.history(catalog.MODEL_COMMITTED, name=self._scene.name):
            if model.commit.run.kind == RunKind.RUN_KIND_QUANTIZE:
                return model
        return None

    async def _reproduced(self) -> None:
        """Train the first model again from the log."""
        name = self._scene.name
        await self._made(
            "the reproduction",
            lambda: self._first(catalog.REPRODUCTION_COMMITTED, model=name),
            # Its checkpoints are all that it writes: without asking, a short one has none.
            lambda: self._loopline.reproduce(
                f"{name}@v1", changes={"checkpoint_every_steps": 10}, wait=False, id="reproduce"
            ),
        )

    async def _copied(self, truth: CatalogueTruth) -> None:
        """Make a dataset of augmented copies; label some of its items, and review the labels."""
        copies: Committed[DatasetCommitted] = await self._made(
            "the copies",
            lambda: self._first(catalog.DATASET_COMMITTED, name=COPIES),
            lambda: self._loopline.augment.run(
                COPIES, f"{self._scene.name}@v1", parameters={"rotate_degrees": 10}, wait=False
            ),
        )
        if await self._reviewed() is not None:
            return
        tree = await self._loopline.session.datasets.tree(copies)
        columns = ["asset", "labeled"]
        assets = [item.asset async for item in tree.rows(columns) if not item.labeled][:REVIEWED]
        await self._loopline.job.open(JOB, f"{COPIES}@v1", items=assets, review=True)
        await self._until("the reviewed dataset", lambda: self._work(truth, assets[0]))

    async def _work(self, truth: CatalogueTruth, doubtful: str) -> Committed[Any] | None:
        """Do what the job waits for; return the dataset's next version once it is there.

        One of the items is labeled wrongly, and sent back, as often as there are wrong classes.
        Everybody waits until the job has come to them: else its way would depend on who is faster.
        """
        job = self._loopline.job
        labeler, reviewer = LABELERS
        state = (await job.get(JOB))["state"]
        items = {item["asset"]: item for item in await job.items(JOB)}
        if state == "in_progress":
            for asset, item in items.items():
                if item["state"] in ("queued", "rejected"):
                    rounds = item["labels"]["version"] if item["labels"] else 0
                    said = truth.answer(asset)
                    if asset == doubtful:
                        said = _attempt(said, rounds)
                    await job.label(JOB, asset, said, labeler=labeler)
        elif state == "on_review":
            waiting = [asset for asset, item in items.items() if item["state"] == "submitted"]
            wrong = doubtful in waiting and items[doubtful]["labels"]["version"] <= REJECTED
            for asset in [doubtful] if wrong else waiting:
                await job.review(
                    JOB,
                    asset,
                    "rejected" if wrong else "accepted",
                    labels_version=items[asset]["labels"]["version"],
                    comment="look again" if wrong else "",
                    reviewer=reviewer,
                )
        return await self._reviewed()

    async def _reviewed(self) -> Committed[Any] | None:
        history = await self._loopline.session.log.history(catalog.DATASET_COMMITTED, name=COPIES)
        return history[1] if len(history) > 1 else None

    async def _made(
        self,
        what: str,
        probe: Callable[[], Awaitable[T | None]],
        ask: Callable[[], Awaitable[Any]],
    ) -> T:
        """Return what `probe` finds; ask for it if it is not there."""
        if (found := await probe()) is not None:
            return found
        await ask()
        return await self._until(what, probe)


def _attempt(truth: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """Return the truth once every other class was said."""
    wrong = REJECTED - rounds
    return [
        {"class_name": CLASSES[(CLASSES.index(one["class_name"]) + wrong) % len(CLASSES)]}
        for one in truth
    ]
