"""A person's work on a job: taking items, keeping drafts, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.clock import Clock
from loopline.errors import NotFound
from services.annotate.adapters import answers, presenting
from services.annotate.adapters.board import LABEL, REVIEW
from services.annotate.adapters.desk import Desk, Draft, Taking
from services.annotate.adapters.items import ItemRows, JobItem
from services.annotate.adapters.reader import BoardReader, Job, Submission
from services.annotate.adapters.sources import JobSources
from services.annotate.domain.holding import scores_now
from services.annotate.domain.jobs import check_accepts_labels
from services.annotate.domain.work import TO_LABEL, ItemState, check_person

SCORES_EVERY = 10  # items, where the job does not say


@dataclass(frozen=True, slots=True)
class Worker:
    """Who works, and whether as a reviewer.

    Attributes:
        name: Who.
        purpose: "label" or "review".
        sees_all: Whether they may see what several labelers say while they say it.
    """

    name: str
    purpose: str
    sees_all: bool


class Working:
    """Hands out items and takes drafts.

    Args:
        board: Where items stand.
        rows: The items.
        desk: Who holds what.
        sources: Fills the items.
        clock: Time.
        lease_s: How long an item is kept without a sign of life, where the job does not say.
    """

    def __init__(
        self,
        board: BoardReader,
        rows: ItemRows,
        desk: Desk,
        sources: JobSources,
        clock: Clock,
        lease_s: float,
    ) -> None:
        self._board = board
        self._rows = rows
        self._desk = desk
        self._sources = sources
        self._clock = clock
        self._lease_s = lease_s

    @property
    def now_s(self) -> float:
        """Now, seconds since the epoch."""
        return self._clock.now().timestamp()

    async def open(self, name: str, worker: Worker | None = None) -> Job:
        """Return a job with its items there; if somebody works on it, one that takes labels.

        Raises:
            NotFound: There is no such job.
            Forbidden: Others are asked to work on it.
            Rejected: It takes no labels.
        """
        job = await self._board.job(name)
        if job is None:
            raise NotFound(f"there is no labeling job {name}", job=name)
        if worker is not None:
            check_accepts_labels(name, job.state)
            options = job.options
            asked = options.labelers if worker.purpose == LABEL else options.reviewers
            check_person(name, worker.purpose, asked, worker.name)
        await self._sources.ensure(name, job.counts.items)
        return job

    async def next(
        self, job: Job, worker: Worker, count: int, holding: Sequence[str] = ()
    ) -> answers.NextOut:
        """Return items to work on: those that the worker holds, and new ones up to `count`.

        Args:
            job: The job.
            worker: Who asks.
            count: How many to hold.
            holding: What the worker's client has already: renewed, and not sent again.
        """
        taking = self._taking(job, worker)
        held = await self._desk.held(taking)
        if len(held) < count:
            held += await self._take_new(job, taking, count - len(held), len(held))
        fresh = [asset for asset in held if asset not in holding]
        leased = await self._leased(job, worker, taking, fresh)
        waiting = TO_LABEL if worker.purpose == LABEL else (ItemState.DISPUTED, *_reviewed(job))
        return answers.NextOut(items=leased, held=held, remaining=job.counts.of(*waiting))

    async def take(self, job: Job, worker: Worker, asset: str) -> answers.LeasedOut:
        """Give the worker one item, whatever its state, or renew it.

        Raises:
            NotFound: It is not in the job.
            Held: Somebody else holds it.
        """
        taking = self._taking(job, worker)
        await self.item(job, asset)
        await self._desk.take(taking, [asset])
        [leased] = await self._leased(job, worker, taking, [asset])
        return leased

    async def hold(self, job: Job, worker: Worker, assets: Sequence[str]) -> dict[str, str]:
        """Give the worker these items; return who holds those that cannot be given."""
        return await self._desk.take_free(self._taking(job, worker), assets)

    async def save(self, job: Job, worker: Worker, asset: str, draft: Draft) -> answers.SavedOut:
        """Keep a draft of an item that the worker holds, and renew it.

        Raises:
            NotFound: It is not in the job.
            Held: Somebody else holds it.
        """
        taking = self._taking(job, worker)
        await self.item(job, asset)
        await self._desk.take(taking, [asset])
        await self._desk.save(job.name, asset, worker.name, draft)
        kept = (await self._desk.drafts(job.name, [asset], worker.name))[asset]
        return answers.SavedOut(
            revision=kept.revision,
            saved_at=kept.saved_at,
            leased_until=presenting.until_text(taking.until_s),
        )

    async def done(self, job: str, worker: str, assets: Sequence[str]) -> None:
        """Let go of items whose labels or review are in the log."""
        await self._desk.done(job, assets, worker)

    async def item(self, job: Job, asset: str) -> JobItem:
        """Return an item; NotFound if it is not in the job."""
        found = (await self._rows.get(job.name, [asset])).get(asset)
        if found is None:
            raise NotFound(f"asset {asset} is not in labeling job {job.name}", job=job.name)
        return found

    async def shown(self, job: Job, worker: Worker, item: JobItem) -> answers.ItemOut:
        """Return an item as this worker may see it."""
        mine = await self._mine(job, worker, item.asset)
        return presenting.item_out(item, self.now_s, mine, all_labels=_sees(job, worker, item))

    async def _take_new(self, job: Job, taking: Taking, count: int, held: int) -> list[str]:
        taken: list[str] = []
        if taking.purpose == LABEL and job.options.ground_truth_count:
            submitted = held + await self._board.submitted_by(job.name, taking.person)
            every = job.options.ground_truth_every or SCORES_EVERY
            if any(scores_now(submitted + ahead, every) for ahead in range(count)):
                taken = await self._desk.take_next(taking, 1, truth=True)
        return await self._desk.take_next(taking, count - len(taken)) + taken

    async def _leased(
        self, job: Job, worker: Worker, taking: Taking, assets: Sequence[str]
    ) -> list[answers.LeasedOut]:
        if not assets:
            return []
        rows = await self._rows.get(job.name, assets)
        drafts = await self._desk.drafts(job.name, assets, worker.name)
        leased = []
        for asset in assets:
            draft = drafts.get(asset)
            shown = await self.shown(job, worker, rows[asset])
            leased.append(
                answers.LeasedOut(
                    item=shown,
                    leased_until=presenting.until_text(taking.until_s),
                    lease_s=taking.until_s - taking.now_s,
                    draft=presenting.draft_out(draft) if draft is not None else None,
                )
            )
        return leased

    async def _mine(self, job: Job, worker: Worker, asset: str) -> Submission | None:
        if job.options.labelers_per_item == 1 and not job.options.ground_truth_count:
            return None
        found = await self._board.submissions(job.name, asset, worker.name)
        return found[0] if found else None

    def _taking(self, job: Job, worker: Worker) -> Taking:
        now_s = self.now_s
        lease_s = job.options.lease_s or self._lease_s
        return Taking(job.name, worker.name, worker.purpose, now_s, now_s + lease_s)


def _reviewed(job: Job) -> tuple[ItemState, ...]:
    return (ItemState.SUBMITTED,) if job.rules.review else ()


def _sees(job: Job, worker: Worker, item: JobItem) -> bool:
    """Several labelers must not see each other's labels before they have said theirs."""
    if worker.purpose == REVIEW or worker.sees_all:
        return True
    return job.options.labelers_per_item == 1 and item.truth is None
