"""Digests: sha256, 64 lower-case hex digits, of bytes or of a canonical form."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from loopline.errors import Rejected

DIGEST_LENGTH = 64  # hex digits


def sha256_hex(data: bytes | memoryview) -> str:
    """Return the sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:  # JSON is a union that no type here narrows
    """Return `value` as JSON with sorted keys, no spaces, UTF-8: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of(value: Any) -> str:  # as above
    """Return the sha256 of the canonical JSON of `value`.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    return sha256_hex(canonical_json(value))


def is_digest(value: str) -> bool:
    """Tell whether `value` is 64 lower-case hex digits."""
    return len(value) == DIGEST_LENGTH and all(c in "0123456789abcdef" for c in value)


@lru_cache
def code_digest(*packages: str) -> str:
    """Return the sha256 over the source files of Python packages or modules, by import name."""
    digest = hashlib.sha256()
    for package in sorted(packages):
        for path in _sources(package):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise Rejected(f"there is no Python package {package!r}", package=package)
    if spec.submodule_search_locations:
        return sorted(
            p for root in spec.submodule_search_locations for p in Path(root).rglob("*.py")
        )
    return [Path(spec.origin)] if spec.origin else []
