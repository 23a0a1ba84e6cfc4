"""Names of datasets, models, flows, jobs and workspaces.

They are subject tokens and storage prefixes, so they are validated once, here.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from loopline.errors import Rejected

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
_NAME = re.compile(NAME_PATTERN)


def validate_name(what: str, value: str) -> str:
    """Return `value` if it is a valid name.

    Args:
        what: What is named, for the message: "dataset".
        value: The name.

    Raises:
        Rejected: It does not match `[a-z0-9][a-z0-9_-]{0,62}`.
    """
    if not _NAME.fullmatch(value):
        raise Rejected(
            f"{value!r} is not a valid {what} name: use 1 to 63 of a-z, 0-9, '-' and '_', "
            "beginning with a letter or a digit",
            what=what,
            value=value,
        )
    return value


def _validated(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} does not match {NAME_PATTERN}")
    return value


Name = Annotated[str, AfterValidator(_validated)]
"""A pydantic field type for names."""
