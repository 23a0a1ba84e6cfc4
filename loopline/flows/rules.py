"""CEL rules: compiled once, evaluated many times, never crashing.

A rule is checked when it is compiled: its syntax, its variables, its fields, its functions, and by
trying it on example values. What can still go wrong at an event (a metric the recipe did not
report) becomes `RuleFailed` with a reason; what then happens is the caller's decision.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import cel

from loopline.errors import Rejected
from loopline.flows.contexts import FIELDS, Context, Field, Kind, Value, example
from loopline.flows.references import Reference, References, references

MAX_LENGTH = 2000  # characters of one expression
MAX_MACRO_DEPTH = 2  # shapes.exists(a, shapes.exists(b, ...)) is quadratic already
CACHED_RULES = 1024
FUNCTIONS = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches"),
        *("int", "uint", "double", "string", "bytes", "timestamp", "duration", "type", "dyn"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
_NAMED_FUNCTION = re.compile(r"[A-Za-z]\w*")
_COMPILER_SAYS = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class InvalidRule(Rejected):
    """An expression that cannot be a rule."""


class RuleFailed(Rejected):
    """A rule could not be evaluated on what it saw."""


class Rule:
    """A compiled rule.

    Args:
        kind: What it looks at.
        source: The CEL expression.

    Raises:
        InvalidRule: It does not compile, refers to what is not documented, or is not true or false.
    """

    def __init__(self, kind: Kind, source: str) -> None:
        self.kind = kind
        self.source = source
        self._program = _compiled(source)
        self.references = references(source)
        _check_references(kind, self.references)
        _check_functions(self._program.functions())
        self._counters = tuple(r.path for r in self.references.fields if _is_counter(kind, r))
        self._try_on_examples()

    def holds(self, context: Context) -> bool:
        """Tell whether the rule holds for `context`.

        Raises:
            RuleFailed: It asks for a field that is absent, mixes types, or does not give true or
                false.
        """
        try:
            result = self._program.execute(_with_counters(context, self._counters))
        except Exception as error:  # the compiler's errors have no common base
            raise RuleFailed(f"{self.source!r}: {_reason(error)}", rule=self.source) from error
        if not isinstance(result, bool):
            raise RuleFailed(
                f"{self.source!r} gives {result!r}, neither true nor false", rule=self.source
            )
        return result

    def fields(self, variable: str) -> frozenset[str]:
        """Return the fields of `variable` it reads; all that are documented if it uses it whole.

        >>> sorted(Rule(Kind.APPLY, "!item.labeled && item.split == ''").fields("item"))
        ['labeled', 'split']
        """
        paths = [r.path for r in self.references.fields if r.path[0] == variable]
        if any(len(path) == 1 for path in paths):
            return frozenset(FIELDS[self.kind][variable].fields)
        return frozenset(path[1] for path in paths)

    def uses(self, variable: str) -> bool:
        """Tell whether it refers to a variable."""
        return any(reference.path[0] == variable for reference in self.references.fields)

    def figures(self, context: Context) -> dict[str, Value]:
        """Return the values that the rule's references have in `context`, absent ones left out."""
        seen = _with_counters(context, self._counters)
        return {
            str(r): value
            for r in self.references.fields
            if (value := _at(seen, r.path)) is not None
        }

    def _try_on_examples(self) -> None:
        """Refuse what can never work; absent keys and odd values are up to the real context."""
        try:
            self.holds(example(FIELDS[self.kind]))
        except RuleFailed as failed:
            cause = failed.__cause__
            is_constant = not self.references.fields  # it fails on everything: "0 / 0 > 1"
            if (
                is_constant
                or cause is None
                or isinstance(cause, TypeError)
                or _is_certain(str(cause))
            ):
                raise InvalidRule(failed.message, rule=self.source) from cause

    def __repr__(self) -> str:
        return f"Rule({self.kind.value!r}, {self.source!r})"


