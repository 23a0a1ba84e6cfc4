"""Who is told of a labeling job, and how: a webhook, an address, a chat."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

import orjson
from pydantic import SecretStr

from loopline.clock import Clock
from loopline.errors import LooplineError, Rejected
from services.annotate.adapters.webhook import DETAIL_LENGTH_MAX, Unreachable, WebhookSender
from services.annotate.domain.jobs import CHAT, MAILTO
from services.annotate.domain.webhooks import GONE, Notification, is_delivered, without_secrets


class GaveUp(LooplineError):
    """The receiver will never take it."""


class Channel(Protocol):
    """Tells one kind of receiver."""

    async def tell(self, receiver: str, notification: Notification) -> str:
        """Make one attempt; return what to say of it.

        Raises:
            Unreachable: It may be taken later.
            GaveUp: It will never be taken.
        """


@dataclass(frozen=True, slots=True)
class MailSettings:
    """How mail leaves.

    Attributes:
        host: SMTP server; "" if there is none.
        port: Its port.
        sender: The `From` address.
        user: Who signs in; "" for nobody.
        password: With it.
        tls: "none", "starttls" or "tls".
        timeout_s: For one attempt.
    """

    host: str
    port: int
    sender: str
    user: str
    password: SecretStr
    tls: str
    timeout_s: float


class Webhooks:
    """Standard Webhooks over HTTP."""

    def __init__(self, sender: WebhookSender) -> None:
        self.sender = sender

    async def tell(self, receiver: str, notification: Notification) -> str:
        """See `Channel`."""
        del receiver
        status = await self.sender.send(notification)
        if status == GONE:
            raise GaveUp(f"HTTP {status}")
        if not is_delivered(status):
            raise Unreachable(f"HTTP {status}")
        return f"HTTP {status}"


class Mail:
    """E-mail over SMTP, plain text with the JSON attached.

    Args:
        settings: How mail leaves.
        clock: Time.
    """

    def __init__(self, settings: MailSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def tell(self, receiver: str, notification: Notification) -> str:
        """See `Channel`."""
        if not self._settings.host:
            raise Unreachable("no mail server is configured (LOOPLINE_SMTP_HOST)")
        message = self._message(receiver.removeprefix(MAILTO), notification)
        return await asyncio.to_thread(self._send, message)

    def _message(self, address: str, notification: Notification) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self._settings.sender, address
        message["Subject"] = notification.title
        message["Date"] = format_datetime(self._clock.now())
        # The same for every attempt: mail programs drop repetitions by it.
        message["Message-ID"] = f"<{notification.id}@loopline>"
        message.set_content(notification.text + "\n")
        message.add_attachment(
            notification.body, maintype="application", subtype="json", filename="event.json"
        )
        return message

    def _send(self, message: EmailMessage) -> str:
        settings = self._settings
        context = ssl.create_default_context()
        try:
            if settings.tls == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    settings.host, settings.port, timeout=settings.timeout_s, context=context
                )
            else:
                server = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)
            with server:
                if settings.tls == "starttls":
                    server.starttls(context=context)
                if settings.user:
                    server.login(settings.user, settings.password.get_secret_value())
                server.send_message(message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
            raise _refused(error) from error
        except (smtplib.SMTPException, OSError) as error:
            reason = f"{type(error).__name__}: {error}"[:DETAIL_LENGTH_MAX]
            raise Unreachable(reason) from error
        return "accepted by the mail server"


def _refused(error: smtplib.SMTPException) -> LooplineError:
    """A permanent refusal (5xx) is not tried again; a passing one (4xx) is."""
    code, text = 0, str(error)
    if isinstance(error, smtplib.SMTPResponseException):
        code, text = error.smtp_code, str(error.smtp_error)
    elif isinstance(error, smtplib.SMTPRecipientsRefused):
        code, raw = next(iter(error.recipients.values()))
        text = raw.decode(errors="replace")
    detail = f"SMTP {code} {text}"[:DETAIL_LENGTH_MAX]
    return GaveUp(detail) if code >= 500 else Unreachable(detail)


class Chats:
    """Slack, Teams, Telegram, Matrix and a hundred more, through Apprise.

    Args:
        file: JSON object of names and Apprise URLs, which hold secrets; None if there are none.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def url(self, name: str) -> str:
        """Return the Apprise URL of a chat; Rejected if none of that name is configured."""
        if self._file is None or not self._file.is_file():
            raise Rejected("no chats are configured (LOOPLINE_CHATS_FILE)")
        chats = orjson.loads(self._file.read_bytes())
        if name not in chats:
            raise Rejected(f"no chat {name!r} is configured")
        return str(chats[name])

    async def tell(self, receiver: str, notification: Notification) -> str:
        """See `Channel`."""
        try:
            url = self.url(receiver.removeprefix(CHAT))
        except Rejected as error:
            raise Unreachable(error.message) from error
        if not await asyncio.to_thread(_notify, url, notification):
            raise Unreachable("the chat did not take it")
        return "taken by the chat"


def _notify(url: str, notification: Notification) -> bool:
    import apprise  # takes 0.3 s: only where somebody wants it

    told = apprise.Apprise()
    if not told.add(url):
        raise GaveUp("the chat's URL is none that Apprise knows")
    return bool(told.notify(title=notification.title, body=notification.text))


class Receivers:
    """Every kind of receiver.

    Args:
        webhooks: Tells URLs.
        mail: Tells addresses.
        chats: Tells chats.
    """

    def __init__(self, webhooks: Channel, mail: Channel, chats: Channel) -> None:
        self.webhooks = webhooks
        self._mail = mail
        self._chats = chats

    async def tell(self, receiver: str, notification: Notification) -> str:
        """Make one attempt; see `Channel`."""
        channel = self.webhooks
        if receiver.startswith(MAILTO):
            channel = self._mail
        elif receiver.startswith(CHAT):
            channel = self._chats
        return await channel.tell(receiver, notification)


def place_of(receiver: str) -> str:
    """Return a receiver fit for logs and events: a URL without its secrets."""
    return receiver if receiver.startswith((MAILTO, CHAT)) else without_secrets(receiver)
