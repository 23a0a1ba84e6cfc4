"""The request parsers on any bytes: they take or refuse, and never fail in another way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import mutate_body, mutate_message
from tests.fuzz.requests import TARGETS
from tests.fuzz.seeds import seeds

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_what_fuzzing_found_is_taken_or_refused(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_taken_or_refused(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_requests_with_something_changed_are_taken_or_refused(target: str, seed: int) -> None:
    rng = random.Random(seed)
    data: bytes | None = rng.choice(seeds(target))
    for _ in range(rng.randint(1, 3)):
        if data is not None:
            data = (mutate_body if target == "rest" else mutate_message)(data, rng)
    if data is not None:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_of_fuzzing_get_as_far_as_a_graph(target: str) -> None:
    """Otherwise fuzzing would look at nothing."""
    reached = [TARGETS[target](seed) for seed in seeds(target)]
    # Typed elements and regions are none of the scanner's; halves have no JSON.
    assert reached.count(False) <= {"grpc": 0, "rest": 2, "scan": 13}[target]
