"""Routing: each selected item ends in exactly one place, whatever the rules and predictions."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.digests import sha256_hex
from loopline.flows import Flow, Relabel
from loopline.store.items import Item, Prediction
from loopline.testing import flywheel
from services.router.domain.chunks import RoutedChunk, route_chunk
from services.router.domain.plan import RoutingPlan, Version, slices
from services.router.domain.reports import counts_of, jobs_of
from services.router.domain.results import Summary, from_lines, to_lines
from services.router.domain.routing import Outcome, Uncertain, job_name, route, select

DELIVER = "deliver: {connection: customer, bucket: results, prefix: out/}"


def flow_of(*rules: tuple[str, str]) -> str:
    """Return a flow document with these route rules: (when, action)."""
    lines = [f'  - {{name: r{i}, when: "{when}", {do}}}' for i, (when, do) in enumerate(rules)]
    return "\n".join(["flow: f", "datasets: [d]", "route:", *lines])


def plan_of(document: str) -> RoutingPlan:
    """Return a plan that routes by this flow."""
    return RoutingPlan(
        workspace="default",
        run_id="7" * 64,
        flow=Version("f", 1, "f" * 64),
        document=document,
        predictions=Version("m-dddddddddddddddd", 1, "a" * 64),
        predictions_root="b" * 64,
        predictions_sequence=4,
        model=Version("m", 1, "d" * 64),
        recipe="classification",
        task="classification",
        classes=flywheel.CLASSES,
        dataset=Version("d", 2, "e" * 64),
        dataset_root="c" * 64,
        selection_digest="9" * 64,
        selected=0,
        chunks=(),
    )


def _seen(confidence: float) -> dict[str, Any]:
    return {"prediction": {"confidence": confidence, "scores": {}}}


@pytest.mark.parametrize(
    ("confidence", "outcome", "rule"),
    [
        (0.95, Outcome.DELIVERED, "r0"),
        (0.9, Outcome.DELIVERED, "r0"),
        (0.6, Outcome.UNCERTAIN, "r1"),
        (0.2, Outcome.UNROUTED, ""),
    ],
)
def test_first_rule_that_holds_wins(confidence: float, outcome: Outcome, rule: str) -> None:
    flow = Flow.parse(
        flow_of(
            ("prediction.confidence >= 0.9", DELIVER),
            ("prediction.confidence >= 0.5", "relabel: {job: j}"),
            ("prediction.confidence >= 0.7", "relabel: {job: k}"),
        )
    )
    decided = route(flow.route, _seen(confidence))
    assert (decided.outcome, decided.rule) == (outcome, rule)


def test_rule_that_fails_holds_its_item_back() -> None:
    """A later rule might deliver what the failed one was to keep."""
    rules = (("prediction.scores.coat > 0.5", "relabel: {job: j}"), ("true", DELIVER))
    decided = route(Flow.parse(flow_of(*rules)).route, _seen(0.99))
    assert decided.outcome is Outcome.UNROUTED
    assert decided.reason.startswith("the rule 'r0' failed: ")
    assert "there is no field 'coat' here" in decided.reason


def test_job_takes_the_least_confident_up_to_its_limit_ties_by_asset() -> None:
    uncertain = [Uncertain("c", 0.5), Uncertain("b", 0.5), Uncertain("a", 0.6), Uncertain("d", 0.1)]
    chosen = select(uncertain, Relabel(job="j", limit=3))
    assert (chosen.assets, chosen.over_limit) == (("d", "b", "c"), 1)


def test_shuffled_job_has_nothing_to_do_with_confidence() -> None:
    relabel = Relabel(job="j", limit=10, order="shuffled")
    sure = select([Uncertain(str(i), i / 50) for i in range(50)], relabel)
    unsure = select([Uncertain(str(i), 1 - i / 50) for i in range(50)], relabel)
    assert sure == unsure
    assert sure.assets != tuple(map(str, range(10)))


_UNCERTAIN = st.lists(
    st.builds(Uncertain, st.text("abc", min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 0.9])),
    max_size=30,
    unique_by=lambda one: one.asset,
)


@given(
    _UNCERTAIN, st.integers(1, 40), st.sampled_from(["least_confident", "shuffled"]), st.randoms()
)
def test_selection_depends_on_the_set_alone(
    uncertain: list[Uncertain], limit: int, order: Any, shuffler: random.Random
) -> None:
    relabel = Relabel(job="j", limit=limit, order=order)
    chosen = select(uncertain, relabel)
    shuffler.shuffle(uncertain)
    assert select(iter(uncertain), relabel) == chosen
    assert len(chosen.assets) == min(limit, len(uncertain))
    assert len(chosen.assets) + chosen.over_limit == len(uncertain)
    if order == "least_confident":
        confidence = {one.asset: one.confidence for one in uncertain}
        left = [confidence[one.asset] for one in uncertain if one.asset not in chosen.assets]
        taken = [confidence[asset] for asset in chosen.assets]
        assert taken == sorted(taken)
        assert not left or not taken or max(taken) <= min(left)


_WHEN = st.sampled_from(
    [
        "prediction.confidence >= 0.8",
        "prediction.confidence < 0.3",
        "prediction.scores.nothing > 0.5",
        "item.labeled",
        "true",
        "false",
    ]
)
_RULES = st.lists(st.tuples(_WHEN, st.booleans(), st.integers(1, 5)), min_size=1, max_size=4)


@given(_RULES, st.lists(st.floats(0, 1), max_size=20), st.integers(1, 7))
def test_every_item_is_delivered_relabeled_or_unrouted(
    rules: list[tuple[str, bool, int]], confidences: list[float], chunk: int
) -> None:
    """Exactly one of them; limits hold; and the chunks' size changes nothing."""
    document = flow_of(
        *(
            (when, DELIVER if deliver else f"relabel: {{job: j{i}, limit: {limit}}}")
            for i, (when, deliver, limit) in enumerate(rules)
        )
    )
    plan, flow = plan_of(document), Flow.parse(document)
    items = {flywheel.asset(i): flywheel.item(i) for i in range(len(confidences))}
    predictions = {flywheel.asset(i): flywheel.prediction(i, c) for i, c in enumerate(confidences)}
    summary, delivered = _run(plan, slices(list(items), chunk), items, predictions)
    jobs = jobs_of(flow, summary, plan.run_id)
    labeled = [asset for job in jobs for asset in job.selected.assets]
    counts = counts_of(summary, jobs)
    assert counts.delivered + counts.relabeled + counts.unrouted == len(items)
    assert len({*delivered, *labeled}) == counts.delivered + counts.relabeled
    assert {*delivered, *labeled} <= set(items)
    limits = {relabel.job: relabel.limit for _, relabel in flow.relabel_rules}
    for job in jobs:
        assert 0 < len(job.selected.assets) <= limits[job.name.rpartition("-")[0]]
    whole, _ = _run(plan, [sorted(items)], items, predictions)
    assert whole.delivered == summary.delivered
    assert jobs_of(flow, whole, plan.run_id) == jobs


