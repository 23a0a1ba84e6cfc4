"""What becomes of a message: done, handled again later, or dead."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from loopline.contracts import TrainModel, catalog, cloudevents
from loopline.contracts.catalog import BACKOFF_S, Durable, Event
from loopline.errors import Cancelled, Conflict, Rejected, Transient
from loopline.runtime.processing import Delivery, Processor

DURABLE = Durable("trainer", max_deliver=8)


@dataclass
class Played:
    """A message of a consumer that remembers what it was told."""

    attempt: int = 1
    told: list[tuple[str, float]] = field(default_factory=list)
    subject: str = "loopline.default.cmd.train.default"
    reply: str = "reply"

    def __post_init__(self) -> None:
        self.headers, self.data = cloudevents.encode(
            TrainModel(model="m"), source="test", time=datetime.now(UTC), id="1"
        )
        self.metadata = SimpleNamespace(
            num_delivered=self.attempt,
            sequence=SimpleNamespace(stream=7, consumer=7),
            timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        )
        self._client = self

    async def ack(self) -> None:
        self.told.append(("ack", 0.0))

    async def nak(self, delay: float = 0.0) -> None:
        self.told.append(("nak", delay))

    async def publish(self, subject: str, data: bytes) -> None:
        self.told.append((data.decode().split(maxsplit=1)[0], 0.0))


class Grave:
    """Takes dead letters."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.reasons: list[str] = []

    async def bury(self, message: Msg, event: Event[Any], reason: str, attempt: int) -> None:
        if self.full:
            raise Transient("no answer")
        self.reasons.append(reason)


async def processed(
    error: Exception | None, grave: Grave, attempt: int = 1, **given: Any
) -> Played:
    """Return the message after a handler raised `error`, or nothing."""

    async def handle(message: TrainModel, delivery: Delivery) -> None:
        assert (message.model, delivery.attempt, delivery.sequence) == ("m", attempt, 7)
        if error is not None:
            raise error

    message = Played(attempt)
    processor = Processor(catalog.TRAIN_MODEL, DURABLE, handle, grave, **given)
    await processor.process(cast("Msg", message))
    return message


async def test_what_is_handled_is_acknowledged() -> None:
    assert (await processed(None, Grave())).told == [("ack", 0.0)]


@pytest.mark.parametrize("attempt", range(1, 8))
async def test_what_failed_is_handled_again_after_a_growing_delay(attempt: int) -> None:
    for error in (Transient("not now"), Conflict("s", 1), ZeroDivisionError("a bug")):
        message = await processed(error, Grave(), attempt)
        assert message.told == [("nak", BACKOFF_S[min(attempt, len(BACKOFF_S)) - 1])]


async def test_the_delay_has_the_bound_that_was_asked_for() -> None:
    message = await processed(Transient("not now"), Grave(), 5, retry_delay_max_s=3.0)
    assert message.told == [("nak", 3.0)]


async def test_the_delay_is_what_the_error_says_if_it_says_one() -> None:
    error = Transient("later", retry_after_s=3600.0)
    assert (await processed(error, Grave(), retry_delay_max_s=3.0)).told == [("nak", 3600.0)]


async def test_what_was_cancelled_is_settled_and_not_buried() -> None:
    grave = Grave()
    assert (await processed(Cancelled("cancelled by ada"), grave)).told == [("ack", 0.0)]
    assert not grave.reasons


@pytest.mark.parametrize(
    ("error", "attempt"),
    [
        pytest.param(Rejected("the input is wrong"), 1, id="rejected"),
        pytest.param(Transient("the input is wrong"), 8, id="exhausted"),
    ],
)
async def test_what_will_never_work_is_buried_with_its_reason(
    error: Exception, attempt: int
) -> None:
    grave = Grave()
    assert (await processed(error, grave, attempt)).told == [("+TERM", 0.0)]
    assert grave.reasons == ["the input is wrong"]


async def test_what_cannot_be_buried_comes_again() -> None:
    message = await processed(Rejected("wrong"), Grave(full=True))
    assert message.told == [("nak", BACKOFF_S[0])]
