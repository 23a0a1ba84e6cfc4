"""What people are told while a job is worked: one run, from its first item to its last."""

from __future__ import annotations

from loopline.contracts import LabelingJobCommitted, RunChanged, RunKind, RunState
from services.annotate.adapters.messages import state_of
from services.annotate.adapters.reader import Job
from services.annotate.domain.jobs import State

REPORTS_PER_JOB = 100
_STATES = {
    State.IN_PROGRESS: RunState.RUN_STATE_RUNNING,
    State.COMPLETED: RunState.RUN_STATE_COMPLETED,
    State.STOPPED: RunState.RUN_STATE_CANCELLED,
}


def job_changed(run_id: str, event: LabelingJobCommitted) -> RunChanged:
    """Return the report of a job's commit.

    Args:
        run_id: The run that opened the job.
        event: What was committed.
    """
    state = state_of(event.state)
    report = _report(run_id, event.specification.job, event.specification.items_count)
    report.state = _STATES.get(state, RunState.RUN_STATE_RUNNING)
    report.message = event.commit.summary
    if state is State.COMPLETED:
        report.done = report.total
        labeled = (ref for ref in event.commit.run.inputs if ref.role == "labeled")
        report.artefact.CopyFrom(next(labeled))
        report.figures.update(event.commit.run.figures)
    return report


def labels_submitted(job: Job) -> RunChanged | None:
    """Return the report of a job's progress; None where one more item is not worth one."""
    total = job.counts.items
    if not job.state.accepts_labels or job.submitted % -(-total // REPORTS_PER_JOB):
        return None
    report = _report(job.run_id, job.name, total)
    report.state = RunState.RUN_STATE_RUNNING
    report.done = job.submitted
    return report


def _report(run_id: str, job: str, total: int) -> RunChanged:
    kind = RunKind.RUN_KIND_ANNOTATE
    return RunChanged(
        run_id=run_id, kind=kind, title=f"labeling job {job}", total=total, unit="items"
    )
