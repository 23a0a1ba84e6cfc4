"""What labelers submit, committed one item at a time: the same submission twice is one version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    LabelsSubmitted,
    RunKind,
    catalog,
)
from loopline.errors import NotFound
from loopline.store.commits import CommitLog, Committed, Unchanged
from loopline.store.items import Shape
from services.annotate.adapters.items import ItemRows, JobItem
from services.annotate.adapters.jobs import JobCommit, Jobs
from services.annotate.adapters.messages import shape_message, state_of
from services.annotate.adapters.provenance import Provenance, as_role, person
from services.annotate.adapters.sources import JobSources
from services.annotate.domain.jobs import check_accepts_labels
from services.annotate.domain.shapes import (
    Canvas,
    attribute,
    check_labeler,
    check_shapes,
    labels_digest,
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Labels for one item, as they came in."""

    asset: str
    labeler: str
    shapes: tuple[Shape, ...]
    spent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """Labels that are in the log.

    Attributes:
        unchanged: They were the item's last submission already.
    """

    asset: str
    version: int
    digest: str
    sequence: int
    unchanged: bool


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that takes labels, and those of its items that are asked for."""

    commit: JobCommit
    items: dict[str, JobItem]


class Submissions:
    """Takes labels in."""

    def __init__(
        self,
        log: CommitLog,
        jobs: Jobs,
        sources: JobSources,
        rows: ItemRows,
        provenance: Provenance,
    ) -> None:
        self._log = log
        self._jobs = jobs
        self._sources = sources
        self._rows = rows
        self._provenance = provenance

    async def open_job(self, job: str, assets: Sequence[str]) -> OpenJob:
        """Return a job that takes labels, with those of `assets` that are in it.

        Raises:
            NotFound: There is no such job.
            Rejected: It takes no labels.
        """
        commit = await self._jobs.get(job)
        check_accepts_labels(job, state_of(commit.message.state))
        await self._sources.ensure(commit.ref.digest, commit.message.specification)
        return OpenJob(commit, await self._rows.get(commit.ref.digest, assets))

    async def submit(self, job: OpenJob, proposal: Proposal) -> Accepted:
        """Commit labels for one item.

        Raises:
            NotFound: The asset is not in the job.
            Rejected: The labeler's name or a shape cannot be.
        """
        name = job.commit.ref.name
        item = job.items.get(proposal.asset)
        if item is None:
            raise NotFound(f"asset {proposal.asset} is not in labeling job {name}", job=name)
        predicted = item.predicted or ()
        classes = tuple(job.commit.message.specification.classes)
        check_labeler(proposal.labeler)
        canvas = Canvas(item.asset, item.width_px, item.height_px, classes)
        check_shapes(proposal.shapes, canvas, predicted)
        shapes = attribute(proposal.shapes, proposal.labeler, predicted)
        return await self._commit(job.commit, proposal, shapes)

    async def _commit(
        self, job: JobCommit, proposal: Proposal, shapes: tuple[Shape, ...]
    ) -> Accepted:
        digest = labels_digest(shapes)
        unchanged = False

        async def build(head: Committed[LabelsSubmitted] | None) -> LabelsSubmitted:
            nonlocal unchanged
            unchanged = head is not None and _same(head, digest, proposal.labeler)
            if unchanged:
                raise Unchanged(f"{proposal.asset} has these labels")
            follows = head.ref.version if head is not None else 0
            return self._message(job, proposal, shapes, digest, follows)

        committed = await self._log.commit(
            catalog.LABELS_SUBMITTED, build, job=job.ref.name, asset=proposal.asset
        )
        ref = committed.ref
        return Accepted(proposal.asset, ref.version, ref.digest, committed.sequence, unchanged)

    def _message(
        self,
        job: JobCommit,
        proposal: Proposal,
        shapes: tuple[Shape, ...],
        digest: str,
        follows: int,
    ) -> LabelsSubmitted:
        name, asset, labeler = job.ref.name, proposal.asset, proposal.labeler
        # The version it follows makes going back to earlier labels a run of its own.
        parameters = {"asset": asset, "labeler": labeler, "labels": digest, "follows": follows}
        run = self._provenance.run(
            RunKind.RUN_KIND_ANNOTATE, [as_role(job.ref, "job")], parameters, person(labeler)
        )
        kind = ArtefactKind.ARTEFACT_KIND_LABELS
        said = ", ".join(sorted({shape.class_name for shape in shapes})) or "nothing to see"
        return LabelsSubmitted(
            commit=Commit(
                artefact=ArtefactRef(kind=kind, name=f"{name}/{asset}", digest=digest),
                run=run,
                summary=f"{labeler}: {said}"[:200],
            ),
            job=name,
            asset=asset,
            labeler=labeler,
            shapes=[shape_message(shape) for shape in shapes],
            spent_s=proposal.spent_s,
        )


def _same(head: Committed[LabelsSubmitted], digest: str, labeler: str) -> bool:
    return head.ref.digest == digest and head.message.labeler == labeler
