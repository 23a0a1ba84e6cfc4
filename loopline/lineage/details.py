"""What a commit tells of a version or a run beside its place in the graph: figures and details."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from loopline.contracts import (
    Agent,
    AliasMoved,
    DatasetCommitted,
    DeliveryCommitted,
    Evaluation,
    EvaluationCommitted,
    FlowCommitted,
    ItemReviewed,
    JobState,
    LabelingJobCommitted,
    LabelsSubmitted,
    ModelCommitted,
    PredictionsCommitted,
    ReproductionCommitted,
    Run,
    RunKind,
    Verdict,
)
from loopline.lineage.model import artefact_id

_RUN_KINDS = {v: k.removeprefix("RUN_KIND_").lower() for k, v in RunKind.items()}
Told = tuple[dict[str, float], dict[str, Any]]
"""Figures, and details as JSON values."""


def told(message: Message) -> Told:
    """Return the figures and the details that a message has of its version."""
    teller = _TELLERS.get(type(message))
    return teller(message) if teller is not None else ({}, {})


def run_kind_of(kind: int) -> str:
    """Return a kind of run as the graph spells it: "import", "train"."""
    return _RUN_KINDS.get(kind, f"kind_{kind}")


def iso(timestamp: Timestamp) -> str:
    """Return a timestamp as ISO 8601 in UTC, "" if it was never set."""
    if not timestamp.seconds and not timestamp.nanos:
        return ""
    moment = datetime.fromtimestamp(timestamp.seconds, UTC)
    return moment.replace(microsecond=timestamp.nanos // 1000).isoformat()


def _agent(agent: Agent) -> dict[str, str]:
    return {"id": agent.id, "host": agent.host, "service": agent.service}


def run_details(run: Run) -> dict[str, Any]:
    """Return a run's record as JSON values, without inputs and outputs: these are edges."""
    shared = {"members": [_agent(member) for member in run.members]} if run.members else {}
    return shared | {
        "id": run.id,
        "kind": run_kind_of(run.kind),
        "parameters": plain_struct(run.parameters),
        "actor": {"kind": run.actor.kind, "name": run.actor.name},
        "agent": _agent(run.agent),
        "environment": {
            "loopline": run.environment.loopline,
            "code_digest": run.environment.code_digest,
            "packages_digest": run.environment.packages_digest,
            "python": run.environment.python,
            "platform": run.environment.platform,
            "device": run.environment.device,
        },
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "trace_id": run.trace_id,
    }


def plain_struct(struct: Struct) -> dict[str, Any]:
    """Return a Struct as JSON values; whole numbers as integers."""
    return {key: _plain_value(value) for key, value in struct.fields.items()}


def _plain_value(value: Any) -> Any:  # a protobuf Value: JSON
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain_struct(value.struct_value)
    if kind == "list_value":
        return [_plain_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in (None, "null_value") else getattr(value, kind)


def _told_of_dataset(message: DatasetCommitted) -> Told:
    details = {
        "tree": message.tree.root_object,
        "classes": list(message.classes),
        "tags": dict(message.tags),
        "changes": dict(message.changes),
        "test_split_digest": message.test_split_digest,
    }
    return dict(message.statistics), details


def _told_of_model(message: ModelCommitted) -> Told:
    figures = _metrics(message.evaluations)
    files = [
        {"name": f.name, "digest": f.digest, "size_bytes": f.size_bytes} for f in message.files
    ]
    details = {
        "task": message.task,
        "recipe": message.recipe,
        "classes": list(message.classes),
        "files": files,
    }
    return figures, details


def _told_of_evaluation(message: EvaluationCommitted) -> Told:
    details = {
        "task": message.task,
        "model": artefact_id("model", message.model.name, message.model.version),
        "dataset": artefact_id("dataset", message.dataset.name, message.dataset.version),
        "split": message.evaluation.split,
        "report": message.evaluation.report_digest,
        "page": message.evaluation.page_digest,
    }
    return {"count": message.evaluation.count, **message.evaluation.metrics}, details


def _told_of_reproduction(message: ReproductionCommitted) -> Told:
    details = {
        "model": artefact_id("model", message.model.name, message.model.version),
        "identical": message.is_identical,
        "causes": [f"{d.what}: {d.was} -> {d.now}" for d in message.causes],
        "effects": [f"{d.what}: {d.was} -> {d.now}" for d in message.effects],
    }
    return dict(message.metrics), details


def _metrics(evaluations: Iterable[Evaluation]) -> dict[str, float]:
    """Return the metrics of all splits; with the split's name before them if there are several."""
    splits = list(evaluations)
    prefixes = ["" if len(splits) == 1 else f"{e.split}:" for e in splits]
    return {
        f"{prefix}{name}": value
        for prefix, evaluation in zip(prefixes, splits, strict=True)
        for name, value in evaluation.metrics.items()
    }


def _told_of_alias(message: AliasMoved) -> Told:
    target = message.target
    return {}, {
        "model": message.model,
        "alias": message.alias,
        "target": artefact_id("model", target.name, target.version),
        "reason": message.reason,
    }


def _told_of_predictions(message: PredictionsCommitted) -> Told:
    figures: dict[str, float] = {
        "predictions": message.tree.count,
        "selected": message.selected,
        "inferred": message.inferred,
    }
    return figures, {"tree": message.tree.root_object}


def _told_of_job(message: LabelingJobCommitted) -> Told:
    state = JobState.Name(message.state).removeprefix("JOB_STATE_").lower()
    return {"items": message.specification.items_count}, {"state": state}


def _told_of_labels(message: LabelsSubmitted) -> Told:
    details = {"job": message.job, "asset": message.asset, "labeler": message.labeler}
    return {"shapes": len(message.shapes), "spent_s": message.spent_s}, details


def _told_of_review(message: ItemReviewed) -> Told:
    verdict = Verdict.Name(message.verdict).removeprefix("VERDICT_").lower()
    details = {"job": message.job, "asset": message.asset, "reviewer": message.reviewer}
    return {"spent_s": message.spent_s}, {**details, "verdict": verdict, "comment": message.comment}


def _told_of_delivery(message: DeliveryCommitted) -> Told:
    figures: dict[str, float] = {
        "delivered": message.delivered,
        "relabeled": message.relabeled,
        "unrouted": message.unrouted,
        "objects": message.tree.count,
    }
    return figures, {"tree": message.tree.root_object}


def _told_of_flow(message: FlowCommitted) -> Told:
    return {}, {"document": message.document}


_TELLERS: dict[type[Message], Callable[[Any], Told]] = {
    DatasetCommitted: _told_of_dataset,
    ModelCommitted: _told_of_model,
    EvaluationCommitted: _told_of_evaluation,
    ReproductionCommitted: _told_of_reproduction,
    AliasMoved: _told_of_alias,
    PredictionsCommitted: _told_of_predictions,
    LabelingJobCommitted: _told_of_job,
    LabelsSubmitted: _told_of_labels,
    ItemReviewed: _told_of_review,
    DeliveryCommitted: _told_of_delivery,
    FlowCommitted: _told_of_flow,
}
