"""What a webhook is told, how it is signed, and when it is tried again.

Follows Standard Webhooks (https://www.standardwebhooks.com): an id that stays the same over
retries, so that receivers can drop repetitions, and an HMAC-SHA256 over id, timestamp and body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

from loopline.digests import canonical_json, digest_of
from loopline.errors import Rejected

SECRET_PREFIX = "whsec_"  # noqa: S105 - how secrets begin
ID_HEX_DIGITS = 32
GONE = 410  # the receiver says that it will never listen again


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one URL; equal for every attempt.

    Attributes:
        id: The `webhook-id`.
        url: Where to; for other receivers "mailto:..." or "chat:...".
        body: JSON bytes.
        title: One line for people.
        text: A few lines for people.
        type: What happened.
    """

    id: str
    url: str
    body: bytes
    title: str = ""
    text: str = ""
    type: str = ""


def notification(
    url: str, event_type: str, subject: str, version: int, at: datetime, data: Mapping[str, object]
) -> Notification:
    """Return the notification of one commit.

    Args:
        url: Where to.
        event_type: "labeling_job.opened", ...
        subject: The commit's subject, which with `version` makes the id.
        version: The commit's version.
        at: When it was committed, UTC.
        data: What is told.
    """
    body = canonical_json({"type": event_type, "timestamp": at.isoformat(), "data": dict(data)})
    id_ = "msg_" + digest_of([subject, version])[:ID_HEX_DIGITS]
    return Notification(id_, url, body, _title(data), _text(data), event_type)


def _title(data: Mapping[str, object]) -> str:
    return f"Labeling job {data.get('job', '')}: {str(data.get('state', '')).replace('_', ' ')}"


def _text(data: Mapping[str, object]) -> str:
    told = [str(data.get("summary", "")), f"{data.get('items', 0)} items"]
    if data.get("instructions"):
        told.append(str(data["instructions"]))
    return "\n\n".join(told)


def signing_key(secret: str) -> bytes:
    """Return the key of a secret: base64 after "whsec_", or any other text as it is.

    Raises:
        Rejected: What follows "whsec_" is not base64, or is empty.
    """
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise Rejected("the webhook secret is not base64 after 'whsec_'") from error
    if not key:
        raise Rejected("the webhook secret is empty")
    return key


def headers(sent: Notification, at: datetime, secret: str) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        sent: What is told.
        at: The moment of this attempt, UTC; receivers refuse old ones.
        secret: The secret shared with the receiver; empty leaves the signature out.
    """
    timestamp = str(int(at.timestamp()))
    made = {
        "content-type": "application/json",
        "user-agent": "loopline-webhook/1",
        "webhook-id": sent.id,
        "webhook-timestamp": timestamp,
    }
    if secret:
        signed = b".".join((sent.id.encode(), timestamp.encode(), sent.body))
        mac = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
        made["webhook-signature"] = "v1," + base64.b64encode(mac).decode()
    return made


def next_attempt_in_s(attempt: int, delays_s: Sequence[float]) -> float | None:
    """Return when to try again after attempt number `attempt` (from 1) failed; None to give up."""
    return delays_s[attempt - 1] if attempt <= len(delays_s) else None


def is_delivered(status: int) -> bool:
    """Tell whether an HTTP status says that the receiver has it; redirects are not followed."""
    return 200 <= status < 300


def without_secrets(url: str) -> str:
    """Return the URL without user, password, query and fragment, fit for logs and events."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
