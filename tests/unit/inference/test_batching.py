"""Dynamic batching: what queued while the engine was busy makes the next batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
import structlog

from loopline.errors import Rejected
from services.inference.adapters.engine.batching import Batcher, ClosedError, Inferred
from services.inference.adapters.engine.statistics import Statistics
from services.inference.domain.queueing import BatchPolicy, Hold
from services.inference.domain.tensors import Array, Arrays, Tensors

TIMEOUT_S = 10.0


class GatedEngine:
    """Answers with each image's first byte, one batch per `let_one_run`."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self.poison: int | None = None

    def run(self, feeds: Arrays) -> dict[str, Array]:
        pixels = feeds["image"]
        self.entered.release()
        assert self._gate.acquire(timeout=TIMEOUT_S)
        self.batches.append(len(pixels))
        values = pixels[:, 0, 0, 0].astype(np.float32)
        if self.poison is not None and self.poison in values:
            raise RuntimeError("poisoned")
        return {"probabilities": values[:, None]}

    def open(self, batches: int = 1000) -> None:
        self._gate.release(batches)

    def wait_until_busy(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT_S)


@pytest.fixture
def engine() -> GatedEngine:
    return GatedEngine()


@pytest.fixture
def batcher(engine: GatedEngine) -> Iterator[Batcher]:
    batcher = Batcher(engine.run, BatchPolicy(8), Statistics(), "test")
    yield batcher
    engine.open()
    batcher.close()
    batcher.join(TIMEOUT_S)


def ask(batcher: Batcher, *values: int) -> Future[Inferred]:
    future: Future[Inferred] = Future()
    pixels = np.array(values, np.uint8).reshape(-1, 1, 1, 1)
    batcher.submit(Tensors({"image": pixels}, len(pixels)), future)
    return future


def ask_placed(batcher: Batcher, value: int | None) -> Future[Inferred]:
    """Ask with a row whose bytes are elsewhere; None where they are gone by the time."""
    future: Future[Inferred] = Future()

    def read(view: memoryview) -> None:
        if value is None:
            raise Rejected("it has shrunk")
        view[:] = bytes([value])

    room = np.full((1, 1, 1, 1), 255, np.uint8)  # what must not be seen
    batcher.submit(Tensors({"image": room}, 1, {"image": read}), future)
    return future


def answer(future: Future[Inferred]) -> list[int]:
    return [int(value) for value in future.result(TIMEOUT_S).outputs["probabilities"][:, 0]]


def test_requests_that_queue_while_the_engine_is_busy_run_together(
    batcher: Batcher, engine: GatedEngine
) -> None:
    first = ask(batcher, 1)
    engine.wait_until_busy()
    others = [ask(batcher, value) for value in range(2, 7)]
    engine.open()
    assert answer(first) == [1]
    assert [answer(one) for one in others] == [[2], [3], [4], [5], [6]]
    assert engine.batches == [1, 5]


def test_a_batch_is_never_larger_than_its_limit(batcher: Batcher, engine: GatedEngine) -> None:
    first = ask(batcher, 1)
    engine.wait_until_busy()
    others = [ask(batcher, value, value) for value in range(5)]
    engine.open()
    assert answer(first) == [1]
    assert [answer(one) for one in others] == [[v, v] for v in range(5)]
    assert engine.batches == [1, 8, 2]


def test_a_request_above_the_limit_runs_in_slices(batcher: Batcher, engine: GatedEngine) -> None:
    engine.open()
    assert answer(ask(batcher, *range(20))) == list(range(20))
    assert engine.batches == [8, 8, 4]


def test_a_request_that_breaks_the_engine_does_not_hurt_its_batch_mates(
    batcher: Batcher, engine: GatedEngine
) -> None:
    engine.poison = 3
    first = ask(batcher, 1)
    engine.wait_until_busy()
    good, bad = ask(batcher, 2), ask(batcher, 3)
    engine.open()
    assert answer(first) == [1]
    assert answer(good) == [2]
    with pytest.raises(RuntimeError, match="poisoned"):
        bad.result(TIMEOUT_S)
    assert answer(ask(batcher, 4)) == [4]


