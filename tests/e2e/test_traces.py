"""One import is one trace, from the external publisher to the delivered object."""

from __future__ import annotations

import pytest

from loopline.contracts import catalog
from tests.chaos.fixtures import TRACE_ID, TRACEPARENT, Undisturbed
from tests.chaos.receivers import SpanOf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WORK = (
    catalog.IMPORT_IMAGES,
    catalog.IMPORT_CHUNK,
    catalog.JOIN_IMPORT,
    catalog.DATASET_COMMITTED,
    catalog.TRAIN_MODEL,
    catalog.MODEL_COMMITTED,
    catalog.ALIAS_MOVED,
    catalog.APPLY_MODEL,
    catalog.PREDICT_CHUNK,
    catalog.JOIN_PREDICTIONS,
    catalog.PREDICTIONS_COMMITTED,
    catalog.ROUTE_CHUNK,
    catalog.JOIN_ROUTING,
    catalog.OPEN_LABELING_JOB,
)
"""What follows from an import, up to the delivered object and the labeling job."""


@pytest.fixture
def trace(undisturbed: Undisturbed) -> list[SpanOf]:
    """The spans of the external publisher's trace."""
    return [each for each in undisturbed.spans if each.trace_id == TRACE_ID]


def test_every_step_up_to_the_delivery_is_in_the_publishers_trace(trace: list[SpanOf]) -> None:
    names = {each.span.name for each in trace}
    assert {f"on {event.key}" for event in WORK} <= names
    services = {each.service.removeprefix("loopline-") for each in trace}
    assert {"ingest", "router", "trainer", "inference", "annotate"} <= services


def test_every_parent_is_in_the_same_trace(trace: list[SpanOf]) -> None:
    publisher = TRACEPARENT.split("-")[2]
    known = {publisher} | {each.span.span_id.hex() for each in trace}
    orphans = [s.span.name for s in trace if s.span.parent_span_id.hex() not in known]
    assert not orphans
    starts = {s.span.name for s in trace if s.span.parent_span_id.hex() == publisher}
    assert starts == {"on import_images"}


def test_calls_to_storage_are_in_it(trace: list[SpanOf]) -> None:
    names = {each.service: set[str]() for each in trace}
    for each in trace:
        names[each.service].add(each.span.name)
    assert {"put plans", "get plans"} <= names["loopline-ingest"]
    # Checkpoints are kept every few seconds of training, which here may be over before.
    assert {"get assets", "put models"} <= names["loopline-trainer"]
    assert "put plans" in names["loopline-inference"]
    assert "put trees" in names["loopline-router"]


def test_what_was_committed_names_the_trace_it_belongs_to(undisturbed: Undisturbed) -> None:
    told = undisturbed.told
    for event in (
        catalog.DATASET_COMMITTED,
        catalog.MODEL_COMMITTED,
        catalog.ALIAS_MOVED,
        catalog.PREDICTIONS_COMMITTED,
        catalog.DELIVERY_COMMITTED,
    ):
        first = told.committed(event)[0]
        assert first.commit.run.trace_id == TRACE_ID, event.key
