"""What a routing run tells people: counts, reasons, jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from loopline.digests import canonical_json
from loopline.flows import Flow
from services.router.domain.plan import RoutingPlan
from services.router.domain.results import Summary
from services.router.domain.routing import Selected, job_name, select

MAX_REASONS = 100  # of unrouted predictions, the most frequent


@dataclass(frozen=True, slots=True)
class Job:
    """A labeling job that a run opens.

    Args:
        name: Its name.
        rule: The rule that asks for it.
        selected: What goes into it.
    """

    name: str
    rule: str
    selected: Selected


@dataclass(frozen=True, slots=True)
class Counts:
    """Every selected prediction, counted once.

    Args:
        delivered: Objects written.
        relabeled: Items in labeling jobs.
        unrouted: The others: no rule held, a rule failed, or a job was full.
        over_limit: How many of the unrouted ones found their job full.
    """

    delivered: int
    relabeled: int
    unrouted: int
    over_limit: int

    def __str__(self) -> str:
        full = f" ({self.over_limit} over a job's limit)" if self.over_limit else ""
        return (
            f"{self.delivered} delivered, {self.relabeled} to label, {self.unrouted} unrouted{full}"
        )


def jobs_of(flow: Flow, summary: Summary, run_id: str) -> list[Job]:
    """Return the jobs that a run opens, in the order of the flow's rules; none of them is empty."""
    selected = (
        (rule, relabel, select(summary.uncertain.get(rule, ()), relabel))
        for rule, relabel in flow.relabel_rules
    )
    return [
        Job(job_name(relabel, run_id), rule, chosen)
        for rule, relabel, chosen in selected
        if chosen.assets
    ]


def counts_of(summary: Summary, jobs: Sequence[Job]) -> Counts:
    """Return the counts of a run."""
    over_limit = sum(job.selected.over_limit for job in jobs)
    return Counts(
        delivered=len(summary.delivered),
        relabeled=sum(len(job.selected.assets) for job in jobs),
        unrouted=summary.unrouted.total() + over_limit,
        over_limit=over_limit,
    )


def report(
    plan: RoutingPlan, summary: Summary, jobs: Sequence[Job], items_digests: Mapping[str, str]
) -> bytes:
    """Return the run's report as canonical JSON.

    Args:
        plan: The run.
        summary: What became of its predictions.
        jobs: The jobs it opens.
        items_digests: Object digest of each job's items, by the job's name.
    """
    rules = Counter(one.rule for one in summary.delivered)
    rules.update({rule: len(found) for rule, found in summary.uncertain.items()})
    return canonical_json(
        {
            "run": plan.run_id,
            "flow": str(plan.flow),
            "predictions": str(plan.predictions),
            "model": str(plan.model),
            "dataset": str(plan.dataset),
            "selected": plan.selected,
            **asdict(counts_of(summary, jobs)),
            "matched_by_rule": dict(rules),
            "unrouted_reasons": dict(summary.unrouted.most_common(MAX_REASONS)),
            "jobs": [
                {
                    "name": job.name,
                    "rule": job.rule,
                    "items": len(job.selected.assets),
                    "over_limit": job.selected.over_limit,
                    "items_digest": items_digests[job.name],
                }
                for job in jobs
            ],
        }
    )
