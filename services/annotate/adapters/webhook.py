"""Calls webhooks: one POST with a timeout, no redirects, only the answer's status is read."""

from __future__ import annotations

import asyncio

import httpx
from pydantic import SecretStr

from loopline.clock import Clock
from loopline.errors import LooplineError
from services.annotate.domain.webhooks import Notification, headers

DETAIL_LENGTH_MAX = 300  # characters


class Unreachable(LooplineError):
    """No answer came from the receiver."""


class WebhookSender:
    """Sends notifications.

    Args:
        clock: Time, for the timestamp that is signed.
        secret: Shared with receivers; empty sends without a signature.
        timeout_s: For one attempt.
        transport: How requests travel; the network if None.
    """

    def __init__(
        self,
        clock: Clock,
        secret: SecretStr,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._secret = secret
        self._timeout_s = timeout_s
        # trust_env is off: a proxy of the environment must not see what goes to an internal host.
        self._client = httpx.AsyncClient(
            timeout=timeout_s, follow_redirects=False, trust_env=False, transport=transport
        )

    async def send(self, notification: Notification) -> int:
        """Make one attempt; return the receiver's HTTP status.

        Raises:
            Unreachable: It did not answer in time, or not in HTTP.
        """
        sent = headers(notification, self._clock.now(), self._secret.get_secret_value())
        try:
            # httpx bounds each read by itself: an answer that drips would never end.
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "POST", notification.url, content=notification.body, headers=sent
                ) as answer,
            ):
                return answer.status_code
        except TimeoutError as error:
            raise Unreachable(f"no answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = f"{type(error).__name__}: {error}"[:DETAIL_LENGTH_MAX]
            raise Unreachable(reason) from error

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()
