"""Adding recorded requests to datasets, within their rules' limits.

What a rule added is read from the dataset's own history as the commit is built, so the limits hold
across processes and restarts, and an event that comes again finds its own commit.
"""

from __future__ import annotations

from datetime import UTC
from typing import Final

import structlog

from loopline.contracts import (
    Actor,
    ArtefactRef,
    DatasetCommitted,
    RequestsSampled,
    Run,
    RunKind,
    SampledImage,
    catalog,
)
from loopline.flows import Flow, SampleRule
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, Unchanged
from loopline.store.datasets import Change, Datasets
from loopline.store.items import Item, Prediction, Shape
from services.router.adapters.planning import in_role
from services.router.domain.sampling import DAY, Added, room, wanted

FIGURE: Final = "sampled:"
"""Prefix of the figure of a run that says how many images a rule added: "sampled:<flow>/<rule>"."""

log = structlog.get_logger(__name__)


class Samples:
    """Applies sample rules.

    Args:
        service: Its log, its objects, its identity.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._log = service.log
        self._datasets = Datasets(service.log, service.objects)

    async def add(
        self,
        rule: SampleRule,
        ref: ArtefactRef,
        flow: Flow,
        event: RequestsSampled,
        event_id: str,
    ) -> Committed[DatasetCommitted] | None:
        """Add the images of an event that a rule wants; None where it wants none of them."""
        rows = [_prediction(image) for image in event.images]
        model = {
            "name": event.model.name,
            "version": event.model.version,
            "digest": event.model.digest,
            "recipe": "",
            "task": event.task,
            "classes": list(event.classes),
        }
        assets = wanted(rule, model, rows, list(event.classes), flow.threshold)
        if not assets:
            return None
        run = self._run(rule, ref, event, event_id)
        images = {image.asset: image for image in event.images}

        async def decide(head: Committed[DatasetCommitted] | None) -> Change:
            known = await (await self._datasets.tree(head)).get(assets) if head else {}
            allowed = room(rule, await self._added(rule, ref), self._service.clock.now())
            taken = [asset for asset in assets if asset not in known][:allowed]
            if not taken:
                raise Unchanged("nothing new, or as many as the rule may add")
            run.figures[f"{FIGURE}{ref.name}/{rule.name}"] = len(taken)
            items = [_item(images[asset], rule, event) for asset in taken]
            return Change(run, f"{len(taken)} requests to {event.model.name}", items)

        try:
            return await self._datasets.commit_decided(rule.dataset, decide)
        except Unchanged as nothing:  # there is no dataset yet to be left as it is
            log.info("nothing_sampled", rule=rule.name, reason=str(nothing))
            return None

    async def _added(self, rule: SampleRule, ref: ArtefactRef) -> list[Added]:
        figure = f"{FIGURE}{ref.name}/{rule.name}"
        since = self._service.clock.now() - DAY
        found: list[Added] = []
        history = await self._log.history(catalog.DATASET_COMMITTED, name=rule.dataset)
        for committed in reversed(history):
            at = committed.commit.committed_at.ToDatetime(UTC)
            if at < since:
                break
            if figure in committed.commit.run.figures:
                found.append(Added(at, int(committed.commit.run.figures[figure])))
        return found

    def _run(
        self, rule: SampleRule, ref: ArtefactRef, event: RequestsSampled, event_id: str
    ) -> Run:
        return runs.new_run(
            RunKind.RUN_KIND_IMPORT,
            inputs=[in_role(event.model, "model"), in_role(ref, "flow")],
            parameters={"rule": rule.name, "event": event_id},
            actor=Actor(kind="flow", name=ref.name),
            agent=self._service.agent,
            environment=self._service.environment,
            clock=self._service.clock,
        )


def _item(image: SampledImage, rule: SampleRule, event: RequestsSampled) -> Item:
    return Item(
        asset=image.asset,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        width_px=image.width_px,
        height_px=image.height_px,
        tags=(rule.tag,),
        source=f"request:{event.model.name}@v{event.model.version}",
    )


def _prediction(image: SampledImage) -> Prediction:
    shapes = [
        Shape(
            id=shape.id,
            class_name=shape.class_name,
            bbox_xyxy=(
                shape.bbox_xyxy.x_min,
                shape.bbox_xyxy.y_min,
                shape.bbox_xyxy.x_max,
                shape.bbox_xyxy.y_max,
            )
            if shape.HasField("bbox_xyxy")
            else None,
            mask_rle=shape.mask.rle if shape.HasField("mask") else None,
            confidence=shape.confidence,
        )
        for shape in image.shapes
    ]
    return Prediction(image.asset, tuple(shapes), tuple(image.scores))
