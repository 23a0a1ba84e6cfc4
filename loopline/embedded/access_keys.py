"""The key that signs tokens, and the public half that services check them with: made once.

`signing.json` is for the console, and for whoever owns the data folder: with it anybody can be
anybody. `jwks.json` holds no secret; it is kept as private as everything else of the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loopline.access import SigningKey, TokenIssuer
from loopline.access.links import FIRST_USER, sign_in_link
from loopline.access.roles import Role
from loopline.embedded.files import private_folder, write_private_json


@dataclass(frozen=True)
class AccessKeys:
    """The key files of a platform.

    Attributes:
        folder: Where they are.
        key: The signing key.
    """

    folder: Path
    key: SigningKey

    @property
    def signing_file(self) -> Path:
        """The private key, a JWK."""
        return self.folder / "signing.json"

    @property
    def public_file(self) -> Path:
        """The JWK set of public keys."""
        return self.folder / "jwks.json"

    @classmethod
    def load_or_generate(cls, folder: Path) -> AccessKeys:
        """Return the keys of a folder, made if there are none yet."""
        private_folder(folder)
        path = folder / "signing.json"
        keys = cls(folder, SigningKey.load(path) if path.exists() else SigningKey.generate())
        if not path.exists():
            write_private_json(path, keys.key.jwk())
        if not keys.public_file.exists():  # more keys may be put there by hand
            write_private_json(keys.public_file, {"keys": [keys.key.public_jwk()]})
        return keys

    def link(
        self, console_url: str, workspace: str, name: str = FIRST_USER, role: Role = Role.ADMIN
    ) -> str:
        """Return a link that signs a person in at the console, once."""
        return sign_in_link(TokenIssuer(self.key, workspace), console_url, name=name, role=role)
