"""Parameters as people write them: NAME=VALUE."""

from __future__ import annotations

import json

from loopline.errors import Rejected


def parameter(text: str) -> tuple[str, object]:
    """Return name and value of "NAME=VALUE"; the value is JSON, or else text.

    Example:
        >>> parameter("epochs=3"), parameter("backbone=lcnet_050")
        (('epochs', 3), ('backbone', 'lcnet_050'))
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise Rejected(f"--set {text!r}: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
