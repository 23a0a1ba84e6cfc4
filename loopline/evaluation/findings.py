"""What an evaluation hands back."""

from __future__ import annotations

from dataclasses import dataclass

from loopline.evaluation.outcomes import Outcomes
from loopline.evaluation.report import Report


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found on one split.

    Args:
        report: For people and rules.
        outcomes: Image by image, for comparing with another model.
    """

    report: Report
    outcomes: Outcomes
