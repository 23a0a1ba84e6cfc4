"""What one client may ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.testing.memory import ManualClock
from services.inference.domain import quota
from services.inference.domain.quota import QuotaExceeded, QuotaLimits, Quotas


def test_a_client_spends_what_it_saved_and_then_its_rate() -> None:
    clock = ManualClock()
    quotas = Quotas(QuotaLimits(requests_per_s=2, burst=3, concurrent=0), clock.monotonic_s)
    for _ in range(3):
        quotas.enter("a")
    with pytest.raises(QuotaExceeded, match="2 times a second") as caught:
        quotas.enter("a")
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock.advance(0.5)
    quotas.enter("a")
    with pytest.raises(QuotaExceeded):
        quotas.enter("a")


def test_one_clients_haste_is_not_anothers() -> None:
    quotas = Quotas(QuotaLimits(1, 1, 1), ManualClock().monotonic_s)
    quotas.enter("a")
    with pytest.raises(QuotaExceeded):
        quotas.enter("a")
    quotas.enter("b")


def test_requests_at_once_are_limited_until_one_ends() -> None:
    quotas = Quotas(QuotaLimits(concurrent=2), ManualClock().monotonic_s)
    quotas.enter("a")
    with quotas.request("a"), pytest.raises(QuotaExceeded, match="2 at once"):
        quotas.enter("a")
    quotas.enter("a")


def test_a_request_that_fails_ends_too() -> None:
    quotas = Quotas(QuotaLimits(concurrent=1), ManualClock().monotonic_s)
    with pytest.raises(ValueError, match="x"), quotas.request("a"):
        raise ValueError("x")
    quotas.enter("a")


def test_without_limits_nothing_is_refused() -> None:
    quotas = Quotas(QuotaLimits(0, 1, 0), ManualClock().monotonic_s)
    for _ in range(1000):
        quotas.enter("a")


def test_the_clients_that_are_known_are_bounded_but_none_inside_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota, "CLIENTS_KEPT", 10)
    quotas = Quotas(QuotaLimits(concurrent=1), ManualClock().monotonic_s)
    quotas.enter("inside")
    for index in range(100):
        with quotas.request(f"client-{index}"):
            pass
    assert len(quotas) <= 11
    with pytest.raises(QuotaExceeded):
        quotas.enter("inside")


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_no_client_gets_more_than_its_burst_and_its_rate(
    waits: list[float], rate: float, burst: int
) -> None:
    clock = ManualClock()
    quotas = Quotas(QuotaLimits(rate, burst, 0), clock.monotonic_s)
    given_ = 0
    for wait in waits:
        clock.advance(wait)
        try:
            quotas.spend("a")
        except QuotaExceeded:
            continue
        given_ += 1
    assert given_ <= burst + rate * clock.monotonic_s() + 1e-3
