"""From a job's corrections to the dataset's next version, and the job's completion.

The run's key holds the digest over all corrections, so whoever settles the same labels again, after
a kill or in another process, finds its own version in the log and goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    OpenLabelingJob,
    Run,
    RunKind,
    catalog,
)
from loopline.digests import canonical_json
from loopline.errors import Rejected, Transient
from loopline.store.commits import CommitLog, Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import MergeConflict
from services.annotate.adapters.jobs import KEEP_LABELS, JobCommit, Jobs, inputs_of
from services.annotate.adapters.messages import state_of
from services.annotate.adapters.provenance import Provenance
from services.annotate.adapters.reader import BoardReader
from services.annotate.adapters.sources import JobSources
from services.annotate.domain.corrections import (
    Correction,
    agreement_report,
    corrected,
    corrections_digest,
    corrections_of,
    figures,
    items_by_labeler,
)
from services.annotate.domain.jobs import State

REBASES_MAX = 10

DatasetCommit = Committed[DatasetCommitted]


class Settlement:
    """Merges labels into datasets."""

    def __init__(
        self,
        log: CommitLog,
        objects: ObjectStore,
        datasets: Datasets,
        jobs: Jobs,
        sources: JobSources,
        provenance: Provenance,
        board: BoardReader,
    ) -> None:
        self._board = board
        self._log = log
        self._objects = objects
        self._datasets = datasets
        self._jobs = jobs
        self._sources = sources
        self._provenance = provenance
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, job: str) -> asyncio.Lock:
        """Return the lock under which one process settles a job once at a time."""
        return self._locks.setdefault(job, asyncio.Lock())

    async def settle(self, job: JobCommit) -> None:
        """Commit what is said of a job's done items into its dataset.

        A job in progress must be done; it is completed, unless it keeps filling. Of a stopped job
        goes what there is, unless it was stopped otherwise.

        Raises:
            Transient: Items of a job in progress are not done yet.
        """
        name, stopped = job.ref.name, state_of(job.message.state) is State.STOPPED
        if stopped and not job.commit.run.parameters[KEEP_LABELS]:
            return
        board = await self._board.job(name)
        if board is None:
            raise Transient(f"labeling job {name} is not in the database yet", job=name)
        if board.phase is not State.COMPLETED and not stopped:
            raise Transient(f"{board.counts.items - board.done} items are not done", job=name)
        said = corrections_of(await self._board.results(name), board.rules)
        # What an earlier version holds is not said again: somebody may have changed it since.
        corrections = [one for one in said if one.sequence > board.settled_sequence]
        if not corrections:
            return
        version = await self._merged(job, corrections)
        if not stopped:
            through = max(correction.sequence for correction in corrections)
            figures = dict(version.commit.run.figures)
            await self._jobs.settled(name, version.ref, figures, through)

    async def _merged(self, job: JobCommit, corrections: Sequence[Correction]) -> DatasetCommit:
        specification = job.message.specification
        dataset = specification.dataset.name
        run = self._run(job, corrections)
        done = await self._log.find_run(catalog.DATASET_COMMITTED, run.id, name=dataset)
        if done is not None:
            return done
        assets = [correction.asset for correction in corrections]
        predicted = await self._sources.shown(job.ref.name, assets)
        await self._tell(run, corrections, predicted)
        for _ in range(REBASES_MAX):
            try:
                return await self._commit(specification, corrections, run)
            except MergeConflict:
                continue  # somebody changed one of these items meanwhile: on top of that, then
        raise Transient(
            f"dataset {dataset} changes faster than labels can be merged", job=job.ref.name
        )

    def _run(self, job: JobCommit, corrections: Sequence[Correction]) -> Run:
        name, specification = job.ref.name, job.message.specification
        labels = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_LABELS,
            name=name,
            digest=corrections_digest(corrections),
            role="labels",
        )
        inputs = [*inputs_of(specification, job), labels]
        parameters = {"job": name, "labelers": items_by_labeler(corrections)}
        run = self._provenance.run(
            RunKind.RUN_KIND_ANNOTATE, inputs, parameters, specification.actor
        )
        run.started_at.CopyFrom(job.commit.committed_at)  # people began then, not we now
        return run

    async def _tell(
        self,
        run: Run,
        corrections: Sequence[Correction],
        predicted: Mapping[str, Sequence[Shape]],
    ) -> None:
        """Put figures and the agreement report into the run."""
        run.figures.update(figures(corrections, predicted))
        report = canonical_json(agreement_report(corrections, predicted))
        run.outputs.add(
            kind=ArtefactKind.ARTEFACT_KIND_REPORT,
            name=f"{run.parameters['job']}/agreement",
            digest=await self._objects.put(Area.REPORTS, report),
            role="agreement_report",
        )

    async def _commit(
        self, specification: OpenLabelingJob, corrections: Sequence[Correction], run: Run
    ) -> DatasetCommit:
        dataset = specification.dataset.name
        head = await self._datasets.head(dataset)
        if head is None:
            raise Rejected(f"there is no dataset {dataset}", dataset=dataset)
        tree = await self._datasets.tree(head)
        items = await tree.get([correction.asset for correction in corrections])
        upserts = [corrected(items[s.asset], s) for s in corrections if s.asset in items]
        # An item that was removed from the dataset meanwhile stays removed.
        run.figures["left_out"] = len(corrections) - len(upserts)
        return await self._datasets.commit_changes(
            dataset,
            upserts,
            run=self._provenance.finished(run),
            summary=f"{len(upserts)} items labeled in {specification.job}",
            classes=_classes(head.message.classes, upserts),
            base=head,
        )


def _classes(known: Sequence[str], items: Sequence[Item]) -> list[str] | None:
    """Return the dataset's classes and behind them those that are new; None if none are."""
    used = {shape.class_name for item in items for shape in item.shapes}
    added = sorted(used - set(known))
    return [*known, *added] if added else None
