"""Labeling jobs in the commit log: opened, stopped, completed by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopline.contracts import (
    Actor,
    ArtefactKind,
    ArtefactRef,
    Commit,
    LabelingJobCommitted,
    OpenLabelingJob,
    Run,
    RunKind,
    catalog,
)
from loopline.errors import NotFound, Rejected
from loopline.names import validate_name
from loopline.store.commits import CommitLog, Committed, Unchanged
from services.annotate.adapters.board import LABELS_SEQUENCE
from services.annotate.adapters.messages import (
    Changes,
    options_of,
    specification_of,
    state_number,
    state_of,
    status_of,
)
from services.annotate.adapters.provenance import Provenance, as_role
from services.annotate.adapters.sources import JobSources, items_of
from services.annotate.domain.jobs import (
    Specification,
    State,
    check_changing,
    check_fills,
    check_items,
    check_options,
    check_reopening,
    check_room,
    check_same_dataset,
    check_specification,
    decide_opening,
    decide_starting,
    decide_stopping,
)

KEEP_LABELS = "keep_labels"
"""Parameter of a stopping run: whether the labels made so far go into the dataset."""

JobCommit = Committed[LabelingJobCommitted]


class Jobs:
    """The labeling jobs of one workspace."""

    def __init__(
        self, log: CommitLog, sources: JobSources, provenance: Provenance, items_max: int
    ) -> None:
        self._log = log
        self._sources = sources
        self._provenance = provenance
        self._items_max = items_max

    async def find(self, job: str) -> JobCommit | None:
        """Return the job's last commit, or None."""
        return await self._log.head(catalog.LABELING_JOB_COMMITTED, name=job)

    async def get(self, job: str) -> JobCommit:
        """Return the job's last commit.

        Raises:
            NotFound: There is no such job.
        """
        validate_name("labeling job", job)
        found = await self.find(job)
        if found is None:
            raise NotFound(f"there is no labeling job {job}", job=job)
        return found

    async def open(self, command: OpenLabelingJob) -> JobCommit:
        """Open a job, or return the one that the same command opened before.

        A command for a job that keeps filling adds the items that it does not have yet.

        Raises:
            Rejected: It could never be worked, or another job has its name.
        """
        asked = specification_of(command)
        check_specification(asked, self._items_max)
        existing = await self.find(asked.job)
        if existing is not None and existing.message.specification.keeps_filling:
            return await self._add(asked, command, existing)
        if not decide_opening(asked, status_of(existing.message) if existing else None):
            assert existing is not None  # else there would be something to open
            return existing
        resolved = await self._resolve(asked, command)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            if not decide_opening(asked, status_of(head.message) if head else None):
                raise Unchanged(f"labeling job {asked.job} is open")
            return _opening(asked, resolved, self._opening_run(resolved))

        return await self._commit(asked.job, build)

    async def start(self, job: str, actor: Actor) -> JobCommit:
        """Start a job that waits to be started; one that runs stays as it is.

        Raises:
            NotFound: There is no such job.
            Rejected: It is over.
        """
        await self.get(job)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            if not decide_starting(job, status_of(head.message)):
                raise Unchanged(f"labeling job {job} runs")
            run = self._edit(head, actor, {"state": State.IN_PROGRESS.value})
            return _changed(head, State.IN_PROGRESS, run, f"{job} started by {actor.name}")

        return await self._commit(job, build)

    async def change(self, job: str, actor: Actor, changes: Changes) -> JobCommit:
        """Ask other people, or by another date, or more urgently; the same again changes nothing.

        Raises:
            NotFound: There is no such job.
            Rejected: It is over, or could not be worked so.
        """
        await self.get(job)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            check_changing(job, status_of(head.message))
            asked = changes.applied(head.message.specification)
            if asked == head.message.specification:
                raise Unchanged(f"labeling job {job} is so")
            check_options(job, options_of(asked))
            told = changes.told(head.message.specification)
            run = self._edit(head, actor, {"changed": told})
            what = ", ".join(told)
            message = _changed(
                head, state_of(head.message.state), run, f"{job} changed by {actor.name}: {what}"
            )
            message.specification.CopyFrom(asked)
            return message

        return await self._commit(job, build)

    async def reopen(self, job: str, actor: Actor, assets: Sequence[str]) -> JobCommit:
        """Open a job again that is over; some or all of its items go back to the queue.

        Raises:
            NotFound: There is no such job.
            Rejected: It is not over.
        """
        await self.get(job)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            check_reopening(job, status_of(head.message), assets)
            told = {"state": State.IN_PROGRESS.value, "reopened": list(assets) or "all"}
            run = self._edit(head, actor, told)
            what = f"{len(assets)} items" if assets else "every item"
            summary = f"{job} reopened by {actor.name}: {what} to label again"
            message = _changed(head, State.IN_PROGRESS, run, summary)
            message.reopened = True
            message.reopened_assets.extend(assets)
            return message

        return await self._commit(job, build)

    async def move(self, job: str, state: State) -> JobCommit:
        """Say that a job that is worked is now in progress, or on review.

        One that is over or waits to be started stays as it is.
        """

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            now = state_of(head.message.state)
            if now is state or not now.accepts_labels:
                raise Unchanged(f"labeling job {job} is {now.text}")
            actor = head.message.specification.actor
            run = self._edit(head, actor, {"state": state.value}, RunKind.RUN_KIND_ANNOTATE)
            return _changed(head, state, run, f"{job} is {state.text}")

        return await self._commit(job, build)

    async def stop(self, job: str, actor: Actor, *, keep_labels: bool) -> JobCommit:
        """Stop a job; stopping it again changes nothing.

        Raises:
            NotFound: There is no such job.
            Rejected: It is completed.
        """
        await self.get(job)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            if not decide_stopping(job, status_of(head.message)):
                raise Unchanged(f"labeling job {job} is stopped")
            told = {"state": State.STOPPED.value, KEEP_LABELS: keep_labels}
            run = self._edit(head, actor, told)
            kept = "its labels so far are kept" if keep_labels else "its labels are left out"
            return _changed(head, State.STOPPED, run, f"{job} stopped by {actor.name}: {kept}")

        return await self._commit(job, build)

    async def settled(
        self, job: str, dataset: ArtefactRef, figures: Mapping[str, float], through: int
    ) -> JobCommit:
        """Say that the labels of a job are in the dataset; saying it again changes nothing.

        A job that keeps filling goes on; any other one is completed by it.

        Args:
            job: The job.
            dataset: The version that holds them.
            figures: What the run tells.
            through: The last commit of labels or reviews that is in it.
        """

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            if state_of(head.message.state) is State.STOPPED:
                raise Unchanged(f"labeling job {job} was stopped meanwhile")
            asked = head.message.specification
            state = State.IN_PROGRESS if asked.keeps_filling else State.COMPLETED
            inputs = [as_role(_opened(head), "job"), as_role(dataset, "labeled")]
            told = {"state": state.value}
            run = self._provenance.run(RunKind.RUN_KIND_ANNOTATE, inputs, told, asked.actor)
            run.figures.update({**figures, LABELS_SEQUENCE: float(through)})
            word = "settled" if asked.keeps_filling else "completed"
            summary = f"{job} {word}: {figures['items']:.0f} items labeled"
            if "agreement" in figures:
                summary += f", {figures['agreement']:.0%} as the model had predicted"
            return _changed(head, state, run, summary)

        return await self._commit(job, build)

    async def _add(
        self, asked: Specification, command: OpenLabelingJob, existing: JobCommit
    ) -> JobCommit:
        """Add the items of a command to a job that keeps filling."""
        check_same_dataset(asked, existing.message.specification.dataset.name)
        resolved = await self._sources.resolved(command)
        given = await self._sources.listed(asked.job, asked.items_digest)
        check_items(asked, given)
        await self._sources.check(resolved, given)
        run = self._opening_run(resolved)

        async def build(head: JobCommit | None) -> LabelingJobCommitted:
            assert head is not None  # jobs never go away
            check_fills(asked.job, state_of(head.message.state))
            await self._sources.ensure(asked.job)
            known = await self._sources.assets(asked.job)
            new = [asset for asset in given if asset not in known]
            total = items_of(head.message)
            check_room(asked.job, total + len(new), self._items_max)
            if not new:
                raise Unchanged(f"labeling job {asked.job} has these items")
            addition = OpenLabelingJob()
            addition.CopyFrom(resolved)
            addition.items_digest = await self._sources.keep_list(new)
            addition.items_count = len(new)
            now = state_of(head.message.state)
            state = now if now is State.PENDING else State.IN_PROGRESS
            message = _changed(head, state, run, f"{asked.job}: {len(new)} items more to label")
            message.addition.CopyFrom(addition)
            message.items_total = total + len(new)
            return message

        return await self._commit(asked.job, build)

    def _edit(
        self,
        head: JobCommit,
        actor: Actor,
        parameters: Mapping[str, object],
        kind: RunKind = RunKind.RUN_KIND_EDIT,
    ) -> Run:
        # The same change later is another run: a job that was sent back comes to review again, its
        # digest then what it was before, and version numbers of inputs are no part of a run's id.
        parameters = {**parameters, "follows": head.ref.version}
        return self._provenance.run(kind, [as_role(head.ref, "job")], parameters, actor)

    async def _commit(self, job: str, build: object) -> JobCommit:
        return await self._log.commit(
            catalog.LABELING_JOB_COMMITTED,
            build,  # type: ignore[arg-type]  # each of the builders above
            name=job,
        )

    async def _resolve(self, asked: Specification, command: OpenLabelingJob) -> OpenLabelingJob:
        """Return the command with the versions and classes that it meant, its items fetched."""
        resolved = await self._sources.resolved(command)
        if not resolved.classes:
            raise Rejected(
                f"job {asked.job}: neither it nor dataset {asked.dataset} has any class",
                job=asked.job,
            )
        assets = await self._sources.listed(asked.job, resolved.items_digest)
        check_items(asked, assets)
        await self._sources.check(resolved, assets)
        return resolved

    def _opening_run(self, resolved: OpenLabelingJob) -> Run:
        inputs = [as_role(resolved.dataset, "items")]
        if resolved.HasField("predictions"):
            inputs.append(as_role(resolved.predictions, "predictions"))
        if resolved.HasField("flow"):
            inputs.append(as_role(resolved.flow, "flow"))
        parameters = {"job": resolved.job, "items_digest": resolved.items_digest}
        run = self._provenance.run(RunKind.RUN_KIND_ANNOTATE, inputs, parameters, resolved.actor)
        run.figures["items"] = resolved.items_count
        return run


