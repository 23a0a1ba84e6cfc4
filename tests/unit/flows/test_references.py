"""References: what an expression refers to, read from its source."""

from __future__ import annotations

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.flows.references import references


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a.b.c > 1", ["a.b.c"]),
        ("a['x:y'].b == c", ["a['x:y'].b", "c"]),
        ("a[0].b", ["a"]),
        ("a[b.c]", ["a", "b.c"]),
        ("a.b.size() > size(c.d)", ["a.b", "c.d"]),
        ("a.b.exists(x, x.y > z)", ["a.b", "z"]),
        ("a.map(x, x.map(y, x + y + w))", ["a", "w"]),
        ("a.exists(x, x) && x", ["a", "x"]),
        ("has(a.b) ? a.b : d", ["a.b", "a.b", "d"]),
        ("'a.b' == \"c.d\" // e.f", []),
        (r"'it\'s a.b' == r'\d' && g", ["g"]),
        ("'''a.b''' == c", ["c"]),
        ("{'k': a.b}.k == true && null == 1.5e3", ["a.b"]),
        ("1 in a.list", ["a.list"]),
        ("-a.b + !c", ["a.b", "c"]),
        (r"a['\x41'] == 1", ["a.A"]),
    ],
)
def test_references(source: str, found: list[str]) -> None:
    assert [str(reference) for reference in references(source).fields] == found


@pytest.mark.parametrize(
    ("source", "depth"),
    [
        ("a > 1", 0),
        ("a.exists(x, x)", 1),
        ("a.map(x, x.map(y, y))", 2),
        ("a.map(x, x).map(y, y)", 1),
    ],
)
def test_depth_of_comprehensions(source: str, depth: int) -> None:
    assert references(source).macro_depth == depth


_NAMES = st.sampled_from(["a", "b", "x", "y"])
_TERMS = st.recursive(
    st.one_of(_NAMES, st.just("'x.y'"), st.just("1")),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} == {pair[1]})"),
        st.tuples(_NAMES, st.sampled_from(["b", "c"])).map(".".join),
        st.tuples(_NAMES, _NAMES, inner).map(lambda t: f"{t[0]}.exists({t[1]}, {t[2]})"),
        inner.map(lambda term: f"size({term})"),
    ),
    max_leaves=8,
)


@given(_TERMS)
def test_every_variable_of_the_compiler_is_found_or_bound(source: str) -> None:
    """The compiler lists free and bound variables alike: ours and the bound ones are all."""
    found = {reference.path[0] for reference in references(source).fields}
    compiled = set(cel.compile(source).variables())
    assert found <= compiled
    bound = {name for name in ("a", "b", "x", "y") if f"({name}, " in source}
    assert compiled - found <= bound