def test_a_cancelled_request_is_not_run(batcher: Batcher, engine: GatedEngine) -> None:
    first = ask(batcher, 1)
    engine.wait_until_busy()
    gone, stays = ask(batcher, 2), ask(batcher, 3)
    assert gone.cancel()
    engine.open()
    assert answer(first) == [1]
    assert answer(stays) == [3]
    assert engine.batches == [1, 1]
    with pytest.raises(CancelledError):
        gone.result(TIMEOUT_S)


def test_closing_answers_what_is_queued_and_takes_nothing_more(
    batcher: Batcher, engine: GatedEngine
) -> None:
    first = ask(batcher, 1)
    engine.wait_until_busy()
    queued = ask(batcher, 2)
    batcher.close()
    with pytest.raises(ClosedError):
        ask(batcher, 3)
    engine.open()
    batcher.join(TIMEOUT_S)
    assert answer(first) == [1]
    assert answer(queued) == [2]


def test_executions_are_counted_by_batch_size(engine: GatedEngine) -> None:
    statistics = Statistics()
    batcher = Batcher(engine.run, BatchPolicy(8), statistics, "test")
    engine.open()
    answer(ask(batcher, 1))
    answer(ask(batcher, 1, 2))
    answer(ask(batcher, 1, 2))
    batcher.close()
    batcher.join(TIMEOUT_S)
    figures = statistics.snapshot()
    assert figures.executions == 3
    assert {size: times.infer.count for size, times in figures.batches.items()} == {1: 1, 2: 2}


def test_a_caller_that_waits_anyway_runs_its_request_itself(engine: GatedEngine) -> None:
    batcher = Batcher(engine.run, BatchPolicy(8), Statistics(), "test")
    engine.open(1)
    future: Future[Inferred] = Future()
    batcher.submit(Tensors({"image": np.ones((1, 1, 1, 1), np.uint8)}, 1), future, hold=Hold.LONG)
    assert future.done()
    engine.open()
    assert answer(ask(batcher, 7)) == [7]
    batcher.close()
    batcher.join(TIMEOUT_S)


def test_rows_that_are_elsewhere_are_read_as_their_batch_is_put_together(
    engine: GatedEngine, batcher: Batcher
) -> None:
    first = ask_placed(batcher, 1)
    engine.wait_until_busy()
    futures = [ask_placed(batcher, 2), ask(batcher, 3, 4), ask_placed(batcher, 5)]
    engine.open()
    assert [answer(future) for future in (first, *futures)] == [[1], [2], [3, 4], [5]]
    assert engine.batches == [1, 4]


def test_rows_that_are_gone_fail_their_own_request_alone(
    engine: GatedEngine, batcher: Batcher
) -> None:
    held = ask(batcher, 1)
    engine.wait_until_busy()
    futures = [ask_placed(batcher, 2), ask_placed(batcher, None), ask(batcher, 3)]
    engine.open()
    with structlog.testing.capture_logs() as logs, pytest.raises(Rejected, match="shrunk"):
        futures[1].result(TIMEOUT_S)
    assert [answer(future) for future in (held, futures[0], futures[2])] == [[1], [2], [3]]
    assert "engine_failed" not in [log["event"] for log in logs], "it is the client's doing"


def test_as_many_executions_run_at_once_as_there_are_instances(engine: GatedEngine) -> None:
    batcher = Batcher(engine.run, BatchPolicy(8, instances=2), Statistics(), "test")
    futures = [ask(batcher, 1)]
    engine.wait_until_busy()
    futures.append(ask(batcher, 2))
    engine.wait_until_busy()
    engine.open()
    assert [answer(future) for future in futures] == [[1], [2]]
    batcher.close()
    batcher.join(TIMEOUT_S)


