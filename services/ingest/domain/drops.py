"""Why an object of the customer's bucket does not become an item."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum

from loopline.errors import Rejected


class Reason(StrEnum):
    """The reasons, as they stand in the drop report."""

    EMPTY = "empty"  # no bytes
    TOO_MANY_BYTES = "too_many_bytes"  # more than the service reads of one object
    NOT_AN_IMAGE = "not_an_image"  # none of the formats, whatever its name says
    CORRUPT = "corrupt"  # begins as an image and cannot be decoded to its end
    TOO_SMALL = "too_small"  # its shorter side
    TOO_LARGE = "too_large"  # its pixels, told by its header
    DELETED = "deleted_after_listing"
    CHANGED = "changed_after_listing"
    EXACT_DUPLICATE = "exact_duplicate"  # the same bytes as another object
    NEAR_DUPLICATE = "near_duplicate"  # the same picture as another image


@dataclass(frozen=True, slots=True)
class Drop:
    """One object that was dropped.

    Args:
        key: Its key.
        reason: Why.
        detail: The figures, for people.
        repeats: Of a duplicate, the key or asset that stays.
        picture: Of what could be decoded, the thumbprint's bytes (28 x 28 grey pixels) in base64.
    """

    key: str
    reason: Reason
    detail: str = ""
    repeats: str = ""
    picture: str = ""


def picture_of(thumbprint: bytes) -> str:
    """Return a thumbprint as a drop shows it."""
    return b64encode(thumbprint).decode()


class Unfit(Rejected):
    """Raised where an object is looked at; becomes a `Drop`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
