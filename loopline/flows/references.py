"""What a CEL expression refers to: fields, functions, comprehension depth.

The compiler accepts any identifier and any field; a typing error in a rule would show itself at the
first event, days later. Reading the references out of the source lets `flow put` refuse it at once.
This decides what is referred to; whether that is documented is decided in `rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import cel

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_KEYWORDS = frozenset({"true", "false", "null", "in"})
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<string>[rRbB]{0,2}(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
        |"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    | (?P<number>(?:0x[0-9a-fA-F]+|\d*\.?\d+(?:[eE][+-]?\d+)?)[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable and the fields selected from it: `dataset.statistics['items']` is a path of three.

    Args:
        path: The variable, then the fields and the literal keys.
        column: Where it stands in the source, from 1.
    """

    path: tuple[str, ...]
    column: int

    def __str__(self) -> str:
        head, *rest = self.path
        return head + "".join(f".{p}" if p.isidentifier() else f"[{p!r}]" for p in rest)


@dataclass(frozen=True, slots=True)
class References:
    """Everything an expression refers to.

    Args:
        fields: Variables with the fields selected from them, in order; comprehension variables left
        out. macro_depth: How deep comprehensions (`exists`, `map`, ...) nest.
    """

    fields: tuple[Reference, ...]
    macro_depth: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def references(source: str) -> References:
    """Return what a CEL expression, known to compile, refers to.

    >>> [str(field) for field in references("a.b > 1 && c['x:y'].exists(i, i.d == e)").fields]
    ['a.b', "c['x:y']", 'e']
    """
    tokens = list(_tokens(source))
    scopes: list[str] = []  # per open parenthesis: the variable that a macro binds, or ""
    found: list[Reference] = []
    depth = 0
    for i, token in enumerate(tokens):
        if token.text == "(" and token.kind == "sign":
            scopes.append(_bound_variable(tokens, i))
            depth = max(depth, sum(1 for scope in scopes if scope))
        elif token.text == ")" and token.kind == "sign" and scopes:
            scopes.pop()
        elif _is_variable(tokens, i) and token.text not in scopes:
            found.append(Reference((token.text, *_selected(tokens, i + 1)), token.column))
    return References(tuple(found), depth)


def _tokens(source: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(source):
        if match.lastgroup and match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), match.start() + 1)


def _text(tokens: list[_Token], i: int) -> str:
    return tokens[i].text if 0 <= i < len(tokens) else ""


def _bound_variable(tokens: list[_Token], paren: int) -> str:
    """Return the variable that `.exists(x, ...)` binds, "" if this is another parenthesis."""
    is_macro = _text(tokens, paren - 1) in MACROS and _text(tokens, paren - 2) == "."
    return _text(tokens, paren + 1) if is_macro and _text(tokens, paren + 2) == "," else ""


def _is_variable(tokens: list[_Token], i: int) -> bool:
    return (
        tokens[i].kind == "name"
        and tokens[i].text not in _KEYWORDS
        and _text(tokens, i - 1) != "."
        and _text(tokens, i + 1) != "("
    )


def _selected(tokens: list[_Token], i: int) -> Iterator[str]:
    """Yield the fields and literal keys selected from token `i` on, up to something else."""
    while True:
        if _text(tokens, i) == "." and _text(tokens, i + 2) != "(":
            yield _text(tokens, i + 1)
            i += 2
        elif _text(tokens, i) == "[" and _text(tokens, i + 2) == "]" and _is_string(tokens, i + 1):
            yield str(cel.evaluate(tokens[i + 1].text))
            i += 3
        else:
            return


def _is_string(tokens: list[_Token], i: int) -> bool:
    return i < len(tokens) and tokens[i].kind == "string"
