"""docs/flows.md: its documents are valid, its rules compile, and it has every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loopline.flows import Flow, Kind, compile_rule
from loopline.flows.contexts import FIELDS, Field
from loopline.flows.rules import FUNCTIONS

PAGE = Path(__file__).parents[3] / "docs" / "flows.md"
TEXT = PAGE.read_text()
_BLOCK = re.compile(r"^```(\w+)(?: ([\w-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2], match[3]) for match in _BLOCK.finditer(TEXT)]
DOCUMENTS = [text for language, _, text in BLOCKS if language == "yaml"]
RULES = [
    (Kind(kind), rule)
    for language, kind, text in BLOCKS
    if language == "cel"
    for rule in text.strip().splitlines()
]
FIELD_ROWS = [
    (f"{name}.{inner}" if inner else name, field)
    for kind in Kind
    for name, variable in FIELDS[kind].items()
    for inner, field in (*variable.fields.items(), ("", variable))
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_document_is_valid(text: str) -> None:
    assert Flow.parse(text).datasets


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_rule_compiles(kind: Kind, rule: str) -> None:
    assert compile_rule(kind, rule.partition("  //")[0]).source


def test_there_are_examples_of_every_kind() -> None:
    assert {kind for kind, _ in RULES} == set(Kind)
    assert DOCUMENTS


@pytest.mark.parametrize(("path", "field"), FIELD_ROWS)
def test_field_is_documented(path: str, field: Field) -> None:
    """A row `| path | type | about |` each, as `contexts` has it."""
    row = f"| `{path}` | `{field.type}` | {field.about} |"
    assert row in TEXT, f"docs/flows.md lacks: {row}"


def test_functions_are_documented() -> None:
    missing = {name for name in FUNCTIONS if f"`{name}`" not in TEXT}
    assert not missing
