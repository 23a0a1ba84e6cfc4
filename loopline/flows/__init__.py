"""Flows: the document, its rules and what they see.

Shared by the router, the SDK, the command line and everything that takes a CEL expression from
users.
"""

from loopline.flows.contexts import FIELDS, Kind
from loopline.flows.document import (
    ApplyRule,
    Deliver,
    Flow,
    PromoteRule,
    Relabel,
    RouteRule,
    SampleRule,
    TrainRule,
)
from loopline.flows.problems import InvalidFlow, Problem
from loopline.flows.rules import InvalidRule, Rule, RuleFailed, compile_rule

__all__ = [
    "FIELDS",
    "ApplyRule",
    "Deliver",
    "Flow",
    "InvalidFlow",
    "InvalidRule",
    "Kind",
    "Problem",
    "PromoteRule",
    "Relabel",
    "RouteRule",
    "Rule",
    "RuleFailed",
    "SampleRule",
    "TrainRule",
    "compile_rule",
]
