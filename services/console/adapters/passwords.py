"""Passwords: argon2id, a few at a time, since each takes 64 MiB and a tenth of a second."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2


class Passwords:
    """Hashes and checks passwords with argon2-cffi's defaults (RFC 9106, low memory)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """Return what to keep of a password."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether a password is the one; as slow where there is none to compare with."""
        if not password_hash and not self._nobody:
            self._nobody = await self.hash("nobody's")
        async with self._slots:
            same = await asyncio.to_thread(self._verify, password_hash or self._nobody, password)
        return same and bool(password_hash)

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether it was hashed with weaker settings than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
