"""Whether a training that was done again came out the same, and if not, what was not as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopline.digests import canonical_json

ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was."""

    what: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a training is made from.

    Attributes:
        dataset: The dataset version for people, and the digest of its tree.
        parameters: Complete, nested.
        code: Digest of the source of recipe and loop.
        machine: What the bits depend on of the machine: "cpu", "python", "package torch", ...
    """

    dataset: tuple[str, str]
    parameters: Mapping[str, Any]
    code: str
    machine: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """What a training made.

    Attributes:
        files: Digest by name.
        metrics: On the test split.
    """

    files: Mapping[str, str]
    metrics: Mapping[str, float]


def causes(was: Ingredients, now: Ingredients) -> list[Difference]:
    """Return what a training was made from that is not the same.

    Example:
        >>> one = Ingredients(("shop@v1", "a"), {"seed": 0}, "c", {"cpu": "x"})
        >>> other = Ingredients(("shop@v1", "a"), {"seed": 1}, "c", {"cpu": "x"})
        >>> causes(one, other)
        [Difference(what='parameter seed', was='0', now='1')]
    """
    found = []
    if was.dataset[1] != now.dataset[1]:
        one, other = (f"{name} {digest[:12]}" for name, digest in (was.dataset, now.dataset))
        found.append(Difference("dataset", one, other))
    found += _compared("parameter ", flat(was.parameters), flat(now.parameters))
    if was.code != now.code:
        found.append(Difference("code", was.code[:12], now.code[:12]))
    return found + _compared("", was.machine, now.machine)


def effects(was: Result, now: Result) -> list[Difference]:
    """Return what came out that is not the same."""
    metrics = ({name: repr(value) for name, value in r.metrics.items()} for r in (was, now))
    files = ({name: digest[:12] for name, digest in r.files.items()} for r in (was, now))
    return _compared("file ", *files) + _compared("metric ", *metrics)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested parameters by their path: {"augmentation.noise": "0.02"}."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = canonical_json(value).decode()
    return found


def verdict(model: str, found_causes: list[Difference], found_effects: list[Difference]) -> str:
    """Return one sentence for people.

    Args:
        model: "helmets@v3".
        found_causes: What it was made from that is not the same.
        found_effects: What came out that is not the same.
    """
    if not found_effects:
        return f"{model} reproduced: identical to the last bit"
    because = ", ".join(_shown(cause) for cause in found_causes[:3])
    more = f" and {len(found_causes) - 3} more" if len(found_causes) > 3 else ""
    what = ", ".join(effect.what for effect in found_effects[:3])
    reason = f"not as it was: {because}{more}" if because else "though nothing else does"
    return f"{model} not reproduced: {what} differ; {reason}"


def _shown(difference: Difference) -> str:
    return f"{difference.what} ({difference.was} -> {difference.now})"


def _compared(prefix: str, was: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(f"{prefix}{name}", was.get(name, ABSENT), now.get(name, ABSENT))
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]
