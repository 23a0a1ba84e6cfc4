"""Whether a model version becomes what an alias points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopline.flows import PromoteRule, RuleFailed
from loopline.flows.contexts import Value


@dataclass(frozen=True, slots=True)
class Contender:
    """A model version as promotion sees it.

    Args:
        version: Its version.
        split_digest: Digest of the frozen test split it was evaluated on; empty if it was not.
        fields: What the rule sees of it.
    """

    version: int
    split_digest: str
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule decided.

    Args:
        promoted: Whether the alias moves to the candidate.
        reason: The rule and the figures it saw, or why it could not be applied.
    """

    promoted: bool
    reason: str


def judge(
    rule: PromoteRule,
    candidate: Contender,
    champion: Contender | None,
    comparison: Mapping[str, Value] | None = None,
) -> Verdict:
    """Decide whether `candidate` replaces `champion` (None: the alias points nowhere yet).

    Figures compare only where both were measured on the same items with the same labels. A rule
    never moves an alias back to an older version: people do; so an event that comes late, or twice,
    cannot undo what a newer one did.

    Args:
        rule: What decides.
        candidate: The version that was committed.
        champion: The version the alias points to.
        comparison: What the rule sees of the two, image by image; None if it does not ask.
    """
    if champion is not None and (obstacle := obstacle_to(candidate, champion)):
        return not_applied(rule, obstacle)
    context = {
        "candidate": candidate.fields,
        "has_champion": champion is not None,
        "champion": champion.fields if champion else {},
        "comparison": comparison or {},
    }
    try:
        holds = rule.rule.holds(context)
    except RuleFailed as error:
        return Verdict(promoted=False, reason=f"{_named(rule)} failed: {error.message}")
    figures = ", ".join(f"{n} = {_shown(v)}" for n, v in rule.rule.figures(context).items())
    seen = f" with {figures}" if figures else ""
    return Verdict(holds, f"{_named(rule)}: {rule.when!r} is {str(holds).lower()}{seen}")


def not_applied(rule: PromoteRule, reason: str) -> Verdict:
    """Return that a rule had nothing to decide on."""
    return Verdict(promoted=False, reason=f"{_named(rule)} was not applied: {reason}")


def obstacle_to(candidate: Contender, champion: Contender) -> str:
    """Return why two versions do not compare, "" if they do."""
    if candidate.version < champion.version:
        return f"v{champion.version} is newer than the candidate v{candidate.version}"
    for what, contender in (("candidate", candidate), ("champion", champion)):
        if not contender.split_digest:
            return f"the {what} v{contender.version} was not evaluated on the test split"
    if candidate.split_digest != champion.split_digest:
        return (
            f"v{candidate.version} was evaluated on the test split "
            f"{candidate.split_digest[:12]}, v{champion.version} on {champion.split_digest[:12]}: "
            "their figures do not compare"
        )
    return ""


def _named(rule: PromoteRule) -> str:
    return f"the rule for {rule.name}"


def _shown(value: Value) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
