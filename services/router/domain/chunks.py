"""Routing a chunk: what becomes of each of its assets, and the bytes of what is delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loopline.digests import sha256_hex
from loopline.flows import Flow, observations
from loopline.flows.contexts import Context, Value
from loopline.store.items import Item, Prediction
from services.router.domain import documents
from services.router.domain.plan import RoutingPlan, Version
from services.router.domain.results import Routed
from services.router.domain.routing import Outcome, route


@dataclass(frozen=True, slots=True)
class Document:
    """An object to write into the customer's bucket."""

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RoutedChunk:
    """What became of a chunk.

    Args:
        routed: One entry per asset, in the chunk's order.
        documents: What is delivered.
    """

    routed: tuple[Routed, ...]
    documents: tuple[Document, ...]


def route_chunk(
    plan: RoutingPlan,
    assets: Sequence[str],
    items: Mapping[str, Item],
    predictions: Mapping[str, Prediction],
) -> RoutedChunk:
    """Decide on every asset of a chunk. Equal arguments give equal bytes.

    Args:
        plan: The run.
        assets: The chunk.
        items: The dataset's rows of these assets.
        predictions: The model's rows of these assets.
    """
    flow = Flow.parse(plan.document)
    routed: list[Routed] = []
    written: list[Document] = []
    for asset in assets:
        item, prediction = items.get(asset), predictions.get(asset)
        if item is None or prediction is None:
            missing = "item in the dataset" if item is None else "prediction"
            routed.append(Routed(asset, Outcome.UNROUTED, reason=f"there is no {missing}"))
            continue
        one, document = _route_item(plan, flow, item, prediction)
        routed.append(one)
        if document:
            written.append(document)
    return RoutedChunk(tuple(routed), tuple(written))


def _route_item(
    plan: RoutingPlan, flow: Flow, item: Item, prediction: Prediction
) -> tuple[Routed, Document | None]:
    context = route_context(plan, item, prediction, flow.threshold)
    decided = route(flow.route, context)
    confidence = float(context["prediction"]["confidence"])
    one = Routed(item.asset, decided.outcome, decided.rule, confidence, decided.reason)
    if decided.outcome is not Outcome.DELIVERED or flow.destination is None:
        return one, None
    data = documents.delivered_object(plan, item, prediction, flow.threshold)
    key = documents.object_key(flow.destination.prefix, item.asset)
    delivered = Routed(
        item.asset,
        Outcome.DELIVERED,
        decided.rule,
        confidence,
        key=key,
        digest=sha256_hex(data),
        size_bytes=len(data),
    )
    return delivered, Document(key, data)


def route_context(
    plan: RoutingPlan, item: Item, prediction: Prediction, threshold: float
) -> Context:
    """Return what route rules see of a prediction."""
    model = {"recipe": plan.recipe, "task": plan.task, "classes": list(plan.classes)}
    return {
        "prediction": observations.prediction(prediction, plan.classes, threshold),
        "item": observations.item(item),
        "model": {**_version(plan.model), **model},
        "dataset": _version(plan.dataset),
    }


def _version(version: Version) -> dict[str, Value]:
    return {"name": version.name, "version": version.version, "digest": version.digest}
