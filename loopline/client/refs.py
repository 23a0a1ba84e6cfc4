"""References as people write them.

`catalogue`, `catalogue@v3`, `catalogue@best`, `catalogue@4f1c…`.
"""

from __future__ import annotations

import re

from loopline.contracts import ArtefactKind, ArtefactRef
from loopline.errors import Rejected
from loopline.names import validate_name

_VERSION = re.compile(r"v(\d+)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def parse_ref(text: str, kind: ArtefactKind) -> tuple[ArtefactRef, str]:
    """Return the reference and the tag or alias in it ("" if none); no version means the head.

    >>> parse_ref("catalogue@v3", ArtefactKind.ARTEFACT_KIND_DATASET)[0].version
    3

    Raises:
        Rejected: It is none of the forms above.
    """
    name, _, version = text.partition("@")
    what = ArtefactKind.Name(kind).removeprefix("ARTEFACT_KIND_").lower()
    ref = ArtefactRef(kind=kind, name=validate_name(what, name))
    if not version:
        return ref, ""
    if number := _VERSION.fullmatch(version):
        ref.version = int(number[1])
        return ref, ""
    if _DIGEST.fullmatch(version):
        ref.digest = version
        return ref, ""
    try:
        return ref, validate_name("tag or alias", version)
    except Rejected as error:
        raise Rejected(
            f"{text!r}: after '@' goes v<number>, a tag, an alias or a 64-digit digest"
        ) from error


def show_ref(ref: ArtefactRef) -> str:
    """Return a reference as people write it: `catalogue@v3`."""
    return f"{ref.name}@v{ref.version}" if ref.version else ref.name
