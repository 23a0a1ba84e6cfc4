"""Validators of fields of a flow document; they raise ValueError, pydantic adds the place."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from pydantic import AfterValidator

from loopline.errors import Rejected
from loopline.flows.contexts import Kind
from loopline.flows.rules import InvalidRule, compile_rule
from loopline.names import validate_name

JOB_SUFFIX_LENGTH = 9  # "-" and the first 8 digits of the run's id
MAX_JOB_LENGTH = 63 - JOB_SUFFIX_LENGTH
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def as_text(value: object) -> object:
    """Return `true` as "true": YAML reads `when: true` as a bool, and its writer meant the rule."""
    return str(value).lower() if isinstance(value, bool) else value


def compiles(kind: Kind, *, optional: bool = False) -> AfterValidator:
    """Return the validator of a rule; an empty one is allowed if `optional`."""

    def check(source: str) -> str:
        if optional and not source:
            return source
        try:
            compile_rule(kind, source)
        except InvalidRule as error:
            raise ValueError(error.message) from error
        return source

    return AfterValidator(check)


def bucket(value: str) -> str:
    """Return `value` if S3 can have a bucket of that name."""
    if not _BUCKET.fullmatch(value) or ".." in value:
        raise ValueError(f"{value!r} is not a bucket name: 3 to 63 of a-z, 0-9, '-' and '.'")
    return value


def job_name(value: str) -> str:
    """Return `value` if it is a name that leaves room for a run's suffix."""
    if len(value) > MAX_JOB_LENGTH:
        raise ValueError(f"{value!r} has {len(value)} characters; at most {MAX_JOB_LENGTH} here")
    try:
        return validate_name("job", value)
    except Rejected as error:
        raise ValueError(error.message) from error


def prefix(value: str) -> str:
    """Return `value` if it can begin the keys of delivered objects."""
    if value.startswith("/") or {".", ".."} & set(value.split("/")) or not value.isprintable():
        raise ValueError(
            f"{value!r} is not a prefix: no leading '/', no '.' or '..' parts, printable"
        )
    return value


def webhook_url(value: str) -> str:
    """Return `value` if it is empty or a URL without secrets: a flow is shown for ever."""
    url = urlsplit(value)
    if value and (url.scheme not in ("http", "https") or not url.hostname):
        raise ValueError(f"{value!r} is not an http or https URL")
    if url.username or url.password:
        raise ValueError("no credentials in a webhook URL: a flow is kept, and shown, for ever")
    return value


def json_object(value: object) -> object:
    """Return `value` if it holds nothing but JSON."""
    _check_json(value, "")
    return value


def _check_json(value: object, place: str) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not a text; quote it")
            _check_json(part, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_json(part, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place}: {value} is not a finite number")
    elif not isinstance(value, str | int | float | bool | None):
        raise ValueError(f"{place}: a {type(value).__name__} is not JSON; quote it to give a text")