def test_no_more_are_taken_together_than_is_preferred(engine: GatedEngine) -> None:
    batcher = Batcher(engine.run, BatchPolicy(8, preferred=2), Statistics(), "test")
    first = ask(batcher, 1)
    engine.wait_until_busy()
    others = [ask(batcher, value) for value in range(5)]
    engine.open()
    assert answer(first) == [1]
    assert [answer(one) for one in others] == [[v] for v in range(5)]
    assert engine.batches == [1, 2, 2, 1]
    batcher.close()
    batcher.join(TIMEOUT_S)


def test_with_a_delay_the_first_waits_for_company(engine: GatedEngine) -> None:
    policy = BatchPolicy(max_batch=3, max_delay_s=TIMEOUT_S)
    batcher = Batcher(engine.run, policy, Statistics(), "test")
    engine.open()
    futures = [ask(batcher, value) for value in range(3)]
    assert [answer(one) for one in futures] == [[0], [1], [2]]
    assert engine.batches == [3]
    batcher.close()
    batcher.join(TIMEOUT_S)


def test_requests_of_higher_priority_go_first(engine: GatedEngine) -> None:
    batcher = Batcher(engine.run, BatchPolicy(1), Statistics(), "test")
    order: list[int] = []
    busy = ask(batcher, 0)
    engine.wait_until_busy()
    futures = []
    for value, priority in ((1, 200), (2, 0), (3, 1)):
        future: Future[Inferred] = Future()
        future.add_done_callback(lambda _, value=value: order.append(value))  # type: ignore[misc]
        pixels = np.full((1, 1, 1, 1), value, np.uint8)
        batcher.submit(Tensors({"image": pixels}, 1), future, priority)
        futures.append(future)
    engine.open()
    assert answer(busy) == [0]
    assert [answer(future) for future in futures] == [[1], [2], [3]]
    assert order == [3, 2, 1]
    batcher.close()
    batcher.join(TIMEOUT_S)


def test_a_network_that_costs_next_to_nothing_is_run_by_whoever_asks(engine: GatedEngine) -> None:
    batcher = Batcher(engine.run, BatchPolicy(8, direct=True), Statistics(), "test")
    busy = ask(batcher, 1)
    engine.wait_until_busy()
    engine.open()
    future: Future[Inferred] = Future()
    batcher.submit(Tensors({"image": np.ones((1, 1, 1, 1), np.uint8)}, 1), future, hold=Hold.LONG)
    assert future.done()
    assert answer(busy) == [1]
    batcher.close()
    batcher.join(TIMEOUT_S)


@pytest.mark.parametrize(
    "requests",
    [
        [np.arange(6, dtype="<f4").reshape(2, 3), np.ones((1, 3), "<f4")],
        [np.zeros((1, 0), "<i8"), np.zeros((2, 0), "<i8")],
        [np.array([[b"cat"]], object), np.array([[b"dog"], [b""]], object)],
        [np.arange(4, dtype="<f8").reshape(2, 2).T, np.zeros((1, 2), "<f8")],
    ],
    ids=["numbers", "of no size", "text", "not one after the other in memory"],
)
def test_rows_of_any_kind_share_an_execution(requests: list[Array]) -> None:
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def echo(feeds: Arrays) -> dict[str, Array]:
        entered.release()
        assert go_on.acquire(timeout=TIMEOUT_S)
        return dict(feeds)

    batcher = Batcher(echo, BatchPolicy(8), Statistics(), "echo")
    futures: list[Future[Inferred]] = [Future() for _ in range(len(requests) + 1)]
    batcher.submit(Tensors({"x": np.zeros((1, 1))}, 1), futures[0])
    assert entered.acquire(timeout=TIMEOUT_S)
    for rows, future in zip(requests, futures[1:], strict=True):
        batcher.submit(Tensors({"x": rows}, len(rows)), future)
    go_on.release(2)
    answers = [future.result(TIMEOUT_S).outputs["x"] for future in futures[1:]]
    batcher.close()
    batcher.join(TIMEOUT_S)
    for rows, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer, rows)
        assert answer.dtype == rows.dtype