@lru_cache(maxsize=CACHED_RULES)
def compile_rule(kind: Kind, source: str) -> Rule:
    """Return the compiled rule, the same one for the same source; see `Rule`."""
    return Rule(kind, source)


def _compiled(source: str) -> cel.Program:
    if len(source) > MAX_LENGTH:
        raise InvalidRule(f"{len(source)} characters; at most {MAX_LENGTH} are allowed")
    if not source.strip():
        raise InvalidRule("an expression is needed; 'true' holds always")
    try:
        return cel.compile(source)
    except Exception as error:  # ValueError today; whatever the compiler says is the reason
        raise InvalidRule(f"{source!r} does not compile: {_compiler_message(error)}") from error


def _compiler_message(error: Exception) -> str:
    found = _COMPILER_SAYS.search(str(error))
    if not found:
        return str(error)[:300]
    line, column, message = found.groups()
    place = f"column {column}" if line == "1" else f"line {line}, column {column}"
    return f"{place}: {message[:300]}"


def _check_references(kind: Kind, found: References) -> None:
    if found.macro_depth > MAX_MACRO_DEPTH:
        raise InvalidRule(
            f"comprehensions nest {found.macro_depth} deep; at most {MAX_MACRO_DEPTH} are allowed"
        )
    for reference in found.fields:
        _check_reference(kind, reference)


def _check_reference(kind: Kind, reference: Reference) -> None:
    known: Mapping[str, Field] = FIELDS[kind]
    what = "variable"
    for depth, name in enumerate(reference.path):
        if name not in known:
            seen = Reference(reference.path[: depth + 1], reference.column)
            raise InvalidRule(
                f"column {reference.column}: unknown {what} '{seen}'; {suggestion(name, known)}"
            )
        if known[name].each:
            _check_each(reference, depth + 2, known[name].each)
        if not known[name].fields:
            return
        known, what = known[name].fields, "field"


def _check_each(reference: Reference, depth: int, known: Mapping[str, Field]) -> None:
    """Check the field of a value of a map: `low` of `comparison.accuracy.low`."""
    if len(reference.path) > depth and reference.path[depth] not in known:
        seen = Reference(reference.path[: depth + 1], reference.column)
        help_ = suggestion(reference.path[depth], known)
        raise InvalidRule(f"column {reference.column}: unknown field '{seen}'; {help_}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the sentence that helps after a wrong name: the close one, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def _check_functions(used: Iterable[str]) -> None:
    for name in used:
        if _NAMED_FUNCTION.fullmatch(name) and name not in FUNCTIONS:
            raise InvalidRule(f"unknown function {name!r}; {suggestion(name, FUNCTIONS)}")


def _is_counter(kind: Kind, reference: Reference) -> bool:
    known: Mapping[str, Field] = FIELDS[kind]
    for name in reference.path[:-1]:
        if name not in known:  # a key of an open map
            return False
        if known[name].counters:
            return True
        known = known[name].fields
    return False


def _with_counters(context: Context, counters: Iterable[tuple[str, ...]]) -> dict[str, Value]:
    """Return `context` with 0 for the counters that the rule reads and that are absent."""
    filled = dict(context)
    for variable, counter_map, key, *_ in counters:
        structure = filled[variable]
        counts = {key: 0} | structure[counter_map]
        filled[variable] = {**structure, counter_map: counts}
    return filled


def _at(context: Context, path: tuple[str, ...]) -> Value:
    value: Value = context
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value if isinstance(value, bool | int | float | str) else None


def _is_certain(message: str) -> bool:
    """Tell whether an evaluation error comes from the rule itself, whatever values it sees."""
    return message.startswith("Undefined variable or function") or "not a valid regex" in message


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no field {error.args[0]!r} here" if error.args else "a field is absent"
    # The first sentence says what happened; the rest teaches CEL.
    return str(error).replace("\n", " ").partition(". ")[0].rstrip(".")[:300]
