"""What labelers submit, committed one item at a time: the same submission twice is one version.

Every submission holds its item while it is committed, so that nobody else works on it meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
from services.annotate.adapters.desk import Desk
from services.annotate.adapters.items import ItemRows, JobItem
from services.annotate.adapters.jobs import JobCommit, Jobs
from services.annotate.adapters.messages import options_of, shape_message, state_of
from services.annotate.adapters.provenance import Provenance, as_role, person
from services.annotate.adapters.sources import JobSources
from services.annotate.domain.holding import Overtaken
from services.annotate.domain.jobs import Options, check_accepts_labels
from services.annotate.domain.shapes import (
    Canvas,
    attribute,
    check_labeler,
    check_shapes,
    check_tags,
    labels_digest,
)
from services.annotate.domain.work import check_person, check_takes_labels


@dataclass(frozen=True, slots=True)
class Proposal:
    """Labels for one item, as they came in.

    Attributes:
        spent_s: Time on the item.
        shape_spent_s: Time on each shape, by its place in `shapes`.
        by_reviewer: Whether a reviewer mends what labelers said.
    """

    asset: str
    labeler: str
    shapes: tuple[Shape, ...]
    spent_s: float = 0.0
    tags: tuple[str, ...] = ()
    shape_spent_s: Mapping[int, float] = field(default_factory=dict)
    by_reviewer: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """Labels that are in the log.

    Attributes:
        unchanged: They were this person's last submission already.
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
    options: Options

    @property
    def name(self) -> str:
        """The job's name."""
        return self.commit.ref.name

    def item(self, asset: str) -> JobItem:
        """Return an item; NotFound if it is not in the job."""
        found = self.items.get(asset)
        if found is None:
            raise NotFound(f"asset {asset} is not in labeling job {self.name}", job=self.name)
        return found


class Submissions:
    """Takes labels in."""

    def __init__(
        self,
        log: CommitLog,
        jobs: Jobs,
        sources: JobSources,
        rows: ItemRows,
        desk: Desk,
        provenance: Provenance,
    ) -> None:
        self._log = log
        self._jobs = jobs
        self._sources = sources
        self._rows = rows
        self._desk = desk
        self._provenance = provenance

    async def open_job(self, job: str, assets: Sequence[str]) -> OpenJob:
        """Return a job that takes labels, with those of `assets` that are in it.

        Raises:
            NotFound: There is no such job.
            Rejected: It takes no labels.
        """
        commit = await self._jobs.get(job)
        check_accepts_labels(job, state_of(commit.message.state))
        await self._sources.ensure(job)
        items = await self._rows.get(job, assets)
        return OpenJob(commit, items, options_of(commit.message.specification))

    async def submit(self, job: OpenJob, proposal: Proposal) -> Accepted:
        """Commit labels for one item, which the labeler holds.

        Raises:
            NotFound: The asset is not in the job.
            Forbidden: Others are asked to label it.
            Overtaken: Somebody else labeled it after the labeler took it.
            Rejected: The labeler's name or a shape cannot be, or the item has all its labels.
        """
        item = job.item(proposal.asset)
        check_labeler(proposal.labeler)
        if not proposal.by_reviewer:
            check_person(job.name, "label", job.options.labelers, proposal.labeler)
            check_takes_labels(
                item.result, proposal.labeler, job.options.labelers_per_item, proposal.asset
            )
        predicted = item.predicted or ()
        known = (*predicted, *item.result.shapes) if proposal.by_reviewer else predicted
        classes = tuple(job.commit.message.specification.classes)
        kinds = () if proposal.by_reviewer else job.options.shapes
        canvas = Canvas(item.asset, item.width_px, item.height_px, classes, kinds)
        check_shapes(proposal.shapes, canvas, known, item.existing)
        check_tags(item.asset, proposal.tags)
        shapes = attribute(proposal.shapes, proposal.labeler, predicted, item.existing)
        return await self._commit(job, item, proposal, shapes)

    async def _commit(
        self, job: OpenJob, item: JobItem, proposal: Proposal, shapes: tuple[Shape, ...]
    ) -> Accepted:
        digest = labels_digest(shapes, proposal.tags)
        taken = await self._desk.taken_version(job.name, item.asset)
        shown_by = await self._desk.suggestion(job.name, item.asset) if item.shown_alone else None
        unchanged = False

        async def build(head: Committed[LabelsSubmitted] | None) -> LabelsSubmitted:
            nonlocal unchanged
            # In a round of its own the same labels are news: they were sent back before.
            unchanged = head is not None and (
                _same(head, digest, proposal) and head.sequence > item.result.round_after
            )
            if unchanged:
                raise Unchanged(f"{item.asset} has these labels")
            self._check_not_overtaken(job, head, proposal, taken)
            message = self._message(job, item, proposal, shapes, digest, head)
            if shown_by is not None:
                message.shown_by.CopyFrom(shown_by)
                message.shown.extend(shape_message(shape) for shape in item.predicted or ())
            return message

        committed = await self._log.commit(
            catalog.LABELS_SUBMITTED, build, job=job.name, asset=item.asset
        )
        ref = committed.ref
        return Accepted(item.asset, ref.version, ref.digest, committed.sequence, unchanged)

    def _check_not_overtaken(
        self,
        job: OpenJob,
        head: Committed[LabelsSubmitted] | None,
        proposal: Proposal,
        taken: int,
    ) -> None:
        if head is None or head.message.labeler == proposal.labeler or proposal.by_reviewer:
            return
        if job.options.labelers_per_item == 1 and head.ref.version > taken:
            raise Overtaken(
                f"asset {proposal.asset}: {head.message.labeler} labeled it meanwhile",
                asset=proposal.asset,
            )

    def _message(
        self,
        job: OpenJob,
        item: JobItem,
        proposal: Proposal,
        shapes: tuple[Shape, ...],
        digest: str,
        head: Committed[LabelsSubmitted] | None,
    ) -> LabelsSubmitted:
        name, asset, labeler = job.name, proposal.asset, proposal.labeler
        follows = head.ref.version if head is not None else 0
        # The version it follows makes going back to earlier labels a run of its own.
        parameters = {"asset": asset, "labeler": labeler, "labels": digest, "follows": follows}
        opened = as_role(job.commit.ref, "job")
        run = self._provenance.run(RunKind.RUN_KIND_ANNOTATE, [opened], parameters, person(labeler))
        kind = ArtefactKind.ARTEFACT_KIND_LABELS
        said = ", ".join(sorted({shape.class_name for shape in shapes})) or "nothing to see"
        times = {shapes[at].id: spent for at, spent in proposal.shape_spent_s.items() if spent}
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
            tags=proposal.tags,
            shape_spent_s=times,
            by_reviewer=proposal.by_reviewer,
            ground_truth=item.truth is not None,
        )


def _same(head: Committed[LabelsSubmitted], digest: str, proposal: Proposal) -> bool:
    message = head.message
    return (
        head.ref.digest == digest
        and message.labeler == proposal.labeler
        and message.by_reviewer == proposal.by_reviewer
    )
