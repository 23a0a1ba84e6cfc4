"""Provenance of an import in the contracts' words: its inputs, its run, its progress."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from loopline import tracing
from loopline.clock import Clock
from loopline.contracts import (
    Actor,
    Agent,
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    Environment,
    Run,
    RunChanged,
    RunKind,
    RunState,
)
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from services.ingest.domain.plan import Plan, source_uri
from services.ingest.domain.request import Request

IMPORT = RunKind.RUN_KIND_IMPORT


def inputs(request: Request, listing_digest: str, labels_digest: str) -> list[ArtefactRef]:
    """Return what an import reads: the listed images, and the labels if there are any."""
    named = [("images", request.prefix, listing_digest)]
    if request.labels_key:
        named.append(("labels", request.labels_key, labels_digest))
    return [
        ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_SOURCE,
            name=source_uri(request.connection, request.bucket, key),
            digest=digest,
            role=role,
        )
        for role, key, digest in named
    ]


def finished_run(
    plan: Plan,
    counts: Mapping[str, int],
    report_digest: str,
    *,
    environment: Environment,
    agent: Agent,
    clock: Clock,
) -> Run:
    """Return the run of an import that is ready to commit."""
    request = plan.request
    run = runs.new_run(
        IMPORT,
        inputs=inputs(request, plan.listing_digest, plan.labels_digest),
        parameters=request.parameters,
        actor=Actor(kind=request.actor[0], name=request.actor[1]),
        agent=agent,
        environment=environment,
        clock=clock,
        trace_id=tracing.current_trace_id(),
    )
    run.id = plan.run_id  # it was planned by the code that was here then
    run.started_at.FromDatetime(datetime.fromisoformat(plan.began_at))
    run.finished_at.CopyFrom(timestamp(clock))
    run.figures.update({name: float(count) for name, count in counts.items()})
    run.outputs.append(
        ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_REPORT,
            name=f"{request.dataset}/drops",
            digest=report_digest,
            role="drop_report",
        )
    )
    return run


def running(plan: Plan, done: int) -> RunChanged:
    """Return word of an import's progress."""
    return RunChanged(
        run_id=plan.run_id,
        kind=IMPORT,
        state=RunState.RUN_STATE_RUNNING,
        title=f"{plan.request.dataset} from {plan.uri}",
        done=done,
        total=plan.objects,
        unit="images",
    )


def completed(committed: Committed[DatasetCommitted]) -> RunChanged:
    """Return word that an import is committed."""
    run = committed.commit.run
    listed = int(run.figures["listed"])
    return RunChanged(
        run_id=run.id,
        kind=IMPORT,
        state=RunState.RUN_STATE_COMPLETED,
        title=committed.commit.summary,
        done=listed,
        total=listed,
        unit="images",
        figures=run.figures,
        artefact=committed.ref,
    )


def failed(run_id: str, title: str, reason: str) -> RunChanged:
    """Return word that an import is given up."""
    return RunChanged(
        run_id=run_id,
        kind=IMPORT,
        state=RunState.RUN_STATE_FAILED,
        title=title,
        unit="images",
        message=reason,
    )


def augmenting(run: Run, title: str, done: int, total: int) -> RunChanged:
    """Return word of an augmentation's progress."""
    return RunChanged(
        run_id=run.id,
        kind=run.kind,
        state=RunState.RUN_STATE_RUNNING,
        title=title,
        done=done,
        total=total,
        unit="images",
    )


def augmented(committed: Committed[DatasetCommitted]) -> RunChanged:
    """Return word that an augmentation is committed."""
    run = committed.commit.run
    copies = int(run.figures["copies"])
    return RunChanged(
        run_id=run.id,
        kind=run.kind,
        state=RunState.RUN_STATE_COMPLETED,
        title=committed.commit.summary,
        done=copies,
        total=copies,
        unit="images",
        figures=run.figures,
        artefact=committed.ref,
    )
