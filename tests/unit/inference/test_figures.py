"""What inference counts for /metrics beside Triton's statistics: refusals, latencies by class."""

from __future__ import annotations

import pytest

from services.inference.adapters.engine.statistics import (
    LATENCY_BOUNDS_S,
    RequestTimes,
    Statistics,
)
from services.inference.domain.admission import Admission, Exhausted


def test_refused_requests_are_counted_and_those_let_in_are_not() -> None:
    admission = Admission(4, lambda: None)
    admission.enter(3)
    for _ in range(2):
        with pytest.raises(Exhausted):
            admission.enter(2)
    admission.enter(1)
    assert (admission.refused, admission.inside) == (2, 4)


def test_a_request_is_counted_in_the_class_that_holds_its_time() -> None:
    statistics = Statistics()
    for seconds in (0.001, 0.0011, 0.2, 120.0):
        statistics.answered(RequestTimes(round(seconds * 1e9), 0, 0, 0, 0), images=1, now_ms=0)
    before = statistics.snapshot()
    counts = dict(zip((*LATENCY_BOUNDS_S, None), before.latencies, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {
        0.001: 1,
        0.0025: 1,
        0.25: 1,
        None: 1,
    }
    statistics.answered(RequestTimes(0, 0, 0, 0, 0), images=1, now_ms=0)
    assert sum(before.latencies) == 4, "a snapshot stays"
