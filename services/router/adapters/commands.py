"""The commands that flows give, with ids that say what they follow from.

Id: flow, rule and the commit that fired it; so whoever sends it a second time sends the same
message.
"""

from __future__ import annotations

from loopline.contracts import (
    Actor,
    AliasMoved,
    ApplyModel,
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    OpenLabelingJob,
    PredictionsCommitted,
    RunChanged,
    RunKind,
    RunState,
    TrainModel,
)
from loopline.digests import digest_of
from loopline.flows import ApplyRule, Relabel, TrainRule
from services.router.domain.plan import RoutingPlan, Version
from services.router.domain.reports import Job

CLASSIFICATION = "classification"


def command_id(flow: ArtefactRef, rule: str, cause: ArtefactRef) -> str:
    """Return the id of what `rule` asks for because of `cause`.

    The version is part of it: an alias that points to a version again is another move.
    """
    return f"{flow.digest}/{rule}/{cause.digest}@{cause.version}"


def train_model(rule: TrainRule, flow: ArtefactRef, dataset: DatasetCommitted) -> TrainModel:
    """Return the command of a train rule that fired."""
    command = TrainModel(
        model=rule.model,
        recipe=rule.recipe,
        dataset=dataset.commit.artefact,
        flow=flow,
        actor=_actor(flow.name),
    )
    command.parameters.update(rule.parameters)
    return command


def apply_model(
    rule: ApplyRule,
    flow: ArtefactRef,
    moved: AliasMoved,
    dataset: ArtefactRef,
    since: ArtefactRef | None = None,
) -> ApplyModel:
    """Return the command of an apply rule whose alias moved, or whose dataset got new items.

    Args:
        rule: The rule.
        flow: Its flow.
        moved: Where the alias points.
        dataset: The version to apply the model to.
        since: Only to what this version of the dataset had not.
    """
    return ApplyModel(
        model=moved.target,
        dataset=dataset,
        where=rule.where,
        flow=flow,
        actor=_actor(flow.name),
        since=since,
    )


def open_labeling_job(
    plan: RoutingPlan,
    relabel: Relabel,
    job: Job,
    items_digest: str,
    predictions: PredictionsCommitted,
    classes: list[str],
    threshold: float,
) -> OpenLabelingJob:
    """Return the command that opens a job of a routing run.

    Labelers see the shapes that the flow counts as found: those at least as sure as `threshold`.
    """
    return OpenLabelingJob(
        job=job.name,
        dataset=predictions.dataset,
        items_digest=items_digest,
        items_count=len(job.selected.assets),
        predictions=predictions.commit.artefact,
        predictions_tree=predictions.tree,
        instructions=relabel.instructions,
        classes=classes,
        webhook_url=relabel.webhook_url,
        keeps_filling=relabel.keeps_filling,
        review=relabel.review,
        labelers_per_item=relabel.labelers_per_item,
        confidence_min=0.0 if plan.task == CLASSIFICATION else threshold,
        flow=flow_ref(plan.flow),
        actor=_actor(plan.flow.name),
    )


def rule_failed(
    rule: TrainRule, flow: ArtefactRef, dataset: ArtefactRef, reason: str
) -> RunChanged:
    """Return what people are told of a train rule that could not be evaluated."""
    return RunChanged(
        run_id=digest_of(command_id(flow, rule.name, dataset)),
        kind=RunKind.RUN_KIND_TRAIN,
        state=RunState.RUN_STATE_FAILED,
        title=f"{flow.name}: rule {rule.name!r} on {dataset.name}@v{dataset.version}",
        message=reason,
    )


def routing_changed(
    plan: RoutingPlan, state: RunState, *, done: int = 0, message: str = ""
) -> RunChanged:
    """Return a report of a routing run's progress."""
    return RunChanged(
        run_id=plan.run_id,
        kind=RunKind.RUN_KIND_ROUTE,
        state=state,
        title=f"{plan.flow.name}: results of {plan.model} on {plan.dataset}",
        done=done,
        total=plan.selected,
        unit="predictions",
        message=message,
    )


def flow_ref(version: Version) -> ArtefactRef:
    """Return a flow's version as events name it."""
    return ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_FLOW,
        name=version.name,
        version=version.version,
        digest=version.digest,
    )


def _actor(flow: str) -> Actor:
    return Actor(kind="flow", name=flow)