def _opening(asked: Specification, resolved: OpenLabelingJob, run: Run) -> LabelingJobCommitted:
    kind = ArtefactKind.ARTEFACT_KIND_LABELING_JOB
    artefact = ArtefactRef(kind=kind, name=asked.job, digest=asked.digest)
    summary = f"{asked.job} opened: {asked.items_count} items of {asked.dataset} to label"
    return LabelingJobCommitted(
        commit=Commit(artefact=artefact, run=run, summary=summary),
        state=state_number(State.PENDING if resolved.pending else State.IN_PROGRESS),
        specification=resolved,
    )


def _changed(head: JobCommit, state: State, run: Run, summary: str) -> LabelingJobCommitted:
    artefact = ArtefactRef(kind=head.ref.kind, name=head.ref.name, digest=head.ref.digest)
    return LabelingJobCommitted(
        commit=Commit(artefact=artefact, run=run, summary=summary),
        state=state_number(state),
        specification=head.message.specification,
        items_total=head.message.items_total,
    )


def _opened(head: JobCommit) -> ArtefactRef:
    """Return the job's first version: the same input however often it is completed."""
    return ArtefactRef(kind=head.ref.kind, name=head.ref.name, version=1, digest=head.ref.digest)


def inputs_of(specification: OpenLabelingJob, job: JobCommit) -> Sequence[ArtefactRef]:
    """Return what the labels of a job were made from."""
    inputs = [as_role(specification.dataset, "items"), as_role(_opened(job), "job")]
    if specification.HasField("predictions"):
        inputs.append(as_role(specification.predictions, "predictions"))
    return inputs
