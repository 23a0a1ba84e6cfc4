"""What a webhook is told, how it is signed, and when it is tried again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from loopline.errors import Rejected
from services.annotate.domain.webhooks import (
    headers,
    is_delivered,
    next_attempt_in_s,
    notification,
    signing_key,
    without_secrets,
)
from services.annotate.settings import AnnotateSettings

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENT = notification(
    "http://x/", "labeling_job.opened", "default/relabel", 1, AT, {"job": "relabel"}
)


def test_every_attempt_has_the_same_id_and_body_and_other_commits_another() -> None:
    again = notification(
        "http://x/", "labeling_job.opened", "default/relabel", 1, AT, {"job": "relabel"}
    )
    later = notification("http://x/", "labeling_job.completed", "default/relabel", 2, AT, {})
    assert again == SENT
    assert later.id != SENT.id
    assert json.loads(SENT.body) == {
        "type": "labeling_job.opened",
        "timestamp": "2026-01-02T03:04:05+00:00",
        "data": {"job": "relabel"},
    }


def test_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries, computed anew."""
    key = b"0123456789abcdef0123456789abcdef"
    secret = "whsec_" + base64.b64encode(key).decode()
    made = headers(SENT, AT, secret)
    signed = f"{made['webhook-id']}.{made['webhook-timestamp']}.".encode() + SENT.body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert made["webhook-signature"] == f"v1,{wanted}"
    assert made["webhook-timestamp"] == str(int(AT.timestamp()))


def test_timestamp_is_that_of_the_attempt() -> None:
    later = headers(SENT, AT + timedelta(hours=1), "secret")
    assert int(later["webhook-timestamp"]) == int(AT.timestamp()) + 3600
    assert later["webhook-signature"] != headers(SENT, AT, "secret")["webhook-signature"]


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in headers(SENT, AT, "")


@pytest.mark.parametrize("secret", ["whsec_***", "whsec_"])
def test_a_broken_secret_is_refused(secret: str) -> None:
    with pytest.raises(Rejected):
        signing_key(secret)


def test_attempts_are_spread_over_days_and_end() -> None:
    delays_s = AnnotateSettings().webhook_delays_s
    assert next_attempt_in_s(1, delays_s) == 5
    assert next_attempt_in_s(len(delays_s), delays_s) == 43_200
    assert next_attempt_in_s(len(delays_s) + 1, delays_s) is None
    assert sum(delays_s) > 2 * 86_400
    assert list(delays_s) == sorted(delays_s)


@pytest.mark.parametrize(
    ("status", "is_there"), [(200, True), (204, True), (302, False), (500, False)]
)
def test_only_a_2xx_is_a_delivery(status: int, is_there: bool) -> None:
    assert is_delivered(status) is is_there


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:pw@example.org:8443/hook?token=1#x", "https://example.org:8443/hook"),
        ("http://[::1]:80/h", "http://[::1]:80/h"),
    ],
)
def test_urls_are_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
