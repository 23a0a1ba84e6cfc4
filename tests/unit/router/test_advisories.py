"""Advisories of exhausted deliveries: whose message it was, and the letter that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS
from loopline.errors import Rejected
from services.router.adapters.advisories import obituary
from services.router.domain.advisories import Exhausted, Handler, handler_of, parse

ADVISORY = {
    "type": "io.nats.jetstream.advisory.v1.max_deliver",
    "id": "zvXDqMm8UsWZ0q3MnVjHzn",
    "timestamp": "2026-01-01T00:00:00.0Z",
    "stream": "WORK",
    "consumer": "default_trainer_train_model_gpu",
    "stream_seq": 7,
    "deliveries": 8,
}


def test_advisory_is_read() -> None:
    assert parse(json.dumps(ADVISORY).encode()) == Exhausted(
        "WORK", 7, "default_trainer_train_model_gpu", 8
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", json.dumps({**ADVISORY, "stream_seq": "x"}).encode()]
)
def test_anything_else_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected, match="not an advisory"):
        parse(body)


@pytest.mark.parametrize("workspace", ["default", "my_team"])
@pytest.mark.parametrize("pool", ["default", "gpu_a"])
def test_every_durable_of_the_catalog_is_recognised(workspace: str, pool: str) -> None:
    for event in EVENTS:
        for durable in event.durables:
            name = event.durable_name(durable.service, workspace, pool)
            assert handler_of(name, workspace) == Handler(durable.service, event.key)


@pytest.mark.parametrize(
    "consumer", ["", "ephemeral", "default_router_unknown", "other_router_dataset_committed"]
)
def test_other_consumers_are_not(consumer: str) -> None:
    assert handler_of(consumer, "default") is None


def test_dead_letter_says_all_there_is_to_know() -> None:
    headers = {"ce-id": "1", "ce-type": "t", "Nats-Msg-Id": "train_model/1", "traceparent": "00-a"}
    subject, found = obituary(
        Exhausted("WORK", 7, "default_trainer_train_model_gpu", 8),
        "loopline.default.cmd.train.gpu",
        headers,
    )
    assert subject == catalog.dead_subject("default", "trainer", "train_model")
    expected: dict[str, Any] = {
        "ce-id": "1",
        "ce-type": "t",
        "traceparent": "00-a",
        "Loopline-Dead-Reason": "delivered 8 times, never settled: "
        "its worker died or hung each time",
        "Loopline-Dead-Stream": "WORK",
        "Loopline-Dead-Sequence": "7",
        "Loopline-Dead-Subject": "loopline.default.cmd.train.gpu",
        "Loopline-Dead-Consumer": "default_trainer_train_model_gpu",
        "Loopline-Dead-Attempts": "8",
        "Nats-Msg-Id": "dead/WORK/7/default_trainer_train_model_gpu",
    }
    assert found == expected


def test_consumer_that_is_not_ours_is_refused() -> None:
    with pytest.raises(Rejected, match="'theirs' is no consumer of ours"):
        obituary(Exhausted("WORK", 7, "theirs", 8), "loopline.default.cmd.train.gpu", {})
