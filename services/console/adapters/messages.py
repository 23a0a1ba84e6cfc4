"""Between the contracts' messages and what the page is told: protobuf stops here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from loopline.contracts import Actor, Agent, AgentReported, ArtefactRef, Run, RunChanged
from loopline.lineage.details import iso, run_details, run_kind_of
from loopline.lineage.fragments import kind_of
from loopline.lineage.model import artefact_id
from loopline.store.commits import Committed
from services.console.bodies.base import PersonOut, RefOut, WorkerOut
from services.console.bodies.runs import (
    AgentOut,
    AgentRunOut,
    DeviceOut,
    PointOut,
    RunOut,
    RunState,
    TrainingOut,
)
from services.console.domain.workflow import Report, card_id

STATES: tuple[RunState, ...] = ("queued", "queued", "running", "completed", "failed", "cancelled")
"""By number; what says nothing of its state waits."""
UNDER_WAY = ("queued", "running")
RERUN_KINDS = ("import", "train", "predict", "evaluate")


def state_of(changed: RunChanged) -> RunState:
    """Return a run's state as the page spells it."""
    return STATES[changed.state] if changed.state < len(STATES) else "running"


def report_of(changed: RunChanged, mentions: tuple[str, ...] = ()) -> Report:
    """Return what a card shows of a run's report."""
    return Report(
        run=changed.run_id,
        kind=run_kind_of(changed.kind),
        state=state_of(changed),
        title=changed.title,
        at=iso(changed.at),
        done=changed.done,
        total=changed.total,
        mentions=mentions,
    )


def ref_out(ref: ArtefactRef) -> RefOut:
    """Return a reference as the API says it."""
    kind = kind_of(ref.kind)
    label = f"{ref.name} v{ref.version}" if ref.version else ref.name
    node = card_id(artefact_id(kind, ref.name, ref.version, ref.digest))
    return RefOut(
        kind=kind, name=ref.name, version=ref.version, digest=ref.digest, node=node, label=label
    )


def person_out(actor: Actor) -> PersonOut | None:
    """Return who asked; None if nobody is named."""
    return PersonOut(kind=actor.kind, name=actor.name) if actor.name else None


def worker_out(agent: Agent) -> WorkerOut | None:
    """Return which worker; None if none is named."""
    if not agent.id and not agent.host:
        return None
    return WorkerOut(id=agent.id, host=agent.host, service=agent.service)


def seconds_between(start: str, end: str) -> float | None:
    """Return the seconds between two moments (ISO 8601); None if one is not known."""
    if not start or not end:
        return None
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return round(max(0.0, span.total_seconds()), 3)


def live_run_out(changed: RunChanged, began_at: str, now: str) -> RunOut:
    """Return a run as its last report tells it."""
    state = state_of(changed)
    under_way = state in UNDER_WAY
    at = iso(changed.at)
    return RunOut(
        id=changed.run_id,
        node=f"run:{changed.run_id}",
        kind=run_kind_of(changed.kind),
        state=state,
        title=changed.title,
        done=changed.done,
        total=changed.total,
        unit=changed.unit,
        progress=min(1.0, changed.done / changed.total) if changed.total else None,
        figures=dict(changed.figures),
        training=_training_out(changed),
        message=changed.message,
        worker=worker_out(changed.agent),
        actor=None,
        started_at=began_at,
        finished_at="" if under_way else at,
        duration_s=seconds_between(began_at, now if under_way else at),
        at=at,
        command_id=changed.command_id,
        artefact=ref_out(changed.artefact) if changed.HasField("artefact") else None,
        inputs=[],
        parameters={},
        environment={},
        trace_id="",
        trace_url="",
        log_url="",
        can_cancel=under_way,
        can_rerun=not under_way and run_kind_of(changed.kind) in RERUN_KINDS,
        can_reproduce=False,
    )


def committed_run_out(committed: Committed[Any], last: RunChanged | None) -> RunOut:
    """Return a run as its commit tells it; what only its last report says is added."""
    run: Run = committed.commit.run
    details = run_details(run)
    kind = details["kind"]
    started_at, finished_at = details["started_at"], details["finished_at"]
    committed_at = iso(committed.commit.committed_at)
    return RunOut(
        id=run.id,
        node=f"run:{run.id}",
        kind=kind,
        state="completed",
        title=(last.title if last else "") or committed.commit.summary,
        done=last.done if last else 0,
        total=last.total if last else 0,
        unit=last.unit if last else "",
        progress=None,
        figures=dict(run.figures) or (dict(last.figures) if last else {}),
        training=_training_out(last) if last else None,
        message=committed.commit.summary,
        worker=worker_out(run.agent),
        actor=person_out(run.actor),
        started_at=started_at,
        finished_at=finished_at or committed_at,
        duration_s=seconds_between(started_at, finished_at or committed_at),
        at=committed_at,
        command_id=last.command_id if last else "",
        artefact=ref_out(committed.ref),
        inputs=[ref_out(ref) for ref in run.inputs],
        parameters=details["parameters"],
        environment=details["environment"],
        trace_id=run.trace_id,
        trace_url="",
        log_url="",
        can_cancel=False,
        can_rerun=kind in RERUN_KINDS,
        can_reproduce=kind == "train",
    )


def point_out(changed: RunChanged) -> PointOut:
    """Return one report of a run as a point of its curves."""
    training = changed.training
    figures = dict(changed.figures)
    if changed.HasField("training"):
        figures |= {"loss": training.loss, "images_per_s": training.images_per_s}
        figures |= {"learning_rate": training.learning_rate, "eta_s": training.eta_s}
        figures |= dict(training.metrics)
    return PointOut(
        at=iso(changed.at),
        done=changed.done,
        total=changed.total,
        step=training.step or int(changed.figures.get("step", 0)),
        epoch=training.epoch or (changed.done if changed.unit == "epochs" else 0),
        figures=figures,
    )


def agent_out(reported: AgentReported, now: datetime, gone_after_s: float) -> AgentOut:
    """Return an agent as the API says it."""
    silent_s = now.timestamp() - reported.at.ToMilliseconds() / 1000
    is_gone = reported.leaving or silent_s > gone_after_s
    return AgentOut(
        id=reported.agent.id,
        kind=reported.kind,
        host=reported.agent.host,
        state="gone" if is_gone else "present",
        labels=dict(reported.labels),
        pools=list(reported.pools),
        devices=[
            DeviceOut(kind=d.kind, name=d.name, memory_bytes=d.memory_bytes, cores=d.cores)
            for d in reported.devices
        ],
        capacity=reported.capacity,
        running=[
            AgentRunOut(
                run=one.run_id, kind=run_kind_of(one.kind), title=one.title, since=iso(one.since)
            )
            for one in reported.running
        ],
        load=dict(reported.load),
        version=reported.version,
        started_at=iso(reported.started_at),
        at=iso(reported.at),
    )


def _training_out(changed: RunChanged) -> TrainingOut | None:
    if not changed.HasField("training"):
        return None
    told = changed.training
    return TrainingOut(
        epoch=told.epoch,
        epochs=told.epochs,
        step=told.step,
        steps=told.steps,
        loss=told.loss,
        learning_rate=told.learning_rate,
        images_per_s=told.images_per_s,
        eta_s=told.eta_s,
        metrics=dict(told.metrics),
    )
