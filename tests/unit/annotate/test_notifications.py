"""Receivers of all kinds: signed webhooks, real mail, a chat, redelivery on request."""

from __future__ import annotations

import asyncio
import email
import json
import socket
import threading
from collections.abc import Iterator
from email import policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from loopline.clock import SystemClock
from loopline.contracts import catalog
from loopline.errors import Rejected, Transient
from loopline.testing.memory import delivery
from services.annotate.adapters.receivers import (
    Chats,
    Mail,
    MailSettings,
    Receivers,
    Webhooks,
)
from services.annotate.domain.webhooks import headers
from tests.unit.annotate.desk import JOB, Desk

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Box:
    """What a mail server took."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.answer = "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take one letter."""
        assert isinstance(envelope.content, bytes)
        self.letters.append(envelope.content)
        return self.answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def box() -> Iterator[tuple[Box, int]]:
    """A real mail server."""
    handler, port = Box(), free_port()
    server = Controller(handler, hostname="127.0.0.1", port=port)
    server.start()
    yield handler, port
    server.stop()


def use(desk: Desk, port: int = 1, chats: Path | None = None) -> None:
    """Let mail go to a port and chats be those in a file."""
    settings = MailSettings("127.0.0.1", port, "loopline@example.org", "", SecretStr(""), "none", 5)
    desk.service.receivers = Receivers(
        Webhooks(desk.service.webhooks), Mail(settings, desk.clock), Chats(chats)
    )


async def test_mail_says_what_happened_and_brings_the_event(
    desk: Desk, box: tuple[Box, int]
) -> None:
    handler, port = box
    use(desk, port)
    notify = ["mailto:olga@example.org"]
    await desk.tell(await desk.open(await desk.command(3, webhook_url="", notify=notify)))
    [raw] = handler.letters
    letter = email.message_from_bytes(raw, policy=policy.default)
    assert letter["To"] == "olga@example.org"
    assert letter["Subject"] == "Labeling job relabel: in progress"
    body: Any = letter.get_body()
    assert "relabel opened: 3 items of catalogue to label" in body.get_content()
    [attached] = letter.iter_attachments()
    assert json.loads(attached.get_content())["type"] == "labeling_job.opened"
    [told] = desk.bus.sent(catalog.NOTIFICATION_SENT)
    assert (told.outcome, told.url) == ("delivered", "mailto:olga@example.org")
    assert told.id in letter["Message-ID"]


async def test_mail_is_tried_again_unless_it_is_refused_for_good(
    desk: Desk, box: tuple[Box, int]
) -> None:
    handler, port = box
    notify = ["mailto:olga@example.org"]
    job = await desk.open(await desk.command(webhook_url="", notify=notify))
    use(desk, free_port())
    with pytest.raises(Transient, match=r"mailto:olga@example\.org: ConnectionRefused"):
        await desk.tell(job)
    use(desk, port)
    handler.answer = "451 later"
    with pytest.raises(Transient, match="SMTP 451"):
        await desk.tell(job)
    handler.answer = "550 no such user"
    with pytest.raises(Rejected, match="given up after 1 attempts: SMTP 550"):
        await desk.tell(job)


class _Chat(BaseHTTPRequestHandler):
    taken: ClassVar[list[dict[str, Any]]]

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        self.taken.append(json.loads(self.rfile.read(size)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
async def test_a_chat_is_told_through_apprise(desk: Desk, tmp_path: Path) -> None:
    class Chat(_Chat):
        taken: ClassVar[list[dict[str, Any]]] = []

    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chats = tmp_path / "chats.json"
    chats.write_text(json.dumps({"team": f"json://127.0.0.1:{server.server_port}/hook"}))
    use(desk, chats=chats)
    job = await desk.open(await desk.command(webhook_url="", notify=["chat:team", "chat:none"]))
    await desk.service.on_labeling_job_committed(job.message, delivery())
    team, none = desk.bus.sent(catalog.SEND_NOTIFICATION)
    await desk.service.on_send_notification(team, delivery())
    await asyncio.to_thread(server.shutdown)
    server.server_close()
    [said] = Chat.taken
    assert said["title"] == "Labeling job relabel: in progress"
    with pytest.raises(Transient, match="no chat 'none' is configured"):
        await desk.service.on_send_notification(none, delivery())


async def test_each_receiver_is_told_by_itself_and_again_on_request(desk: Desk) -> None:
    job = await desk.open(await desk.command(notify=["chat:none"]))
    await desk.service.on_labeling_job_committed(job.message, delivery())
    await desk.service.on_labeling_job_committed(job.message, delivery())  # delivered twice
    sent = desk.bus.sent(catalog.SEND_NOTIFICATION)
    assert [command.receiver for command in sent] == ["http://receiver/hook", "chat:none"]
    path = f"/v1/jobs/{JOB}/notifications"
    again = await desk.client.post(f"{path}/redeliver", json={"receiver": "http://receiver/hook"})
    assert again.json() == {"job": JOB, "version": 1, "receivers": ["http://receiver/hook"]}
    for command in desk.bus.sent(catalog.SEND_NOTIFICATION)[::2]:
        await desk.service.on_send_notification(command, delivery())
    first, second = desk.receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    told = (await desk.client.get(path)).json()["notifications"]
    assert [(row["outcome"], row["type"]) for row in told] == [
        ("delivered", "labeling_job.opened")
    ] * 2
    nobody = await desk.client.post(f"{path}/redeliver", json={"receiver": "http://else/"})
    assert nobody.status_code == 422


async def test_a_review_and_a_reopening_are_told_too(desk: Desk) -> None:
    await desk.open(await desk.command(1, review=True))
    await desk.label(0)
    await desk.handle_submissions()
    await desk.tell(await desk.job())
    await desk.client.post(f"/v1/jobs/{JOB}/stop")
    await desk.client.post(f"/v1/jobs/{JOB}/reopen")
    await desk.tell(await desk.job())
    types = [json.loads(request.content)["type"] for request in desk.receiver.requests]
    assert types == ["labeling_job.on_review", "labeling_job.reopened"]


async def test_the_signature_is_good_for_the_standards_own_library(desk: Desk) -> None:
    job = await desk.open(await desk.command())
    await desk.service.on_labeling_job_committed(job.message, delivery())
    [command] = desk.bus.sent(catalog.SEND_NOTIFICATION)
    told = await desk.service.notifications.asked(command)
    sent = headers(told, SystemClock().now(), SECRET)
    assert Webhook(SECRET).verify(told.body, sent) == json.loads(told.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(told.body + b" ", sent)
