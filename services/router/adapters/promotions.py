"""Moving aliases by compare-and-set: the rule is asked again whenever somebody else moved first."""

from __future__ import annotations

import contextlib

from loopline.contracts import (
    Actor,
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    Commit,
    EvaluateModel,
    Evaluation,
    EvaluationCommitted,
    ModelCommitted,
    PromotionDeclined,
    Run,
    RunKind,
    catalog,
)
from loopline.errors import Rejected
from loopline.flows import PromoteRule, observations
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, Unchanged
from loopline.store.evaluations import Evaluations, data_of
from loopline.tracing import current_trace_id
from services.router.adapters.planning import in_role
from services.router.domain.promotion import (
    Contender,
    Verdict,
    judge,
    not_applied,
    obstacle_to,
)


class Promotions:
    """Applies promote rules to model versions.

    Args:
        service: Its log and its identity.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._log = service.log
        self._evaluations = Evaluations(service.log, service.objects)

    async def decide(
        self, rule: PromoteRule, flow: ArtefactRef, candidate: ModelCommitted
    ) -> PromotionDeclined | None:
        """Move the rule's alias to `candidate`, or return why it stays.

        Returns None where the alias moved, now or before: the run's key has the candidate, the flow
        and the rule in it, so an event that comes again finds its own move in the alias's history.
        """
        declined: PromotionDeclined | None = None
        run = self._run(rule, flow, candidate.commit.artefact)
        tokens = {"model": rule.model, "alias": rule.alias}
        if await self._log.find_run(catalog.ALIAS_MOVED, run.id, **tokens):
            return None

        async def build(head: Committed[AliasMoved] | None) -> AliasMoved:
            nonlocal declined
            declined = None
            champion = await self._champion(head)
            if champion and champion.commit.artefact.digest == candidate.commit.artefact.digest:
                raise Unchanged(f"{rule.name} points to it already")
            verdict = await self._judged(rule, candidate, champion)
            if not verdict.promoted:
                declined = _declined(rule, flow, candidate, champion, verdict.reason)
                raise Unchanged(verdict.reason)
            return _moved(rule, run, candidate, head, verdict.reason)

        with contextlib.suppress(Unchanged):  # declined while the alias points nowhere yet
            await self._log.commit(catalog.ALIAS_MOVED, build, **tokens)
        return declined

    async def _judged(
        self, rule: PromoteRule, candidate: ModelCommitted, champion: ModelCommitted | None
    ) -> Verdict:
        if champion is None:
            return judge(rule, _contender(candidate), None)
        one = _contender(candidate)
        measured = await self._evaluations.on_split(champion, one.split_digest)
        other = _contender(champion, measured)
        if obstacle_to(one, other) or not rule.rule.uses("comparison"):
            return judge(rule, one, other)
        try:
            comparison = await self._evaluations.compare(champion, candidate)
        except Rejected as error:
            return not_applied(rule, error.message)
        if comparison.notes:
            return not_applied(rule, "; ".join(comparison.notes))
        return judge(rule, one, other, observations.comparison(comparison))

    async def to_measure(self, declined: PromotionDeclined) -> EvaluateModel | None:
        """Return what has to be measured before a declined rule can decide, if that is all.

        The candidate was measured on a test split that the champion has not seen: a dataset version
        whose test items or labels differ. The champion is then measured on that one, too.
        """
        candidate = await self._model(declined.candidate)
        evaluation = observations.frozen_evaluation(candidate)
        if not declined.champion.digest or evaluation is None or not evaluation.split_digest:
            return None
        if declined.champion.version > declined.candidate.version:
            return None
        champion = await self._model(declined.champion)
        dataset = data_of(candidate)
        if dataset is None or await self._evaluations.on_split(champion, evaluation.split_digest):
            return None
        return EvaluateModel(
            model=declined.champion,
            dataset=dataset,
            split=evaluation.split,
            actor=Actor(kind="flow", name=declined.flow.name),
        )

    async def awaiting(self, event: EvaluationCommitted) -> ModelCommitted | None:
        """Return the newest version of the model, if it can be compared by this evaluation."""
        head = await self._log.head(catalog.MODEL_COMMITTED, name=event.model.name)
        if head is None or head.ref.digest == event.model.digest:
            return None
        own = observations.frozen_evaluation(head.message)
        if own is None or own.split_digest != event.evaluation.split_digest:
            return None
        return head.message

    async def _model(self, ref: ArtefactRef) -> ModelCommitted:
        return (await self._log.version(catalog.MODEL_COMMITTED, ref, name=ref.name)).message

    async def _champion(self, head: Committed[AliasMoved] | None) -> ModelCommitted | None:
        if head is None:
            return None
        return await self._model(head.message.target)

    def _run(self, rule: PromoteRule, flow: ArtefactRef, candidate: ArtefactRef) -> Run:
        return runs.new_run(
            RunKind.RUN_KIND_DEPLOY,
            inputs=[in_role(candidate, "candidate"), in_role(flow, "flow")],
            parameters={"alias": rule.alias, "when": rule.when},
            actor=Actor(kind="flow", name=flow.name),
            agent=self._service.agent,
            environment=self._service.environment,
            clock=self._service.clock,
            trace_id=current_trace_id(),
        )


def _moved(
    rule: PromoteRule,
    run: Run,
    candidate: ModelCommitted,
    head: Committed[AliasMoved] | None,
    reason: str,
) -> AliasMoved:
    target = candidate.commit.artefact
    run.finished_at.CopyFrom(run.started_at)
    ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_ALIAS, name=rule.name, digest=target.digest)
    summary = f"{rule.name} moved to {target.name}@v{target.version} by the flow {run.actor.name}"
    return AliasMoved(
        commit=Commit(artefact=ref, run=run, summary=summary),
        model=rule.model,
        alias=rule.alias,
        target=target,
        previous=head.message.target if head else None,
        reason=reason,
    )


def _contender(committed: ModelCommitted, measured: Evaluation | None = None) -> Contender:
    evaluation = measured or observations.frozen_evaluation(committed)
    return Contender(
        version=committed.commit.artefact.version,
        split_digest=evaluation.split_digest if evaluation else "",
        fields=observations.evaluated_model(committed, evaluation),
    )


def _declined(
    rule: PromoteRule,
    flow: ArtefactRef,
    candidate: ModelCommitted,
    champion: ModelCommitted | None,
    reason: str,
) -> PromotionDeclined:
    return PromotionDeclined(
        candidate=candidate.commit.artefact,
        champion=champion.commit.artefact if champion else None,
        alias=rule.alias,
        reason=reason,
        flow=flow,
    )
