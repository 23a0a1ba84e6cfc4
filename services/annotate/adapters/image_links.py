"""Links to images for who has no token: another program's page shows them, until they end."""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr

from loopline.clock import Clock
from loopline.errors import Rejected, Unauthenticated

PURPOSE = b"loopline image link"


class ImageLinks:
    """Makes and checks them.

    Args:
        base_url: Where others reach this service; "" for nowhere.
        secret: Signs links.
        clock: Time.
        lifetime_s: How long a link is good.
    """

    def __init__(self, base_url: str, secret: SecretStr, clock: Clock, lifetime_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = secret.get_secret_value().encode()
        self._clock = clock
        self._lifetime_s = lifetime_s

    def check_possible(self) -> None:
        """Refuse links that nobody could follow, or anybody could make.

        Raises:
            Rejected: There is no address, or no secret.
        """
        if not self._base_url or not self._key:
            raise Rejected(
                "images are linked only with LOOPLINE_ANNOTATE_URL and LOOPLINE_LABEL_STUDIO_SECRET"
            )

    def link(self, digest: str) -> str:
        """Return a URL of an image."""
        until = int(self._clock.now().timestamp() + self._lifetime_s)
        path = f"{self._base_url}/v1/label-studio/images/{digest}"
        return f"{path}?until={until}&signature={self._signature(digest, until)}"

    def check(self, digest: str, until: int, signature: str) -> None:
        """Refuse a link that is not ours, or has ended.

        Raises:
            Unauthenticated: It is so.
        """
        expected = self._signature(digest, until)
        if not self._key or not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Unauthenticated("this link to an image is not signed by this platform")
        if until < self._clock.now().timestamp():
            raise Unauthenticated("this link to an image has ended")

    def _signature(self, digest: str, until: int) -> str:
        said = b"\n".join([PURPOSE, digest.encode(), str(until).encode()])
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()