def _run(
    plan: RoutingPlan,
    chunks: list[list[str]],
    items: dict[str, Item],
    predictions: dict[str, Prediction],
) -> tuple[Summary, list[str]]:
    """Route the chunks; return the summary and the assets of the objects written."""
    summary = Summary()
    written: list[str] = []
    for assets in chunks:
        chunk = route_chunk(plan, assets, items, predictions)
        _check_documents(chunk)
        summary.add(from_lines(to_lines(chunk.routed)))
        written += [document.key.removeprefix("out/")[:64] for document in chunk.documents]
    return summary, written


def _check_documents(chunk: RoutedChunk) -> None:
    noted = [(one.key, one.digest, one.size_bytes) for one in chunk.routed if one.key]
    written = [(d.key, sha256_hex(d.data), len(d.data)) for d in chunk.documents]
    assert written == noted


@pytest.mark.parametrize(
    ("items", "predictions", "reason"),
    [
        ({}, {flywheel.asset(1): flywheel.prediction(1, 0.9)}, "there is no item in the dataset"),
        ({flywheel.asset(1): flywheel.item(1)}, {}, "there is no prediction"),
    ],
)
def test_asset_without_row_is_unrouted_with_the_reason(
    items: dict[str, Item], predictions: dict[str, Prediction], reason: str
) -> None:
    plan = plan_of(flow_of(("true", DELIVER)))
    chunk = route_chunk(plan, [flywheel.asset(1)], items, predictions)
    assert [(one.outcome, one.reason) for one in chunk.routed] == [(Outcome.UNROUTED, reason)]
    assert chunk.documents == ()


def test_chunks_are_sorted_by_asset_and_have_each_asset_once() -> None:
    assert slices(["c", "a", "b", "a", "d"], 2) == [["a", "b"], ["c", "d"]]
    assert slices([], 2) == []


def test_job_is_named_after_the_run() -> None:
    run_id = "0123456789abcdef" * 4
    assert job_name(Relabel(job="catalogue"), run_id) == "catalogue-01234567"
    assert job_name(Relabel(job="catalogue", keeps_filling=True), run_id) == "catalogue"
