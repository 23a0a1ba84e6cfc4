"""What the flows declare of serving: the head of each flow, all together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from loopline.contracts import FlowCommitted
from loopline.errors import Rejected
from loopline.store.commits import Committed
from services.inference.domain.serving import (
    Declared,
    PipelineTerms,
    ServeTerms,
    Step,
    together,
)

_MS: Final = 1e-3
log = structlog.get_logger()


class Declarations:
    """Knows the newest version of every flow."""

    def __init__(self) -> None:
        self._flows: dict[str, tuple[int, Declared]] = {}
        self._all = Declared()
        self.changed: Callable[[], None] = lambda: None
        """Called after each change."""

    async def follow(self, committed: Committed[FlowCommitted]) -> None:
        """Take a flow's version; one that is older than what is known is ignored."""
        name = committed.ref.name
        if self._is_known(committed):
            return
        try:
            # In a thread: what it imports takes 0.3 s at first, and heartbeats must go on.
            declared = await asyncio.to_thread(declared_by, committed)
        except Rejected as error:  # put by a newer program, perhaps
            log.warning("flow_not_read", flow=name, reason=error.message)
            return
        if self._is_known(committed):  # a newer one came meanwhile
            return
        self._flows[name] = (committed.sequence, declared)
        self._all = together([self._flows[flow][1] for flow in sorted(self._flows)])
        self.changed()

    def terms(self, model: str) -> ServeTerms:
        """Return how a model is to be served."""
        return self._all.serve.get(model) or ServeTerms()

    def pipeline(self, name: str) -> PipelineTerms | None:
        """Return the pipeline of a name."""
        return self._all.pipelines.get(name)

    def pipelines(self) -> list[PipelineTerms]:
        """Return all pipelines, by name."""
        return [self._all.pipelines[name] for name in sorted(self._all.pipelines)]

    def _is_known(self, committed: Committed[FlowCommitted]) -> bool:
        known = self._flows.get(committed.ref.name)
        return known is not None and known[0] >= committed.sequence


def declared_by(committed: Committed[FlowCommitted]) -> Declared:
    """Return what a version of a flow declares.

    Raises:
        Rejected: Its document cannot be read.
    """
    document, ref = committed.message.document, committed.ref
    if "serve" not in document and "pipeline" not in document:
        return Declared()
    from loopline.flows import Flow  # its compiler of rules takes 0.3 s to import

    flow = Flow.parse(document)
    serve = {
        rule.model: ServeTerms(
            rule.batch_max,
            rule.batch_preferred,
            None if rule.delay_max_ms is None else rule.delay_max_ms * _MS,
            rule.queue_images,
            None if rule.timeout_ms is None else rule.timeout_ms * _MS,
            rule.priority,
        )
        for rule in flow.serve
    }
    pipelines = {
        rule.name: PipelineTerms(
            rule.name,
            ref.name,
            ref.version,
            Step(rule.detector.model, rule.detector.alias),
            Step(rule.classifier.model, rule.classifier.alias),
            rule.score_min,
            rule.crops_max,
            rule.margin,
        )
        for rule in flow.pipeline
    }
    return Declared(serve, pipelines)
